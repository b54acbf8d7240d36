"""Markers: from a moment to the sample it fell on, and from there to an event of the session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ingest.models import Stream
from ingest.segments import segment_at, stop_of, stream_time_ns
from ingest.store import Recording, sample_at, time_of
from neurascale.core.chunk import Chunk, Marker
from sessions_app.models import Event, Session


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a marker fell.

    Parameters
    ----------
    time_ns : int
        On the stream's clock, since the Unix epoch.
    stream_id : str
        Public id of the stream.
    sample : int or None
        Index in that stream; None if the stream has no samples yet.
    event : Event or None
        The session's event; None if no session was recording.
    """

    time_ns: int
    stream_id: str
    sample: int | None
    event: Event | None


def place(
    *,
    stream: Stream,
    session: Session | None,
    label: str,
    value: Any,
    wall_ns: int | None,
    source: Event.Source,
) -> Placed:
    """Put a marker on the sample that was, or will be, taken at a moment; now if None."""
    time_ns = stream_time_ns(stream, time.time_ns() if wall_ns is None else wall_ns)
    sample = sample_at(stream, time_ns)
    event = session and Event.objects.create(
        session=session,
        label=label,
        value=value,
        time_ns=time_ns,
        stream_id=stream.public_id,
        sample=sample,
        source=source,
    )
    return Placed(time_ns, stream.public_id, sample, event)


def place_in_session(
    *,
    session: Session,
    label: str,
    value: Any = None,
    duration_seconds: float | None = None,
    wall_ns: int | None = None,
    sample: int | None = None,
    source: Event.Source,
) -> Event:
    """Add an event to a session: at a sample of its timeline, at a moment, or now.

    A moment at which nothing was recorded (before the start, in a pause) is kept with the place it
    has in the stream, and has none on the timeline.

    Raises
    ------
    NoSuchSampleError
        If the session has not recorded that sample.
    """
    if sample is not None:
        stream, stream_sample = Recording.of(session).position_of(sample)
        time_ns: int = time_of(stream, stream_sample)
    else:
        wall_ns = time.time_ns() if wall_ns is None else wall_ns
        stream, stream_sample, time_ns = _stream_at(session, wall_ns)
    return Event.objects.create(
        session=session,
        label=label,
        value=value,
        duration_seconds=duration_seconds,
        time_ns=time_ns,
        stream_id=stream.public_id if stream else "",
        sample=stream_sample,
        source=source,
    )


def _stream_at(session: Session, wall_ns: int) -> tuple[Stream | None, int | None, int]:
    """Return the stream that a session recorded at a moment, the sample, and the moment on it."""
    stream: Stream | None = None
    sample, time_ns = None, wall_ns
    for segment in session.segments.select_related("stream"):
        stream = segment.stream
        time_ns = stream_time_ns(stream, wall_ns)
        sample = sample_at(stream, time_ns)
        if sample is not None and segment.first_sample <= sample < stop_of(segment):
            break
    return stream, sample, time_ns


def record_board_marker(stream: Stream, chunk: Chunk, marker: Marker) -> tuple[dict[str, Any], str]:
    """Make an event of a marker that the board put into its own stream.

    Returns
    -------
    tuple of (dict, str)
        What is told of it, and the study that may know its ids; none if no session recorded it.
    """
    time_ns = chunk.time_ns + round((marker.sample - chunk.first_sample) * 1e9 / chunk.sfreq)
    segment = segment_at(stream, marker.sample)
    event = segment and Event.objects.create(
        session=segment.session,
        label="board",
        value=marker.value,
        time_ns=time_ns,
        stream_id=stream.public_id,
        sample=marker.sample,
        source=Event.Source.BOARD,
    )
    told = {
        "stream_id": stream.public_id,
        "sample": marker.sample,
        "timestamp": time_ns / 1e6,
        "label": "board",
        "value": marker.value,
        "source": Event.Source.BOARD.value,
        "event_id": event and event.public_id,
        "session_id": segment and segment.session.public_id,
    }
    return told, segment.session.study.public_id if segment else ""
