"""Store -> packets, exactly as they were shown live: for who missed some, and for who fell behind.

Filters have a memory, so a replay starts them far enough back that nobody can tell the difference:
at the stream's beginning or its last gap, as they started live, or where what came before has died
out in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ingest.filters import chain
from ingest.models import Block, Gap, Stream
from ingest.packets import Packet
from ingest.store import Missing, iter_chunks, read
from neurascale.core.chunk import Chunk

if TYPE_CHECKING:
    from ingest.filters.sos import SosFilter

TOLERANCE_UV = 0.005  # half of what the contract allows; the rest is for rounding to float32
# Two samples of a 24-bit converter differ by less than this; boards for EEG have no finer ones.
ADC_COUNTS = 2**24
BATCH = 100  # packets: some seconds of signal, some milliseconds of work


@dataclass(frozen=True, slots=True)
class NotKept:
    """Packets that are kept no more, or only for those who see the study that recorded them.

    Parameters
    ----------
    first_sequence, last_sequence : int
        The first and the last of them.
    """

    first_sequence: int
    last_sequence: int


def filter_as_live(stream: Stream, sample: int) -> SosFilter | None:
    """Return a stream's filter as it is live when it is about to take a sample.

    Parameters
    ----------
    stream : Stream
        Its blocks before ``sample`` are read as far as the filter remembers.
    sample : int
        Index in the stream of the next sample that the filter will be given.

    Returns
    -------
    SosFilter or None
        Its output differs from the live filter's by less than 0.01 µV. None if the stream has no
        filters.
    """
    live = chain(stream.filters, sfreq=stream.sfreq)
    if live is None or sample <= 0:
        return live
    data = read(stream, sample - _memory_of(stream, live), sample).data
    missing = np.flatnonzero(np.isnan(data).any(axis=0))
    since_gap = missing[-1] + 1 if missing.size else 0
    live(data[:, since_gap:])
    return live


def _memory_of(stream: Stream, live: SosFilter | None) -> int:
    """Return for how many samples a stream's filter remembers one."""
    if live is None:
        return 0
    scale_uv = max(stream.scale_uv) if stream.scale_uv else 1.0
    return live.settle_samples(TOLERANCE_UV, scale_uv * ADC_COUNTS)


class Replay:
    """Go through the stored packets of a device, across its streams, from one number on.

    Parameters
    ----------
    device_id : str
        Public id.
    next_sequence : int
        Number of the first packet that is wanted.
    filtered : bool
        Whether anybody wants the filtered samples; leaving them out saves most of the time.

    Attributes
    ----------
    next_sequence : int
        Number of the next packet.
    """

    def __init__(self, device_id: str, *, next_sequence: int, filtered: bool) -> None:
        self.device_id = device_id
        self.next_sequence = next_sequence
        self.filtered = filtered
        self._stream: Stream | None = None
        self._filter: SosFilter | None = None
        self._next_sample: int | None = None  # None: we do not know what comes before the next

    def batch(self, stop_sequence: int) -> list[Packet | NotKept]:
        """Return the next packets, in order and without a hole; reads the database.

        Parameters
        ----------
        stop_sequence : int
            The first packet not to return. All before it must have been stored: what is not
            found is taken for pruned.

        Returns
        -------
        list of Packet or NotKept
            At most `BATCH`; empty if ``stop_sequence`` is reached.
        """
        found: list[Packet | NotKept] = []
        while self.next_sequence < stop_sequence and len(found) < BATCH:
            stream = self._find_stream()
            if stream is None:
                found += self._skip_to(stop_sequence)
                break
            stop = min(stream.next_sequence, stop_sequence)
            found += self._skip_to(max(self.next_sequence, min(self._first_kept(stream), stop)))
            chunks = islice(
                iter_chunks(stream, after_sequence=self.next_sequence - 1), BATCH - len(found)
            )
            is_exhausted = True
            for sequence, chunk in chunks:
                if sequence is None or sequence >= stop:
                    break
                found += self._skip_to(sequence)
                found.append(self._packet(stream, sequence, chunk))
                is_exhausted = len(found) < BATCH
            if is_exhausted:
                found += self._skip_to(stop)
        return found

    def _find_stream(self) -> Stream | None:
        """Return the stream that the next packet belongs to; None if that was deleted."""
        stream = (
            Stream.objects.filter(
                device__public_id=self.device_id,
                origin=Stream.Origin.BOARD,
                next_sequence__gt=self.next_sequence,
            )
            .order_by("next_sequence", "pk")
            .first()
        )
        if stream is None or self._stream is None or stream.pk != self._stream.pk:
            self._next_sample = None
        self._stream = stream
        return stream

    def _first_kept(self, stream: Stream) -> int:
        """Return the number of the first packet that is kept for whoever missed it.

        Older ones are there only because a session recorded them, and belong to those who see its
        study. Nor is one kept whose filter would remember what is gone.
        """
        if not stream.kept_from_sample:
            return 0
        first_sample = stream.kept_from_sample
        if self.filtered and self._next_sample is None:
            first_sample += _memory_of(stream, chain(stream.filters, sfreq=stream.sfreq))
        kept = Block.objects.filter(stream=stream, first_sample__gte=first_sample)
        sequence = kept.order_by("first_sample").values_list("sequence", flat=True).first()
        return stream.next_sequence if sequence is None else sequence

    def _skip_to(self, sequence: int) -> list[Packet | NotKept]:
        """Say what lies before a packet and is not there any more, if anything does."""
        first, self.next_sequence = self.next_sequence, sequence
        if first >= sequence:
            return []
        self._next_sample = None
        return [NotKept(first, sequence - 1)]

    def _packet(self, stream: Stream, sequence: int, chunk: Chunk) -> Packet:
        packet = Packet(
            device_id=self.device_id,
            stream_id=stream.public_id,
            sequence=sequence,
            first_sample=chunk.first_sample,
            time_ns=chunk.time_ns,
            sfreq=chunk.sfreq,
            picks=stream.picks,
            data=chunk.data,
            filtered=self._filter_chunk(stream, chunk) if self.filtered else None,
            gap=self._gap_before(stream, chunk),
        )
        self.next_sequence = sequence + 1
        self._next_sample = chunk.stop_sample
        return packet

    def _filter_chunk(self, stream: Stream, chunk: Chunk) -> np.ndarray | None:
        if self._next_sample is None:
            self._filter = filter_as_live(stream, chunk.first_sample)
        elif self._filter is not None and chunk.first_sample != self._next_sample:
            self._filter.reset()
        return None if self._filter is None else self._filter(chunk.data)

    def _gap_before(self, stream: Stream, chunk: Chunk) -> Missing | None:
        """Return what was missing before a chunk when it was stored."""
        if chunk.gap is None:
            return None
        if self._next_sample is not None:
            n_times = chunk.first_sample - self._next_sample
            return Missing(self._next_sample, n_times, chunk.gap.value)
        before = Gap.objects.filter(stream=stream, first_sample__lt=chunk.first_sample)
        gap = before.order_by("-first_sample").first()
        return gap and Missing(gap.first_sample, gap.n_times, gap.reason)
