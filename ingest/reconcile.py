"""Bring what is to what was asked for: start what should run and does not, end what is over."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone

from ingest import segments
from ingest.broadcast import announce
from ingest.leases import is_free, wanted_streams
from ingest.models import Block, Stream
from ingest.store import time_of
from neurascale.core.audit import record, recorded
from sessions_app.models import Session

log = logging.getLogger(__name__)


def unserved_streams(*, host: str | None = None) -> list[Stream]:
    """Return the streams that should run and that nobody serves, on one lab host or on all."""
    streams = wanted_streams().select_related("device")
    if host is not None:
        streams = streams.filter(device__host=host)
    now = timezone.now()
    return [succeed(stream) for stream in streams if is_free(stream, now)]


def succeed(stream: Stream) -> Stream:
    """Return the stream itself, or a new one in its place if it was left alone for too long.

    An 8-bit packet counter can be followed over a silence only while clock and crystal agree to
    half a turn; past that, and past any sense in a recording with a hole of hours, a new stream
    begins and the session that was recording is over.
    """
    last = Block.objects.filter(stream=stream).order_by("-first_sample").first()
    if last is None or time.time_ns() - last.time_ns < settings.RESUME_SECONDS * 10**9:
        return stream
    ended: list[Session] = []
    alone_since = _moment(time_of(stream, stream.next_sample))
    with recorded():
        segment = segments.open_segment(stream=stream)
        if segment is not None:
            segments.end(segment, at=stream.next_sample)
        for session in (
            Session.objects.filter(status__in=Session.OPEN, segments__stream=stream)
            .select_related("study")
            .distinct()
        ):
            # What was recorded last, not when somebody noticed; nothing was, if it began since.
            session.move_to(Session.Status.COMPLETED, at=max(alone_since, session.start_time))
            record("session.stop", session)
            ended.append(session)
        stream.wanted = Stream.Wanted.STOPPED
        stream.state = Stream.State.STOPPED
        stream.stopped_at = timezone.now()
        stream.save(update_fields=["wanted", "state", "stopped_at"])
        successor = stream.successor()
        successor.save()
        record("stream.start", successor, device=stream.device.public_id, after=stream.public_id)
    for session in ended:
        told = {"session_id": session.public_id}
        announce(
            stream.device.public_id, "recording_stopped", told, study_id=session.study.public_id
        )
    log.warning("%s was alone for too long; %s goes on in its place", stream, successor)
    return successor


def end_due_sessions() -> int:
    """Complete the sessions whose duration is reached; return how many."""
    ended = 0
    for session in segments.due_sessions():
        with recorded():
            session = Session.objects.select_for_update().get(pk=session.pk)  # noqa: PLW2901
            if session.status != Session.Status.ACTIVE:
                continue
            due_ns = segments.cut_when_due(session)
            if due_ns is None:
                continue
            session.move_to(Session.Status.COMPLETED, at=_moment(due_ns))
            record("session.stop", session)
        told, study_id = {"session_id": session.public_id}, session.study.public_id
        announce(session.device.public_id, "recording_stopped", told, study_id=study_id)
        ended += 1
    return ended


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / 1e9, UTC)
