"""Sessions as recordings: begin, pause, go on, end, and mark what happened."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from devices.errors import DeviceBusyError, DeviceNotConnectedError
from devices.models import Device
from ingest import markers, segments
from ingest.broadcast import announce
from ingest.errors import DeviceNotStreamingError
from ingest.markers import Placed
from ingest.models import Stream
from ingest.services.streams import active_stream, start_stream
from neurascale.core.audit import record, recorded
from sessions_app import services as sessions
from sessions_app.models import Event, Session, Study


def create_session(
    *,
    principal: Any,
    device: Device,
    study: Study | None = None,
    subject_code: str | None = None,
    experiment_type: str = "",
    duration_minutes: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Session:
    """Create a session; on a device that streams it records from this moment.

    Raises
    ------
    DeviceBusyError
        If another session is recording from the device.
    """
    with recorded():
        session = sessions.create_session(
            principal=principal,
            device=device,
            study=study,
            subject_code=subject_code,
            experiment_type=experiment_type,
            duration_minutes=duration_minutes,
            metadata=dict(metadata or {}),
        )
        stream = active_stream(device)
        if stream is not None and stream.state == Stream.State.RUNNING:
            _record(session, stream)
    return session


def start_session(*, session: Session) -> Session:
    """Begin to record, starting the device's stream where it does not run yet.

    Raises
    ------
    SessionStateError
        If the session began before.
    DeviceUnavailableError, DeviceNotStreamingError
        If the device cannot be made to stream.
    DeviceNotConnectedError
        If it should stream, and its board is away: unplugged, or switched off.
    """
    session.check_may_become(Session.Status.ACTIVE)
    stream = active_stream(session.device) or start_stream(device=session.device)
    if stream.state == Stream.State.RECONNECTING:
        raise DeviceNotConnectedError(
            f"{session.device.name} is not connected: its stream waits for the board to come back",
            device_id=session.device.public_id,
            suggestion="Plug it in and switch it on; when its status is streaming, try again.",
        )
    if stream.state != Stream.State.RUNNING:
        raise DeviceNotStreamingError(
            f"{session.device.name} does not stream: its stream is {stream.state}",
            device_id=session.device.public_id,
            suggestion="Look at the device's status, then start the session again.",
        )
    with recorded():
        _record(locked(session), stream)
        record(f"session.{'resume' if session.start_time else 'start'}", session)
    session.refresh_from_db()
    return session


def pause_session(*, session: Session) -> Session:
    """Leave out what comes, until the session is resumed."""
    return _leave(session, Session.Status.PAUSED)


def resume_session(*, session: Session) -> Session:
    """Go on recording after a pause; a session that only ingests waits for the next samples."""
    if session.status == Session.Status.CREATED:
        # `resume` would otherwise be another word for `start`.
        session.check_may_become(Session.Status.PAUSED)
    last = session.segments.select_related("stream").last()
    if last is None or last.stream.origin == Stream.Origin.BOARD:
        return start_session(session=session)
    with recorded():
        session = locked(session)
        session.move_to(Session.Status.ACTIVE)
        record("session.resume", session)
    return session


def stop_session(*, session: Session) -> Session:
    """End the recording; everything taken until this moment is stored when this returns."""
    return _leave(session, Session.Status.COMPLETED)


def _record(session: Session, stream: Stream) -> None:
    """Open a segment and tell the device's subscribers."""
    try:
        with transaction.atomic():
            session.move_to(Session.Status.ACTIVE)
    except IntegrityError:
        raise DeviceBusyError(
            f"Another session is recording from {session.device.name}",
            device_id=session.device.public_id,
            suggestion="Stop that session first.",
        ) from None
    segments.begin(session, stream)
    _tell(session, "recording_started")


def _leave(session: Session, status: Session.Status) -> Session:
    """End the open segment of a session and wait until it is stored."""
    with recorded():
        session = locked(session)
        session.move_to(status)
        record(f"session.{'pause' if status == Session.Status.PAUSED else 'stop'}", session)
        segment = segments.open_segment(session=session)
        if segment is not None:
            segments.end(segment)
        _tell(session, "recording_stopped")
    if segment is not None:
        segments.settle(segment)
    return session


def _tell(session: Session, event: str) -> None:
    told = {"session_id": session.public_id, "status": session.status}
    study_id = session.study.public_id
    transaction.on_commit(
        partial(announce, session.device.public_id, event, told, study_id=study_id)
    )


def locked(session: Session) -> Session:
    """Return the session's row, locked until the transaction ends."""
    return (
        Session.objects.select_for_update(of=("self",)).select_related("device").get(pk=session.pk)
    )


def add_event(
    *,
    session: Session,
    label: str,
    value: Any = None,
    duration_seconds: float | None = None,
    time_ns: int | None = None,
    sample: int | None = None,
    source: Event.Source = Event.Source.API,
) -> Event:
    """Add an event to a session: at a sample of its timeline, at a moment, or now.

    Parameters
    ----------
    time_ns : int, optional
        Moment on the server's wall clock, in nanoseconds since the Unix epoch.
    sample : int, optional
        Sample of the session's timeline.
    """
    with recorded():
        event = markers.place_in_session(
            session=session,
            label=label,
            value=value,
            duration_seconds=duration_seconds,
            wall_ns=time_ns,
            sample=sample,
            source=source,
        )
        record("event.create", event, study=session.study, session=session.public_id)
    return event


def place_marker(
    *,
    principal: Any,
    device: Device,
    label: str,
    value: Any = None,
    time_ns: int | None = None,
    source: Event.Source,
) -> Placed:
    """Mark a moment of a device's stream; an event of the session that records it, if one does.

    A session of a study that the principal is no member of gets no event and is not spoken of.

    Raises
    ------
    DeviceNotStreamingError
        If there is no stream in which the marker could have a place.
    """
    stream = active_stream(device)
    if stream is None:
        raise DeviceNotStreamingError(
            f"{device.name} does not stream, so a marker falls on no sample",
            device_id=device.public_id,
            suggestion="Start the stream first.",
        )
    with recorded():
        placed = markers.place(
            stream=stream,
            session=sessions.visible_sessions(principal)
            .filter(segments__stream=stream, segments__stop_sample__isnull=True)
            .first(),
            label=label,
            value=value,
            wall_ns=time_ns,
            source=source,
        )
        if placed.event is not None:
            session = placed.event.session
            record("event.create", placed.event, study=session.study, session=session.public_id)
    return placed
