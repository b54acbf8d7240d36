"""Which part of which stream a session records: segments opened, closed and counted."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import Q, QuerySet

from ingest.models import Segment, Stream
from ingest.store import Recording, sample_at, time_if_any
from neurascale.core.host import boot_id
from sessions_app.models import Session

INFINITE = 2**63 - 1
PATIENCE_SECONDS = 1.5  # a chunk, a commit, a burst of the adapter: no running stream rests longer
CLOCK_NOISE_NS = 1_000_000  # two clocks are never read at the same moment; steps are longer


def stream_time_ns(stream: Stream, wall_ns: int) -> int:
    """Return a moment of the wall clock on the stream's own clock.

    The stream's clock does not follow steps of the wall clock (NTP); the difference between the
    two is known on the host and in the boot in which the stream runs, and taken as 0 elsewhere.
    """
    if stream.clock_offset_ns is None or stream.boot_id != boot_id() or not stream.boot_id:
        return wall_ns
    ahead_ns = time.monotonic_ns() + stream.clock_offset_ns - time.time_ns()
    return wall_ns if abs(ahead_ns) < CLOCK_NOISE_NS else wall_ns + ahead_ns


def current_sample(stream: Stream) -> int:
    """Return the sample that is being taken now: past what is stored, while the stream runs.

    However far past: where acquisition lags, what it has still to store was taken before this.
    """
    stream.refresh_from_db(fields=["next_sample", "state"])
    if stream.state != Stream.State.RUNNING:
        return stream.next_sample
    now = sample_at(stream, stream_time_ns(stream, time.time_ns()))
    return max(now or 0, stream.next_sample)


def open_segment(**where: Any) -> Segment | None:
    """Return the open segment of a ``session`` or a ``stream``."""
    return (
        Segment.objects.filter(stop_sample__isnull=True, **where)
        .select_related("session", "stream")
        .first()
    )


def segment_at(stream: Stream, sample: int) -> Segment | None:
    """Return the segment that a sample of a stream is in, stored or not."""
    return (
        stream.segments.filter(first_sample__lte=sample)
        .filter(Q(stop_sample__isnull=True) | Q(stop_sample__gt=sample))
        .select_related("session__study")
        .last()
    )


def begin(session: Session, stream: Stream) -> Segment:
    """Record from this moment on; the caller has a transaction.

    What the board sends meanwhile waits for its end: a marker of the board is then either before
    the segment, or finds it.
    """
    stream = Stream.objects.select_for_update().get(pk=stream.pk)
    return Segment.objects.create(
        session=session, stream=stream, first_sample=current_sample(stream)
    )


def end(segment: Segment, *, at: int | None = None) -> None:
    """Record up to sample ``at`` of the stream, or to this moment."""
    stop = current_sample(segment.stream) if at is None else at
    segment.stop_sample = max(stop, segment.first_sample)
    segment.save(update_fields=["stop_sample"])


def settle(segment: Segment, *, patience: float = PATIENCE_SECONDS) -> None:
    """Wait until a segment that just ended is stored; cut off what does not come.

    Samples taken before the end may still be on their way from the board when it is set. They are
    waited for as long as any arrive, and ``patience`` seconds more.
    """
    stream = segment.stream
    stored, deadline = -1, 0.0
    while segment.stop_sample is not None and stream.next_sample < segment.stop_sample:
        if stream.next_sample > stored:
            stored, deadline = stream.next_sample, time.monotonic() + patience
        elif time.monotonic() > deadline:
            segment.stop_sample = max(stored, segment.first_sample)
            segment.save(update_fields=["stop_sample"])
            return
        time.sleep(0.005)
        stream.refresh_from_db(fields=["next_sample"])


def stop_of(segment: Segment) -> int:
    """Return where a segment ends; an open one has no end yet."""
    return INFINITE if segment.stop_sample is None else segment.stop_sample


def due_sessions() -> QuerySet[Session]:
    """Return the recording sessions that have a duration: they may have reached it."""
    return Session.objects.filter(status=Session.Status.ACTIVE, duration_minutes__isnull=False)


def cut_when_due(session: Session) -> int | None:
    """End the segment of a session exactly where its duration is reached, if it is.

    Returns
    -------
    int or None
        The moment, in nanoseconds since the Unix epoch; None if it is not reached yet. Where no
        sample is left that could tell, because a subject withdrew, it is now.
    """
    segment = open_segment(session=session)
    if segment is None or session.duration_minutes is None:
        return None
    wanted = round(session.duration_minutes * 60 * segment.stream.sfreq)
    *_, last = Recording.of(session).parts
    if last.stop < wanted:
        return None
    stop = last.first_sample + wanted - last.start
    end(segment, at=stop)
    time_ns = time_if_any(segment.stream, stop)
    return time.time_ns() if time_ns is None else time_ns
