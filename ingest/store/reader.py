"""Rows -> samples: a stretch as one array, or everything chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from django.db.models import F, QuerySet
from numpy.typing import NDArray

from ingest.models import Block, Gap, Stream
from ingest.store import codec
from ingest.store.gaps import PRUNED, Missing
from ingest.store.times import time_if_any
from neurascale.core.chunk import Chunk, GapReason

_Row = tuple[int, int, int | None, int, bytes | memoryview, bytes | memoryview | None]
BATCH = 2048  # blocks read and decoded at a time: about a second of work for eighty of a stream


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A stretch of samples, as they came.

    Parameters
    ----------
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts; NaN where samples are missing.
    aux : ndarray of float32, shape (n_aux, n_times), or None
        Accelerometer and analog inputs; NaN where the board sent none. None if the stream has none.
    sfreq : float
        Nominal sampling frequency, in Hz.
    first_sample : int
        Index of ``data[:, 0]``.
    time_ns : int or None
        When ``data[:, 0]`` was taken, in nanoseconds since the Unix epoch; None if nothing was.
    gaps : tuple of Missing
        Where ``data`` is NaN and why, in order, cut to the stretch.
    """

    data: NDArray[np.float32]
    aux: NDArray[np.float32] | None
    sfreq: float
    first_sample: int
    time_ns: int | None
    gaps: tuple[Missing, ...]


def read(stream: Stream, start: int, stop: int, *, picks: Sequence[int] | None = None) -> Reading:
    """Read a stretch of a stream.

    Parameters
    ----------
    stream : Stream
        What to read; where it ends is looked up afresh.
    start, stop : int
        First sample, and the first sample after the stretch. What lies before the stream's
        beginning or after its end is left out.
    picks : sequence of int, optional
        Rows of the stream, from 0; all by default.

    Returns
    -------
    Reading
        What was stored; what was pruned is a gap with the reason ``"pruned"``.

    Raises
    ------
    IndexError
        If ``picks`` names a row that is not there.
    """
    next_sample, kept_from = Stream.objects.values_list("next_sample", "kept_from_sample").get(
        pk=stream.pk
    )
    start = max(start, 0)
    stop = max(min(stop, next_sample), start)
    rows = slice(None) if picks is None else list(picks)
    n_rows = len(np.arange(len(stream.ch_names))[rows])
    data = np.full((n_rows, stop - start), np.nan, dtype=np.float32)
    n_aux = len(stream.aux_names)
    aux = np.full((n_aux, stop - start), np.nan, dtype=np.float32) if n_aux else None
    present: list[tuple[int, int]] = []
    blocks = blocks_between(stream, start, stop).values_list(
        "first_sample", "n_times", "payload", "aux"
    )
    fetched = blocks.iterator(chunk_size=BATCH)
    while batch := list(islice(fetched, BATCH)):
        decoded = codec.decode_many([row[2] for row in batch], stream.scale_uv)
        for (first, n_times, _, _), block in zip(batch, decoded, strict=True):
            _copy(block[rows], first, data, start)
            present.append((first, n_times))
        if aux is not None:
            packed = {row[0]: row[3] for row in batch if row[3] is not None}
            decoded = codec.decode_many(list(packed.values()), None)
            for first, block in zip(packed, decoded, strict=True):
                _copy(block, first, aux, start)
    return Reading(
        data=data,
        aux=aux,
        sfreq=stream.sfreq,
        first_sample=start,
        time_ns=time_if_any(stream, start),
        gaps=tuple(_missing(stream, start, stop, present, kept_from)),
    )


def iter_chunks(
    stream: Stream,
    *,
    from_sample: int | None = None,
    after_sequence: int | None = None,
    limit: int | None = None,
) -> Iterator[tuple[int | None, Chunk]]:
    """Go through a stream chunk by chunk, in order, to its end as it is when we get there.

    Parameters
    ----------
    stream : Stream
        What to go through.
    from_sample : int, optional
        Begin with the block that holds this sample, or the first one after it.
    after_sequence : int, optional
        Begin after the packet with this number.
    limit : int, optional
        Give no more than this many chunks.

    Yields
    ------
    tuple of (int or None, Chunk)
        Packet number (None in a stream that a program ingests) and what was appended;
        ``Chunk.gap`` says why samples before it are missing. ``aux`` is all NaN where the board
        sent none. Markers are events of the session and not repeated here.
    """
    rows = Block.objects.filter(stream=stream)
    if from_sample is not None:
        rows = rows.filter(first_sample__gte=_first_sample_of_block(stream, from_sample))
    if after_sequence is not None:
        rows = rows.filter(sequence__gt=after_sequence)
    rows = rows.order_by("first_sample")
    asked = 64  # the first chunks soon, then larger bites
    while limit is None or limit > 0:
        asked = asked if limit is None else min(asked, limit)
        batch = list(
            rows.values_list("first_sample", "n_times", "sequence", "time_ns", "payload", "aux")[
                :asked
            ]
        )
        yield from _chunks(stream, batch)
        if len(batch) < asked:
            return
        limit = None if limit is None else limit - len(batch)
        rows = rows.filter(first_sample__gt=batch[-1][0])
        asked = min(4 * asked, BATCH)


