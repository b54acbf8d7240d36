"""From a sample to its time and back, by the times that are stored with the blocks."""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import QuerySet

from ingest.models import Block, Stream


class _Anchor(NamedTuple):
    """A sample whose time is stored, and the end of its block."""

    sample: int
    time_ns: int
    stop: int


def time_of(stream: Stream, sample: int) -> int:
    """Return when a sample was taken.

    Parameters
    ----------
    stream : Stream
        Where it is.
    sample : int
        Its index; it may be in a gap, pruned, or not taken yet.

    Returns
    -------
    int
        Nanoseconds since the Unix epoch on the fitted clock. Between blocks it is interpolated,
        before the first and after the last extrapolated at the nominal rate.

    Raises
    ------
    LookupError
        If the stream has no samples.
    """
    time_ns = time_if_any(stream, sample)
    if time_ns is None:
        raise LookupError(f"{stream} has no samples, so sample {sample} has no time")
    return time_ns


def time_if_any(stream: Stream, sample: int) -> int | None:
    """Return what `time_of` does, or None if the stream has no samples."""
    before = _newest(_anchors(stream).filter(first_sample__lte=sample))
    if before is not None and sample < before.stop:
        return _extrapolate(before, sample, stream.sfreq)
    after = _oldest(_anchors(stream).filter(first_sample__gt=sample))
    if before is None or after is None:
        anchor = before or after
        return anchor and _extrapolate(anchor, sample, stream.sfreq)
    share = (sample - before.sample) / (after.sample - before.sample)
    return before.time_ns + round(share * (after.time_ns - before.time_ns))


def sample_at(stream: Stream, time_ns: int) -> int | None:
    """Return which sample was taken at a moment.

    Parameters
    ----------
    stream : Stream
        Where to look.
    time_ns : int
        Nanoseconds since the Unix epoch on the stream's clock. It may be later than the newest
        block of a stream that still runs: the answer is the sample that will be taken then.

    Returns
    -------
    int or None
        The nearest sample; None before the stream's first sample, after the last of one that has
        ended, and in a stream that has none.
    """
    newest = _newest(_anchors(stream))
    if newest is None:
        return None
    if time_ns >= newest.time_ns:
        sample = _nearest(newest, time_ns, stream.sfreq)
        return None if stream.stopped_at is not None and sample >= newest.stop else sample
    oldest = _oldest(_anchors(stream))
    if oldest is None or time_ns < oldest.time_ns:
        sample = _nearest(oldest or newest, time_ns, stream.sfreq)
        return sample if sample >= 0 else None
    before, after = _bracket(stream, time_ns, oldest, newest)
    sample = _nearest(before, time_ns, stream.sfreq)
    if sample < before.stop:
        return sample
    # In the gap between two blocks: interpolate, as `time_of` does.
    share = (time_ns - before.time_ns) / (after.time_ns - before.time_ns)
    return before.sample + round(share * (after.sample - before.sample))


def _bracket(
    stream: Stream, time_ns: int, before: _Anchor, after: _Anchor
) -> tuple[_Anchor, _Anchor]:
    """Return the neighbouring blocks between whose beginnings a moment lies.

    There is no index on the time; but time and place grow together, nearly on a line, so that a
    guess on the line finds the block at once, and halving what is left finds it for certain.
    """
    by_line = True
    while True:
        if by_line:
            share = (time_ns - before.time_ns) / (after.time_ns - before.time_ns)
            guess = before.sample + int(share * (after.sample - before.sample))
        else:
            guess = (before.sample + after.sample) // 2
        by_line = not by_line
        found = _newest(_anchors(stream).filter(first_sample__lte=guess))
        following = found and _oldest(_anchors(stream).filter(first_sample__gt=found.sample))
        if found is None or following is None:  # pruned while we looked
            return before, after
        if time_ns < found.time_ns:
            after = found
        elif time_ns < following.time_ns:
            return found, following
        else:
            before = following


def _anchors(stream: Stream) -> QuerySet[Block, tuple[int, int, int]]:
    return Block.objects.filter(stream=stream).values_list("first_sample", "time_ns", "n_times")


def _newest(rows: QuerySet[Block, tuple[int, int, int]]) -> _Anchor | None:
    return _anchor(rows.order_by("-first_sample").first())


def _oldest(rows: QuerySet[Block, tuple[int, int, int]]) -> _Anchor | None:
    return _anchor(rows.order_by("first_sample").first())


def _anchor(row: tuple[int, int, int] | None) -> _Anchor | None:
    return None if row is None else _Anchor(row[0], row[1], row[0] + row[2])


def _extrapolate(anchor: _Anchor, sample: int, sfreq: float) -> int:
    return anchor.time_ns + round((sample - anchor.sample) * 1e9 / sfreq)


def _nearest(anchor: _Anchor, time_ns: int, sfreq: float) -> int:
    return anchor.sample + round((time_ns - anchor.time_ns) * sfreq / 1e9)
