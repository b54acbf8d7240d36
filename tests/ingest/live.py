"""A stream as acquisition writes it, without the board: store, filter, return what is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.filters import chain
from ingest.models import Stream
from ingest.packets import Packet
from ingest.store import BlockWriter
from neurascale.core.chunk import Chunk, GapReason
from tests.ingest.factories import make_stream

SCALE_UV = 0.02235174
HOLDER = "test"


class Live:
    """Stores packets of 10 samples and filters them as `ingest.acquisition` does."""

    def __init__(self, device=None, *, filters=None, next_sequence=0, offset_uv=0.0):
        self.stream = make_stream(
            device, lease_holder=HOLDER, filters=filters or {}, next_sequence=next_sequence
        )
        self.device_id = self.stream.device.public_id
        self.writer = BlockWriter(self.stream, holder=HOLDER)
        self.filter = chain(self.stream.filters, sfreq=self.stream.sfreq)
        self.random = np.random.default_rng(7)
        self.offset_uv = offset_uv
        self.next_sample = 0

    def packet(self, *, lost=0) -> Packet:
        """Store the next packet, after ``lost`` missing samples, and return it."""
        n_channels = len(self.stream.picks)
        signal = self.offset_uv + 50 * self.random.standard_normal((n_channels, 10))
        counts = np.round(signal / SCALE_UV)
        first_sample = self.next_sample + lost
        chunk = Chunk(
            data=(counts * SCALE_UV).astype(np.float32),
            sfreq=self.stream.sfreq,
            first_sample=first_sample,
            time_ns=1_700_000_000_000_000_000 + first_sample * 4_000_000,
            gap=GapReason.LOST if lost else None,
        )
        stored = self.writer.append(chunk)
        self.next_sample = chunk.stop_sample
        if stored.gap is not None and self.filter is not None:
            self.filter.reset()
        return Packet(
            device_id=self.device_id,
            stream_id=self.stream.public_id,
            sequence=stored.sequence,
            first_sample=first_sample,
            time_ns=chunk.time_ns,
            sfreq=chunk.sfreq,
            picks=self.stream.picks,
            data=chunk.data,
            filtered=None if self.filter is None else self.filter(chunk.data),
            gap=stored.gap,
        )

    def packets(self, n: int) -> list[Packet]:
        """Store and return the next ``n`` packets."""
        return [self.packet() for _ in range(n)]

    def stop(self) -> None:
        """End the stream, so that the device may have another."""
        Stream.objects.filter(pk=self.stream.pk).update(wanted=Stream.Wanted.STOPPED)


def sequences(messages: Sequence[dict]) -> list[int]:
    """Return the numbers of the packets among messages."""
    return [message["sequence"] for message in messages if message["type"] == "data"]