def blocks_between(stream: Stream, start: int, stop: int) -> QuerySet[Block]:
    """Return the blocks that hold any sample from ``start`` to ``stop - 1``, in order."""
    begin = _first_sample_of_block(stream, start)
    rows = Block.objects.filter(stream=stream, first_sample__gte=begin, first_sample__lt=stop)
    return rows.order_by("first_sample")


def gaps_between(stream: Stream, start: int, stop: int) -> QuerySet[Gap]:
    """Return the gaps that lack any sample from ``start`` to ``stop - 1``, in order."""
    return (
        Gap.objects.filter(stream=stream, first_sample__lt=stop)
        .filter(first_sample__gt=start - F("n_times"))
        .order_by("first_sample")
    )


def _first_sample_of_block(stream: Stream, sample: int) -> int:
    """Return where the block begins that holds a sample; the sample itself if none does."""
    found = (
        Block.objects.filter(stream=stream, first_sample__lte=sample)
        .order_by("-first_sample")
        .values_list("first_sample", "n_times")
        .first()
    )
    return found[0] if found is not None and sample < found[0] + found[1] else sample


def _copy(
    block: NDArray[np.float32], first_sample: int, to: NDArray[np.float32], start: int
) -> None:
    """Put the part of a block that belongs there into an array that begins at ``start``."""
    at = first_sample - start
    skip = max(-at, 0)
    length = min(block.shape[1], to.shape[1] - at) - skip
    to[:, at + skip : at + skip + length] = block[:, skip : skip + length]


def _missing(
    stream: Stream, start: int, stop: int, present: Sequence[tuple[int, int]], kept_from: int
) -> Iterator[Missing]:
    """Yield what is missing from a stretch, given what is present."""
    told = gaps_between(stream, start, stop).values_list("first_sample", "n_times", "reason")
    blocks = [(first, n_times, None) for first, n_times in present]
    reached = start
    for first, n_times, reason in sorted([*told, *blocks], key=lambda piece: piece[0]):
        yield from _untold(reached, min(first, stop), kept_from)
        begin, reached = max(first, reached), max(reached, min(first + n_times, stop))
        if reason is not None and begin < reached:
            yield Missing(begin, reached - begin, reason)
    yield from _untold(reached, stop, kept_from)


def _untold(begin: int, end: int, kept_from: int) -> Iterator[Missing]:
    """Yield samples that are neither stored nor known to be missing: they were pruned."""
    if begin < end:
        reason = PRUNED if begin < kept_from else GapReason.LOST.value
        yield Missing(begin, end - begin, reason)


def _chunks(stream: Stream, batch: Sequence[_Row]) -> Iterator[tuple[int | None, Chunk]]:
    """Yield the chunks that consecutive rows hold."""
    if not batch:
        return
    gaps = {
        first + n_times: GapReason(reason)
        for first, n_times, reason in gaps_between(
            stream, batch[0][0] - 1, batch[-1][0]
        ).values_list("first_sample", "n_times", "reason")
    }
    decoded = codec.decode_many([row[4] for row in batch], stream.scale_uv)
    for (first, n_times, sequence, time_ns, _, packed), data in zip(batch, decoded, strict=True):
        aux = None
        if packed is not None:
            aux = codec.decode(packed, None)
        elif stream.aux_names:
            aux = np.full((len(stream.aux_names), n_times), np.nan, dtype=np.float32)
        yield (
            sequence,
            Chunk(
                data=data,
                sfreq=stream.sfreq,
                first_sample=first,
                time_ns=time_ns,
                aux=aux,
                gap=gaps.get(first),
            ),
        )
