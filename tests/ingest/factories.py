"""Rows that tests of the live stream and the stored one begin with."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from devices.models import Device
from ingest.models import Stream
from neurascale.core.chunk import Chunk
from sessions_app.models import Session, Study

_ports = itertools.count()


def make_device(**fields: Any) -> Device:
    """Return a saved Cyton on a port of its own."""
    return Device.objects.create(
        **{"name": "Cyton", "board": "cyton", "port": f"/dev/nowhere{next(_ports)}", **fields}
    )


def make_stream(device: Device | None = None, **fields: Any) -> Stream:
    """Return a saved stream of two channels at 250 Hz, scaled like a Cyton at gain 24."""
    return Stream.objects.create(
        **{
            "device": device or make_device(),
            "sfreq": 250.0,
            "picks": [0, 1],
            "ch_names": ["EEG1", "EEG2"],
            "scale_uv": [0.02235174, 0.02235174],
            "chunk_ms": 40.0,
            **fields,
        }
    )


def make_session(device: Device, **fields: Any) -> Session:
    """Return a saved session in a study of its own."""
    if "study" not in fields:
        fields["study"] = Study.objects.create(name="study")
    return Session.objects.create(device=device, **fields)


def make_chunk(
    first_sample: int, n_times: int = 10, *, n_channels: int = 2, **fields: Any
) -> Chunk:
    """Return a chunk of whole counts, told apart from every other by its first sample."""
    counts = np.arange(n_channels * n_times, dtype=np.float64) + 1000 * first_sample
    data = (counts.reshape(n_channels, n_times) * 0.02235174).astype(np.float32)
    time_ns = 1_700_000_000_000_000_000 + first_sample * 4_000_000
    return Chunk(
        **{
            "data": data,
            "sfreq": 250.0,
            "first_sample": first_sample,
            "time_ns": time_ns,
            **fields,
        }
    )
