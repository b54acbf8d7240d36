"""WebSocket: who is asking, for what; nothing else. One method a type of message.

Errors are told in the envelope of the REST API; some of them end the connection, with a close code
of the contract.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from devices.errors import InvalidDeviceIdError
from devices.models import Device
from devices.services import get_device
from ingest.broadcast import tell
from ingest.errors import MayNotWatchError, TooManySubscriptionsError
from ingest.feed import look_up_sequence
from ingest.hub import current_hub
from ingest.messages import error_message, marker_message, pong_message, subscribed_message, text
from ingest.models import Stream
from ingest.requests import Wish, device_id_of, read_mark, read_message, read_wish, token_of
from ingest.services.recordings import place_marker
from ingest.services.streams import active_stream
from ingest.subscription import Subscription, in_thread
from neurascale.core.actor import enter, socket_edge
from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal, Scope, lacking, scopes_of
from neurascale.core.errors import (
    ForbiddenError,
    InvalidError,
    NeuraScaleError,
    NotAuthenticatedError,
)
from neurascale.core.limits import owner_of
from neurascale.core.sockets import (
    authenticate,
    authenticate_handshake,
    chosen_subprotocol,
    reason_of,
)
from sessions_app.models import Event
from sessions_app.services import heard_studies
from sessions_app.watch import AccessLostError, Watched, current_watch

log = logging.getLogger(__name__)

AUTH_SECONDS = 10.0
GOODBYE_SECONDS = 0.5  # for a peer that has to go, and does not read why
NOT_AUTHENTICATED, AUTH_TIMEOUT, INTERNAL_ERROR = 4401, 4408, 1011
CLOSE_CODES: dict[type[NeuraScaleError], int] = {
    NotAuthenticatedError: NOT_AUTHENTICATED,
    MayNotWatchError: 4403,
    AccessLostError: 4403,
    InvalidDeviceIdError: 4404,
    TooManySubscriptionsError: 4429,
}
TYPES = ("auth", "subscribe", "unsubscribe", "marker", "ping")


class StreamConsumer(AsyncWebsocketConsumer):
    """One connection to `/v1/stream`: a principal, and at most one subscription a device."""

    channel_layer_alias = "none"  # the hub listens to the layer, once for all connections

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.name = uuid.uuid4().hex
        self.is_open = True
        self.principal: Principal | None = None
        self.watched: Watched | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the connection, and leave nothing behind however it ends."""
        enter(socket_edge(scope, name=self.name, principal=lambda: self.principal))
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.watched is not None:
                current_watch().remove(self.watched)
            for subscription in self.subscriptions.values():
                subscription.close()
            for task in self.tasks:
                task.cancel()

    async def connect(self) -> None:
        """Accept, then look at what the handshake showed: only an open socket has close codes."""
        await self.accept(chosen_subprotocol(self.scope))
        try:
            principal = await authenticate_handshake(self.scope)
        except NotAuthenticatedError as error:
            await self.refuse(error)
        else:
            if principal is None:
                self.begin(self.wait_for_auth())
            else:
                await self.speaks_for(principal)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pass a message to the method of its type."""
        if not self.is_open:
            return  # it was on its way when we closed
        answers = None
        try:
            message = read_message(text_data)
            answers = message.get("id")
            kind = message["type"]
            if kind not in TYPES:
                raise InvalidError(
                    f"There is no message of type {kind!r}",
                    fields={"type": [f"Must be {' or '.join(TYPES)}."]},
                )
            if self.principal is None and kind != "auth":
                raise NotAuthenticatedError(
                    f"{kind} needs to know who is asking",
                    suggestion='Send Authorization: Bearer, or first {"type": "auth", "token": …}.',
                )
            await getattr(self, f"on_{kind}")(message)
        except NeuraScaleError as error:
            await self.refuse(error, answers)

    # --- one method a type of message ------------------------------------------------------------

    async def on_auth(self, message: Mapping[str, Any]) -> None:
        """Learn who is asking; no answer means yes."""
        principal = await authenticate(token_of(message))
        if self.subscriptions:
            await in_thread(check_may_watch, principal)
        await self.speaks_for(principal)

    async def on_subscribe(self, message: Mapping[str, Any]) -> None:
        """Send a device's packets and news from now on, instead of what was sent of it before."""
        device, stream, wish, studies = await in_thread(look_up_wish, self.principal, message)
        self.unsubscribe(device.public_id)
        subscription = await current_hub().subscribe(
            device.public_id,
            wish.view,
            send=self.base_send,
            on_lag=wish.on_lag,
            next_sequence=None if wish.after_sequence is None else wish.after_sequence + 1,
            owner=owner_of(self.principal),
            name=self.name,
        )
        subscription.studies = studies
        self.subscriptions[device.public_id] = subscription
        answer = subscribed_message(
            device,
            stream,
            wish.view,
            on_lag=wish.on_lag,
            next_sequence=subscription.next_sequence,
        )
        await self.say(answer, message.get("id"))
        subscription.start().add_done_callback(self.sender_ended)

    async def on_unsubscribe(self, message: Mapping[str, Any]) -> None:
        """Send no more of a device; saying so twice does no harm."""
        device_id = device_id_of(message)
        self.unsubscribe(device_id)
        await self.say({"type": "unsubscribed", "device_id": device_id}, message.get("id"))

    async def on_marker(self, message: Mapping[str, Any]) -> None:
        """Place a marker; say where it fell, and tell the others."""
        device_id, told, study_id = await in_thread(place, self.principal, message)
        marker = marker_message(device_id, told)
        await self.say(marker, message.get("id"))
        await tell(device_id, marker, sender=self.name, study_id=study_id)

    async def on_ping(self, message: Mapping[str, Any]) -> None:
        """Say what time it is here."""
        await self.say(pong_message(message.get("time")), message.get("id"))

    # --- the rest --------------------------------------------------------------------------------

    async def say(self, content: dict[str, Any], answers: Any = None) -> None:
        """Send a message; ``answers`` is the id of the client's message, if that had one."""
        if self.is_open:
            await self.base_send(text(content if answers is None else {**content, "id": answers}))

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """End the connection, once, and with it what is sent over it."""
        if self.is_open:
            self.is_open = False
            for subscription in self.subscriptions.values():
                subscription.close()
            await super().close(code, reason)

    async def refuse(self, error: NeuraScaleError, answers: Any = None) -> None:
        """Say why something is not done; end the connection if that is how it is."""
        await self.say(error_message(error), answers)
        code = close_code(error)
        if code is not None or self.principal is None:
            await self.close(code or NOT_AUTHENTICATED, reason_of(error))

    async def speaks_for(self, principal: Principal) -> None:
        """Act for somebody from now on, as long as they may."""
        if self.watched is not None:
            current_watch().remove(self.watched)
        session = self.scope.get("session")
        self.watched = Watched(principal, getattr(session, "session_key", None), self.dismiss)
        await current_watch().add(self.watched)
        self.principal = principal

    async def dismiss(self, error: NeuraScaleError) -> None:
        """Send nothing more of the devices, and end the connection whether it reads or not."""
        for subscription in self.subscriptions.values():
            subscription.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.say(error_message(error)), GOODBYE_SECONDS)
        await self.close(close_code(error), reason_of(error))

    def unsubscribe(self, device_id: str) -> None:
        """Close the subscription of a device, if there is one."""
        subscription = self.subscriptions.pop(device_id, None)
        if subscription is not None:
            subscription.close()

    async def wait_for_auth(self) -> None:
        """End the connection of somebody who does not say who it is."""
        await asyncio.sleep(AUTH_SECONDS)
        if self.principal is None:
            await self.close(AUTH_TIMEOUT)

    def sender_ended(self, task: asyncio.Task[None]) -> None:
        """End the connection if its subscription failed; the client comes back with a replay."""
        error = None if task.cancelled() else task.exception()
        if error is None or isinstance(error, OSError):  # OSError: the client is gone
            return
        log.error("A subscription failed", exc_info=error)
        self.begin(self.close(INTERNAL_ERROR))

    def begin(self, work: Any) -> None:
        """Do something beside the messages, at most until the connection ends."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def close_code(error: NeuraScaleError) -> int | None:
    """Return the close code of an error that ends the connection; None of one that does not."""
    return next((code for kind, code in CLOSE_CODES.items() if isinstance(error, kind)), None)


def check_may_watch(principal: Principal | None) -> None:
    """Raise unless a principal may see devices; reads the database.

    Raises
    ------
    MayNotWatchError
        If it lacks the scope; the details are those of REST.
    """
    if Scope.DEVICES_READ not in scopes_of(principal):
        raise MayNotWatchError(
            "Watching a device needs the scope devices:read",
            **lacking(principal, [Scope.DEVICES_READ]),
        )


def look_up_wish(
    principal: Principal | None, message: Mapping[str, Any]
) -> tuple[Device, Stream | None, Wish, frozenset[str] | None]:
    """Return what a subscription is about, and the studies it may hear of; uses the database.

    That somebody reads what is stored is written down, as any other export is.

    Raises
    ------
    MayNotWatchError, InvalidDeviceIdError, InvalidError
        If there can be no such subscription.
    """
    check_may_watch(principal)
    device = get_device(device_id_of(message))
    wish = read_wish(message, n_channels=device.n_channels)
    next_sequence, _ = look_up_sequence(device.public_id)
    if wish.after_sequence is not None and wish.after_sequence >= next_sequence:
        problem = f"The newest packet of {device.public_id} has number {next_sequence - 1}."
        raise InvalidError(
            f"after_sequence cannot be {wish.after_sequence}. {problem}",
            fields={"after_sequence": [problem]},
            suggestion="Leave it out to get what is new from now on.",
        )
    if wish.after_sequence is not None:
        with recorded():
            record("device.replay", device, after_sequence=wish.after_sequence)
    return device, active_stream(device), wish, heard_studies(principal)


def place(
    principal: Principal | None, message: Mapping[str, Any]
) -> tuple[str, dict[str, Any], str]:
    """Place a marker; return the device, what is told of it, and whose matter it is.

    That is the study whose session records, if one does that the principal sees; else it is nobody
    and everybody's.

    Raises
    ------
    ForbiddenError, InvalidDeviceIdError, InvalidError, DeviceNotStreamingError
        If it cannot be placed.
    """
    if Scope.SESSIONS_WRITE not in scopes_of(principal):
        raise ForbiddenError(
            "Placing a marker needs the scope sessions:write",
            **lacking(principal, [Scope.SESSIONS_WRITE]),
        )
    device = get_device(device_id_of(message))
    mark = read_mark(message)
    placed = place_marker(
        principal=principal,
        device=device,
        label=mark.label,
        value=mark.value,
        time_ns=mark.time_ns,
        source=Event.Source.WEBSOCKET,
    )
    event = placed.event
    told = {
        "stream_id": placed.stream_id,
        "sample": placed.sample,
        "timestamp": placed.time_ns / 1e6,
        "label": mark.label,
        "value": mark.value,
        "source": Event.Source.WEBSOCKET.value,
        "event_id": event and event.public_id,
        "session_id": event and event.session.public_id,
    }
    return device.public_id, told, event.session.study.public_id if event else ""
