"""Connect a device, start and stop its stream, say how it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from celery.exceptions import TimeoutError as NoAnswerInTime
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from devices.errors import DeviceBusyError, DeviceUnavailableError
from devices.models import Device
from ingest import segments, tasks
from ingest.broadcast import announce
from ingest.errors import (
    InvalidStreamIdError,
    InvalidStreamSettingsError,
    StreamAlreadyRunningError,
)
from ingest.filters import chain
from ingest.models import Gap, Segment, Stream
from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal
from sessions_app.models import Session
from sessions_app.services import visible_sessions


def connect_device(*, device: Device) -> Device:
    """Open the device's port on its lab host and ask the board who it is.

    Raises
    ------
    DeviceUnavailableError
        If the port or the board does not answer, or no acquisition worker does.
    """
    if active_stream(device) is not None:
        return device
    device.mark(Device.Status.CONNECTING)
    tasks.probe.apply_async(
        (device.pk,), queue=tasks.acquisition_queue(device.host), expires=settings.ANSWER_SECONDS
    )
    if not wait_until(device, lambda: device.status != Device.Status.CONNECTING):
        error = no_worker(device)
        device.mark(Device.Status.ERROR, error=error)
        raise error
    raise_error_of(device.error)
    record("device.connect", device)
    announce(device.public_id, "connected", {})
    return device


def disconnect_device(*, device: Device, principal: Principal | None = None) -> Device:
    """Stop what the device streams and forget that it was connected; see `stop_stream`."""
    stop_stream(device=device, principal=principal)
    with recorded():
        device.mark(Device.Status.DISCONNECTED)
        record("device.disconnect", device)
    announce(device.public_id, "disconnected", {})
    return device


def start_stream(
    *,
    device: Device,
    picks: Sequence[int] | None = None,
    sfreq: float | None = None,
    filters: Mapping[str, Any] | None = None,
) -> Stream:
    """Make a device stream; asking again with the same settings changes nothing.

    Parameters
    ----------
    device : Device
        Needs not be connected.
    picks : sequence of int, optional
        Channels from 0; all by default. Only these are stored and shown.
    sfreq : float, optional
        Must be what the board samples at; stated to be sure.
    filters : mapping, optional
        ``{"notch": 60, "bandpass": [1, 50]}``; applied to the copy that is shown.

    Raises
    ------
    InvalidStreamSettingsError, InvalidFilterError
        If the board cannot do it; the message says what it can do.
    StreamAlreadyRunningError
        If it streams with other settings.
    DeviceUnavailableError
        If the board could not be reached.
    """
    stream = Stream.of(
        device,
        picks=checked_picks(device, picks),
        filters=dict(filters or {}),
        chunk_ms=settings.CHUNK_MS,
    )
    if sfreq is not None and sfreq != stream.sfreq:
        raise InvalidStreamSettingsError(
            f"{device.name} samples at {stream.sfreq:g} Hz, not at {sfreq:g} Hz",
            fields={"sample_rate": [f"Must be {stream.sfreq:g}."]},
            suggestion="Leave sample_rate out, or give the board's own.",
        )
    chain(stream.filters, sfreq=stream.sfreq)
    try:
        with recorded():
            stream.save()
            record("stream.start", stream, device=device.public_id)
            transaction.on_commit(partial(tasks.enqueue, stream.pk, device.host))
    except IntegrityError:
        return _already_running(device, stream)
    wait_until(stream, lambda: stream.state != Stream.State.STARTING)
    device.refresh_from_db()
    raise_error_of(stream.error)
    return stream


def _already_running(device: Device, asked: Stream) -> Stream:
    """Return the running stream if it is what was asked for."""
    running = active_stream(device)
    if running is None:  # it stopped between our insert and this look
        raise DeviceBusyError(f"{device.name} is just being stopped", suggestion="Try again.")
    if (running.picks, running.filters) == (asked.picks, asked.filters):
        return running
    raise StreamAlreadyRunningError(
        f"{device.name} already streams channels {[p + 1 for p in running.picks]} with filters "
        f"{running.filters}",
        stream_id=running.public_id,
        suggestion="Stop the stream first to start it with other settings.",
    )


def stop_stream(*, device: Device, principal: Principal | None = None) -> Stream | None:
    """Stop a device's stream, and complete the session that records it.

    Parameters
    ----------
    device : Device
        What streams.
    principal : Client or user, optional
        Who asks; the lab itself by default.

    Returns
    -------
    Stream or None
        The stream that was stopped; None if there was none.

    Raises
    ------
    DeviceBusyError
        If a session records that the principal does not see: it is not the principal's to end.
    """
    stream = active_stream(device)
    if stream is None:
        return None
    with recorded():
        sessions = list(device.sessions.select_for_update().filter(status__in=Session.OPEN))
        _check_may_end(principal, device, sessions)
        segment = segments.open_segment(stream=stream)
        if segment is not None:
            segments.end(segment)
        for session in sessions:
            session.move_to(Session.Status.COMPLETED)
            ended = {"session_id": session.public_id}
            study_id = session.study.public_id
            transaction.on_commit(
                partial(announce, device.public_id, "recording_stopped", ended, study_id=study_id)
            )
            record("session.stop", session)
    if segment is not None:
        segments.settle(segment)  # while the loop still runs
    stream.refresh_from_db()
    served = bool(stream.lease_holder)
    with recorded():
        stream.wanted = Stream.Wanted.STOPPED
        stream.save(update_fields=["wanted"])
        record("stream.stop", stream, device=device.public_id)
    over = {Stream.State.STOPPED, Stream.State.FAILED}
    if not served or not wait_until(stream, lambda: stream.state in over):
        # Nobody serves it. A worker that was only slow finds its lease gone and writes no more.
        stream.state = Stream.State.STOPPED
        stream.stopped_at = timezone.now()
        stream.lease_holder = ""
        stream.save(update_fields=["state", "stopped_at", "lease_holder"])
        device.mark(Device.Status.DISCONNECTED)
    device.refresh_from_db()
    return stream


def _check_may_end(principal: Principal | None, device: Device, sessions: list[Session]) -> None:
    if principal is None:
        return
    seen = visible_sessions(principal).filter(pk__in=[session.pk for session in sessions])
    if seen.count() < len(sessions):
        raise DeviceBusyError(
            f"Another session is recording from {device.name}",
            device_id=device.public_id,
            suggestion="Ask who records to stop that session, or the lab's staff.",
        )


def discover(*, host: str | None = None) -> list[dict[str, Any]]:
    """List the serial ports of a lab host, this one by default.

    Raises
    ------
    DeviceUnavailableError
        If that host's acquisition worker does not answer.
    """
    host = host or settings.NEURASCALE_HOST
    asked = tasks.discover.apply_async(
        queue=tasks.acquisition_queue(host), expires=settings.ANSWER_SECONDS
    )
    try:
        ports: list[dict[str, Any]] = asked.get(timeout=settings.ANSWER_SECONDS)
    except NoAnswerInTime:
        raise DeviceUnavailableError(
            f"No acquisition worker answered on {host}",
            suggestion="Start the lab there with `manage.py up`, or name another host.",
        ) from None
    return ports


def active_stream(device: Device) -> Stream | None:
    """Return the stream that a device should be running, whether it is or not."""
    return device.streams.filter(wanted=Stream.Wanted.RUNNING, origin=Stream.Origin.BOARD).first()


def device_status(*, device: Device, principal: Principal | None = None) -> dict[str, Any]:
    """Return what is known of a device now; null where the board does not report it.

    The session that records from it is named to a principal that sees it, and to nobody else.
    """
    return device_statuses(devices=[device], principal=principal)[device.pk]


def device_statuses(
    *, devices: Collection[Device], principal: Principal | None
) -> dict[int, dict[str, Any]]:
    """Return what `device_status` does of several devices, by primary key: three queries."""
    active = Stream.objects.filter(
        device__in=devices, wanted=Stream.Wanted.RUNNING, origin=Stream.Origin.BOARD
    )
    streams = {stream.device_id: stream for stream in active.select_related("device")}
    seen = visible_sessions(principal).filter(device__in=devices, status__in=Session.OPEN)
    sessions = {session.device_id: session for session in seen}
    gaps = Gap.objects.filter(stream__in=streams.values()).order_by()
    lost = dict(gaps.values_list("stream").annotate(total=Sum("n_times")))
    return {
        device.pk: _status(
            device,
            stream=streams.get(device.pk),
            session=sessions.get(device.pk),
            lost=lost,
        )
        for device in devices
    }


def _status(
    device: Device, *, stream: Stream | None, session: Session | None, lost: Mapping[int, int]
) -> dict[str, Any]:
    streaming = device.status == Device.Status.STREAMING
    seconds = (timezone.now() - stream.started_at).total_seconds() if stream else 0.0
    quality = stream.quality if stream and streaming else None
    return {
        "connected": device.status in {Device.Status.CONNECTED, Device.Status.STREAMING},
        "status": device.status,
        "streaming": streaming,
        "stream": stream,
        "session": session,
        "uptime_seconds": round(seconds, 3),
        "overall": quality["overall"] if quality else None,
        "channels": [
            {
                "pick": pick,
                "quality": quality["channels"][row] if quality else None,
                "reason": quality["reasons"][row] if quality else None,
            }
            for row, pick in enumerate(stream.picks if stream else range(device.n_channels))
        ],
        "samples_lost": lost.get(stream.pk, 0) if stream else None,
        "error": device.error,
    }


def visible_streams(principal: Principal | None) -> QuerySet[Stream]:
    """Return the streams of the lab's boards, and what programs sent to sessions one sees."""
    sent_to = Segment.objects.filter(session__in=visible_sessions(principal).values("pk"))
    seen = Q(origin=Stream.Origin.BOARD) | Q(pk__in=sent_to.values("stream"))
    return Stream.objects.filter(seen).select_related("device")


