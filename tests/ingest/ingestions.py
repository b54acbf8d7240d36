"""Requests to POST /v1/ingest/neural-data, and what was stored of them."""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from ingest.store import Recording
from sessions_app.models import Session

START = datetime.fromisoformat("2025-07-26T10:30:00+00:00")
NPY = "application/x-npy"
ARROW = "application/vnd.apache.arrow.stream"
PATH = "ingest/neural-data"


def samples(n_times: int = 250, *, first: int = 0) -> np.ndarray:
    """Return 8 channels in which every value says where it belongs."""
    times = np.arange(first, first + n_times)
    return (times + np.arange(8)[:, np.newaxis] * 0.125).astype(np.float32)


def message(session: Session, data: np.ndarray, *, seconds: float = 0.0, **changes) -> dict:
    return {
        "device_id": session.device.public_id,
        "session_id": session.public_id,
        "timestamp": (START + timedelta(seconds=seconds)).isoformat(),
        "data": {"eeg": data.tolist(), "sample_rate": 250, "channels": 8},
        **changes,
    }


def query(session: Session, *, seconds: float = 0.0, **changes) -> str:
    fields = {
        "device_id": session.device.public_id,
        "session_id": session.public_id,
        "timestamp": (START + timedelta(seconds=seconds)).isoformat().replace("+", "%2B"),
        "sample_rate": 250,
        "channels": 8,
        **changes,
    }
    return f"{PATH}?" + "&".join(f"{name}={value}" for name, value in fields.items())


def npy(data: np.ndarray) -> bytes:
    body = io.BytesIO()
    np.save(body, data)
    return body.getvalue()


def arrow(data: np.ndarray) -> bytes:
    sink = io.BytesIO()
    batch = pa.record_batch({f"c{i}": row for i, row in enumerate(data)})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def accepted(response) -> dict:
    assert response.status_code == 201, response.content
    answer = response.json()
    assert answer["status"] == "accepted"
    return answer


def stored(session: Session) -> np.ndarray:
    recording = Recording.of(session)
    return recording.read(0, recording.n_times).data
