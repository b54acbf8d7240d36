"""Subscriptions: how a device is, what becomes of sessions, packets as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import strawberry

from devices.services import get_device
from ingest.consumers import look_up_wish
from ingest.graphql.devices import DeviceStatus, status_of
from ingest.listening import Listening
from ingest.subscription import REPLAY, in_thread
from neurascale.core.auth import Principal, Scope
from neurascale.core.errors import InvalidError
from neurascale.core.graphql.declare import field, object_type, subscription
from neurascale.core.graphql.inputs import or_none
from neurascale.core.graphql.scalars import JSON, Long, Samples
from neurascale.core.limits import owner_of
from sessions_app.graphql.sessions import SESSION, Session
from sessions_app.models import Session as SessionRow
from sessions_app.services import get_session, heard_studies, visible_sessions


@object_type(Scope.DEVICES_READ)
class DeviceNews:
    """What happened to a device; first, before anything has, how it is."""

    device_id: strawberry.ID
    event: str | None
    data: JSON

    @field(Scope.DEVICES_READ)
    def status(self: Any, info: strawberry.Info) -> DeviceStatus:
        """How the device is now."""
        return status_of(info.context.principal, get_device(self["device_id"]))


@object_type(Scope.SESSIONS_READ)
class SessionNews:
    """What became of a session; first, before anything has, how it is."""

    session_id: strawberry.ID
    event: str | None
    session: Session


@object_type(Scope.DEVICES_READ)
class MissedSamples:
    """Why something is missing here: as the message `gap` of `/v1/stream`."""

    reason: str
    from_sequence: Long | None
    to_sequence: Long | None
    first_sample: Long | None
    n_samples: Long | None
    replayed: bool


@object_type(Scope.DEVICES_READ)
class NeuralData:
    """A packet, or, where `gap` is not null, what is missing between two of them."""

    device_id: strawberry.ID
    stream_id: strawberry.ID | None
    sequence: Long | None
    timestamp: float | None
    first_sample: Long | None
    sample_rate: float | None
    channels: list[int]
    samples: Samples
    gap: MissedSamples | None


@strawberry.type
class Subscription:
    """What is told while it happens."""

    @subscription(Scope.DEVICES_READ)
    async def device_status(
        self, info: strawberry.Info, device_id: strawberry.ID
    ) -> AsyncGenerator[DeviceNews, None]:
        """How a device is, and whatever happens to it."""
        principal = info.context.principal
        device = await in_thread(get_device, device_id)

        async def see(message: dict[str, Any]) -> dict[str, Any] | None:
            if message["type"] != "status":
                return None
            return {key: message[key] for key in ("device_id", "event", "data")}

        begin = {"device_id": device.public_id, "event": None, "data": {}}
        listening = Listening(see, [begin])
        return await listening.open(  # type: ignore[return-value]
            device.public_id,
            owner=owner_of(principal),
            studies=await in_thread(heard_studies, principal),
        )

    @subscription(Scope.SESSIONS_READ)
    async def session_updates(
        self,
        info: strawberry.Info,
        session_id: strawberry.ID | None = strawberry.UNSET,
        device_id: strawberry.ID | None = strawberry.UNSET,
    ) -> AsyncGenerator[SessionNews, None]:
        """What becomes of a session, or of all that are recorded from a device and one sees."""
        principal = info.context.principal
        wanted, of = or_none(session_id), or_none(device_id)
        listened_to, first = await in_thread(find_sessions, principal, wanted, of)

        async def see(message: dict[str, Any]) -> dict[str, Any] | None:
            told = message["data"].get("session_id") if message["type"] == "status" else None
            if told is None or wanted not in {None, told}:
                return None
            row = await in_thread(visible_session, principal, told)
            return row and news_of(row, message["event"])

        listening = Listening(see, [news_of(row, None) for row in first])
        return await listening.open(  # type: ignore[return-value]
            listened_to,
            owner=owner_of(principal),
            studies=await in_thread(heard_studies, principal),
        )

    @subscription(Scope.DEVICES_READ)
    async def neural_data(
        self,
        info: strawberry.Info,
        device_id: strawberry.ID,
        channels: list[int] | None = strawberry.UNSET,
        filtered: bool = True,
        after_sequence: Long | None = strawberry.UNSET,
        on_lag: str = REPLAY,
    ) -> AsyncGenerator[NeuralData, None]:
        """Packets of a device from now on, or from after one that the caller has.

        Parameters and their errors are those of `subscribe` on `/v1/stream`.
        """
        principal = info.context.principal
        asked = {
            "device_id": device_id,
            "channels": or_none(channels),
            "filtered": filtered,
            "after_sequence": or_none(after_sequence),
            "on_lag": on_lag,
        }
        device, _, wish, studies = await in_thread(look_up_wish, principal, asked)
        return await Listening(packet_or_gap).open(  # type: ignore[return-value]
            device.public_id,
            wish.view,
            owner=owner_of(principal),
            studies=studies,
            on_lag=wish.on_lag,
            next_sequence=None if wish.after_sequence is None else wish.after_sequence + 1,
        )


async def packet_or_gap(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the schema shows of a message; None if that is nothing."""
    if message["type"] == "data":
        return {**message, "gap": None}
    if message["type"] != "gap":
        return None
    no_packet = dict.fromkeys(("sequence", "timestamp", "sample_rate"))
    return {**message, **no_packet, "channels": [], "samples": [], "gap": message}


def visible_session(principal: Principal | None, session_id: str) -> SessionRow | None:
    """Return a session; None if there is none that the principal sees."""
    return visible_sessions(principal).filter(public_id=session_id).first()


def news_of(row: SessionRow, event: str | None) -> dict[str, Any]:
    """Return what is told of a session."""
    return {"session_id": row.public_id, "event": event, "session": SESSION.thing(row)}


def find_sessions(
    principal: Principal | None, session_id: str | None, device_id: str | None
) -> tuple[str, list[SessionRow]]:
    """Return the device to listen to, and the sessions that are told of at once.

    Raises
    ------
    InvalidError
        If not exactly one of both ids is given.
    InvalidSessionIdError, InvalidDeviceIdError
        If there is no such thing, or the principal may not know that there is.
    """
    if (session_id is None) == (device_id is None):
        problem = "Give either sessionId or deviceId."
        raise InvalidError(problem, fields={"session_id": [problem]})
    if session_id is not None:
        session = get_session(principal, session_id)
        return session.device.public_id, [session]
    device = get_device(str(device_id))
    running = visible_sessions(principal).filter(device=device, status__in=SessionRow.OPEN)
    return device.public_id, list(running)
