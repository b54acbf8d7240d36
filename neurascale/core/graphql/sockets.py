"""Subscriptions over WebSocket: who is asking, and bounds; the protocols are strawberry's.

Both protocols are spoken: ``graphql-transport-ws`` and the older ``graphql-ws``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any

from strawberry.channels import GraphQLWSConsumer
from strawberry.channels.handlers.ws_handler import ChannelsWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.exceptions import NonJsonMessageReceived

from neurascale.core.actor import enter, socket_edge
from neurascale.core.auth import Principal
from neurascale.core.errors import ForbiddenError, NeuraScaleError, NotAuthenticatedError
from neurascale.core.graphql.context import Context
from neurascale.core.sockets import authenticate, authenticate_handshake, reason_of
from neurascale.core.wire import MalformedJSONError, dumps, loads

log = logging.getLogger(__name__)

AUTH_SECONDS = 10.0
TOO_MANY_INITS = 4429  # of graphql-transport-ws; the older protocol says nothing of it
NOT_AUTHENTICATED, FORBIDDEN, AUTH_TIMEOUT, INTERNAL_ERROR = 4401, 4403, 4408, 1011
MAX_WAITING = 16  # messages of a client that nobody looked at yet; then its line is not read
MAX_OPERATIONS = 100  # at once on one connection; the hub counts a client's subscriptions over all
MAX_QUERY_BYTES = 256 * 2**10  # as over HTTP


class Adapter(ChannelsWebSocketAdapter):
    """Passes on messages that have the shape of one."""

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        """Yield messages; what is none ends the new protocol, and is overheard in the old one."""
        messages = super().iter_json(ignore_parsing_errors=ignore_parsing_errors)
        async for message in messages:
            if is_message(message):
                yield message
            elif not ignore_parsing_errors:
                raise NonJsonMessageReceived


def is_message(message: object) -> bool:
    """Tell whether a value is a message of either protocol, as far as strawberry takes for granted.

    An operation's query may be anything: what is none is told as an error of that operation.
    """
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] not in {"start", "subscribe", "stop", "complete"}:
        return True
    if not isinstance(message.get("id"), str):
        return False
    if message["type"] in {"stop", "complete"}:
        return True
    payload = message.get("payload")
    return isinstance(payload, dict) and "query" in payload


class GraphQLSocket(GraphQLWSConsumer[Context, None]):
    """One connection to `/graphql`.

    Whether who is asking may go on is not known here: a subclass looks, from `speaks_for` until
    `ended`, and calls `dismiss`.
    """

    channel_layer_alias = "none"  # the hub listens to the layer, once for all connections
    websocket_adapter_class = Adapter

    def __init__(self, schema: Any, **options: Any) -> None:
        super().__init__(
            schema,
            connection_init_wait_timeout=timedelta(seconds=AUTH_SECONDS),
            max_subscriptions_per_connection=MAX_OPERATIONS,
            # From wherever: a page of another origin needs a token, and its cookies are not used.
            allowed_origins=("*",),
            **options,
        )
        self.message_queue = asyncio.Queue(MAX_WAITING)
        self.context = Context(None)
        self.is_open = True
        self._why: tuple[int, str] | None = None
        self._deadline: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the connection, and leave nothing behind however it ends."""
        enter(
            socket_edge(
                scope, name=self.context.request_id, principal=lambda: self.context.principal
            )
        )
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.ended()
            for task in (self.run_task, self._deadline):
                if task is not None:
                    task.cancel()

    # --- who is asking ---------------------------------------------------------------------------

    async def connect(self) -> None:
        """Begin; who asks is looked at when the connection is initialised."""
        await super().connect()
        assert self.run_task is not None  # noqa: S101 - made above
        self.run_task.add_done_callback(self._run_ended)
        self._deadline = asyncio.ensure_future(self._wait_for_principal())

    async def get_context(self, request: Any, response: Any) -> Context:
        """Return what all operations of the connection share."""
        return self.context

    async def on_ws_connect(self, context: Context) -> dict[str, object] | None:
        """Learn who is asking: of the first message, or of the handshake.

        Raises
        ------
        ConnectionRejectionError
            If nobody knows; the close code is that of `/v1/stream`. Or if that was said before:
            what runs was begun for whoever it was.
        """
        if context.principal is not None:
            self._why = TOO_MANY_INITS, "Too many initialisation requests"
            raise ConnectionRejectionError({"message": self._why[1]})
        try:
            # The handshake first, whatever the message says: a token in the URL is refused.
            principal = await authenticate_handshake(self.scope)
            token = token_in(context.connection_params)
            context.principal = principal if token is None else await authenticate(token)
            if context.principal is None:
                raise NotAuthenticatedError(
                    "A subscription needs to know who is asking",
                    suggestion='Send connection_init with {"Authorization": "Bearer …"}.',
                )
        except NeuraScaleError as error:
            self._why = NOT_AUTHENTICATED, reason_of(error)
            told = {"code": error.code, "details": error.details, "requestId": context.request_id}
            raise ConnectionRejectionError({"message": error.message, "extensions": told}) from None
        await self.speaks_for(context.principal)
        return {"requestId": context.request_id}

    async def speaks_for(self, principal: Principal) -> None:
        """Act for somebody from now on."""

    def ended(self) -> None:
        """Act for nobody any more."""

    async def dismiss(self, error: NeuraScaleError) -> None:
        """Send nothing more, and end the connection whether it reads or not; the reason says why.

        What it subscribed to ends with it.
        """
        code = FORBIDDEN if isinstance(error, ForbiddenError) else NOT_AUTHENTICATED
        await self.close(code, reason_of(error))
        if self.run_task is not None:
            self.run_task.cancel()

    async def _wait_for_principal(self) -> None:
        """End the connection of somebody who does not say who it is, in either protocol."""
        await asyncio.sleep(AUTH_SECONDS)
        if self.context.principal is None:
            await self.close(AUTH_TIMEOUT, "Connection initialisation timeout")

    # --- messages --------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Queue a message; wait while too many wait, and with us the client's line."""
        if self.is_open:
            await self.message_queue.put({"message": text_data or None, "disconnected": False})

    async def disconnect(self, code: int) -> None:
        """Take note that the client is gone, and see all its operations end."""
        self.is_open = False
        if self.run_task is not None and not self.run_task.done():
            await self.message_queue.put({"message": None, "disconnected": True})
            await asyncio.wait([self.run_task])

    def decode_json(self, data: str | bytes) -> object:
        """Return the value of a JSON text, as strict as REST."""
        body = data.encode() if isinstance(data, str) else data
        try:
            if len(body) > MAX_QUERY_BYTES:
                raise MalformedJSONError("That is too long")
            return loads(body)
        except MalformedJSONError as error:
            raise json.JSONDecodeError(error.message, "", 0) from None

    def encode_json(self, data: object) -> str:
        """Return JSON: null for NaN."""
        return dumps(data).decode()

    async def send(
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool = False
    ) -> None:
        """Send something while the connection is open."""
        if self.is_open:
            await super().send(text_data, bytes_data, close)

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """End the connection, once; for our own reason, where the protocol's handler knows less."""
        if self.is_open:
            self.is_open = False
            await super().close(*(self._why or (code, reason)))

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        """End the connection if what serves it failed; let go of who waits to be read."""
        while not self.message_queue.empty():
            self.message_queue.get_nowait()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("A GraphQL connection failed", exc_info=error)
            self._closing = asyncio.ensure_future(self.close(INTERNAL_ERROR))


def token_in(payload: Mapping[str, Any] | None) -> str | None:
    """Return the token that the first message of a connection shows; None if it shows none.

    Raises
    ------
    NotAuthenticatedError
        If it is shown in a way that is none.
    """
    for name, shown in (payload or {}).items():
        if name == "token" and isinstance(shown, str):
            return shown
        if name.lower() == "authorization":
            scheme, _, token = str(shown).partition(" ")
            if scheme.lower() != "bearer":
                raise NotAuthenticatedError(
                    "Authorization is no bearer token", suggestion="Send Bearer and the token."
                )
            return token.strip()
    return None
