"""Forget what no session recorded, a bounded number of rows at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

from django.db.models import Exists, F, OuterRef, QuerySet

from ingest.models import Block, Gap, QualityWindow, Segment, Stream
from ingest.store.times import sample_at
from neurascale.core.chunk import GapReason

Piece = TypeVar("Piece", Block, Gap, QualityWindow)
BATCH = 1000  # rows in one transaction: SQLite has one writer, and the boards' must get its turn


def prune(*, older_than_seconds: float) -> int:
    """Delete blocks, gaps and quality windows that are old and in no session's segment.

    Streams that programs ingest are left alone: they belong to a session as a whole. A block that
    is only partly old, or partly in a segment, stays. `read` gives what was deleted as a gap with
    the reason ``"pruned"``.

    Parameters
    ----------
    older_than_seconds : float
        How long every subscriber has to catch up.

    Returns
    -------
    int
        Number of blocks deleted.
    """
    cutoff_ns = time.time_ns() - round(older_than_seconds * 1e9)
    streams = Stream.objects.filter(
        Exists(Block.objects.filter(stream=OuterRef("pk"))), origin=Stream.Origin.BOARD
    )
    return sum(_prune_stream(stream, cutoff_ns) for stream in streams)


def _prune_stream(stream: Stream, cutoff_ns: int) -> int:
    keep_from = max(stream.kept_from_sample, _first_sample_to_keep(stream, cutoff_ns))
    if keep_from > stream.kept_from_sample:
        # First, so that a reader who finds a hole knows why.
        Stream.objects.filter(pk=stream.pk).update(kept_from_sample=keep_from)
    deleted = 0
    for start, stop in _unrecorded(stream, keep_from):
        if not _inside(Block, stream, start, stop).exists():
            continue
        # Blocks go last: while there are any, an interrupted pruning is taken up again.
        _delete(QualityWindow, stream, start, stop)
        _delete(Gap, stream, start, stop)
        deleted += _delete(Block, stream, start, stop)
    return deleted


def _first_sample_to_keep(stream: Stream, cutoff_ns: int) -> int:
    """Return the first sample that is not older than a moment."""
    if stream.kept_from_sample >= stream.next_sample:
        return stream.next_sample
    newest = Block.objects.filter(stream=stream).order_by("-first_sample").first()
    if newest is None or newest.time_ns + newest.n_times * 1e9 / stream.sfreq <= cutoff_ns:
        return stream.next_sample
    return min(sample_at(stream, cutoff_ns) or 0, stream.next_sample)


def _unrecorded(stream: Stream, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches before ``stop`` that no segment covers."""
    reached = 0
    segments = Segment.objects.filter(stream=stream).order_by("first_sample")
    for first_sample, stop_sample in segments.values_list("first_sample", "stop_sample"):
        if reached < min(first_sample, stop):
            yield reached, min(first_sample, stop)
        reached = max(reached, stop if stop_sample is None else stop_sample)
    if reached < stop:
        yield reached, stop


def _inside(model: type[Piece], stream: Stream, start: int, stop: int) -> QuerySet[Piece]:
    rows = model.objects.filter(stream=stream, first_sample__gte=start, first_sample__lt=stop)
    if model is Gap:
        rows = rows.exclude(reason=GapReason.WITHDRAWN)  # what happened there stays known
    return rows.filter(first_sample__lte=stop - F("n_times"))


def _delete(model: type[Piece], stream: Stream, start: int, stop: int) -> int:
    """Delete the rows wholly inside a stretch, and leave room for writers between batches."""
    deleted = 0
    while True:
        began = time.monotonic()
        rows = _inside(model, stream, start, stop).order_by("first_sample")
        keys = list(rows.values_list("pk", flat=True)[:BATCH])
        deleted += model.objects.filter(pk__in=keys).delete()[0]
        if len(keys) < BATCH:
            return deleted
        time.sleep(2 * (time.monotonic() - began))