def get_stream(principal: Principal | None, stream_id: str) -> Stream:
    """Return a stream that a principal sees.

    Raises
    ------
    InvalidStreamIdError
        If there is none with that id, or the principal may not know that there is.
    """
    stream = visible_streams(principal).filter(public_id=stream_id).first()
    if stream is None:
        raise InvalidStreamIdError(
            f"Stream with ID '{stream_id}' not found",
            stream_id=stream_id,
            suggestion="Check stream ID or look at the device's streams",
        )
    return stream


def checked_picks(device: Device, picks: Sequence[int] | None) -> list[int]:
    """Return the channels asked for, from 0 and in rising order, all by default."""
    if picks is None:
        return list(range(device.n_channels))
    unknown = [p + 1 for p in picks if not 0 <= p < device.n_channels]
    if unknown or not picks or len(set(picks)) < len(picks):
        raise InvalidStreamSettingsError(
            f"{device.name} has channels 1 to {device.n_channels}; asked for "
            f"{[p + 1 for p in picks]}",
            fields={"channels": [f"Each once, from 1 to {device.n_channels}."]},
        )
    return sorted(picks)


def wait_until(row: Stream | Device, condition: Callable[[], bool]) -> bool:
    """Read a row again until a condition holds; False if `ANSWER_SECONDS` have passed first."""
    deadline = time.monotonic() + settings.ANSWER_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
        row.refresh_from_db()
    return True


def no_worker(device: Device) -> DeviceUnavailableError:
    """Return the error of a device whose lab host does not answer."""
    return DeviceUnavailableError(
        f"No acquisition worker answered on {device.host}",
        device_id=device.public_id,
        suggestion="Start the lab there with `manage.py up`.",
    )


def raise_error_of(error: dict[str, Any] | None) -> None:
    """Raise what a worker left in a row as the error it was."""
    if error is not None:
        raise DeviceUnavailableError(error["message"], **error["details"])
