"""Daphne, with back-pressure: ``python -m neurascale.core.server neurascale.asgi:application``.

Twisted takes whatever it is given and keeps in memory, without bound, what a peer does not read.
Here `send` of an ASGI application returns when there is room, and `receive` reads from the network
only as fast as the application takes messages, so that a peer costs a bounded amount of memory
whatever it does. An application that waits for each `send` is slowed down by a slow peer, and can
decide what to leave out.

Rule of this file: no Django, and nothing of the lab.
"""

from __future__ import annotations

# Twisted is particular about what is imported first: this installs its asyncio reactor.
from daphne.server import Server as DaphneServer  # isort: skip

import argparse
import asyncio
import logging
import os
import socket
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any

from asgiref.compatibility import guarantee_single_callable
from daphne.endpoints import build_endpoint_description_strings
from daphne.utils import import_by_path
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.defer import Deferred

from neurascale.core.http_channel import MAX_BODY_BYTES, Body, Channel, answer_of

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 2**20
PING_SECONDS = 20
PONG_SECONDS = 30
HANDSHAKE_SECONDS = 20  # an application may have to load a library first
GOODBYE_SECONDS = 2.0  # at least, for peers to answer a close frame; and for requests under way
SHUTDOWN_SECONDS = 3.0  # afterwards the process ends, whatever threads still do
BACKLOG = 1024  # a lab's clients come back all at once after a restart
# The kernel's default grows to megabytes: minutes of signal between us and knowing of a slow peer.
SEND_BUFFER_BYTES = 128 * 2**10
INBOX_MESSAGES = 64
REFUSAL = "websocket.http.response"  # an extension of ASGI
SERVICE_RESTART = 1012  # IANA, WebSocket Close Code Number Registry
TEXT, BINARY = 0x81, 0x82  # RFC 6455, section 5.2: final fragment, opcode


class Valve:
    """Whether a transport takes more; a push producer, as Twisted calls it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_open(self) -> bool:
        """Whether there is room now."""
        return self._open.is_set()

    async def wait(self) -> None:
        """Return when there is room, or when there is nobody left to wait for."""
        while not self._open.is_set():
            await self._open.wait()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's interface, as the next two
        """Take note that the transport's buffer is full."""
        self._open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        """Take note that the transport's buffer is empty."""
        self._open.set()

    def stopProducing(self) -> None:  # noqa: N802
        """Let go of whoever waits: the connection is lost."""
        self._open.set()


class Inbox(asyncio.Queue[dict[str, Any]]):
    """Messages for an application; the network is not read while there are many."""

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self._transport = transport
        self._is_paused = False

    def put_nowait(self, item: dict[str, Any]) -> None:
        """Add a message; reading stops when there are `INBOX_MESSAGES`."""
        super().put_nowait(item)
        if self.qsize() >= INBOX_MESSAGES and not self._is_paused:
            self._is_paused = True
            self._transport.pauseProducing()

    async def get(self) -> dict[str, Any]:
        """Return the next message; reading goes on when half of them are taken."""
        message = await super().get()
        if self._is_paused and self.qsize() <= INBOX_MESSAGES // 2:
            self._is_paused = False
            self._transport.resumeProducing()
        return message


class Server(DaphneServer):
    """Daphne's server, with back-pressure in both directions and a clean farewell.

    Parameters are those of `daphne.server.Server`, and

    max_body_bytes : int
        How much of a body is kept, on disk, before the application is asked.
    """

    def __init__(self, *args: Any, max_body_bytes: int = MAX_BODY_BYTES, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_body_bytes = max_body_bytes
        self.ready_callable = self._make_ready
        self._valves: dict[Any, Valve] = {}
        self._ports: list[Any] = []

    # --- connections -----------------------------------------------------------------------------

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[Any] | None:
        """Start the application of a connection, and return the queue of its messages."""
        self._valves[protocol] = valve = Valve()
        scope["root_path"] = self.root_path  # ours, and not what a header of the request says
        if not isinstance(protocol, WebSocketProtocol):
            protocol.registerProducer(valve, True)
            return self._run(protocol, scope, Body(protocol.content))
        transport = protocol.transport
        # Until now the HTTP channel was asked to pause, and it would stop reading, not writing.
        transport.unregisterProducer()
        transport.registerProducer(valve, True)
        transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        scope["extensions"] = {REFUSAL: {}}
        return self._run(protocol, scope, Inbox(transport))

    def _run(
        self, protocol: Any, scope: dict[str, Any], messages: asyncio.Queue[Any]
    ) -> asyncio.Queue[Any]:
        scope.setdefault("asgi", {"version": "3.0"})
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(
            self.application(
                scope=scope, receive=messages.get, send=partial(self.handle_reply, protocol)
            )
        )
        return messages

    def protocol_disconnected(self, protocol: Any) -> None:
        """Take note that a connection is over."""
        super().protocol_disconnected(protocol)
        valve = self._valves.pop(protocol, None)
        if valve is not None:
            valve.stopProducing()

    async def handle_reply(self, protocol: Any, message: Mapping[str, Any]) -> None:
        """Send what an application says; return when the peer has room for more.

        What is sent to a peer that is gone is dropped, as Daphne does: the application learns of
        it from `receive`.
        """
        kind = message["type"]
        valve = self._valves.get(protocol)
        if kind == "websocket.send" and valve is not None:
            if not valve.is_open:
                await valve.wait()
            if protocol.state == protocol.STATE_OPEN:
                send_frame(protocol.transport, framed(_payload(message)))
            elif protocol.state == protocol.STATE_CONNECTING:
                raise ValueError("The socket has not been accepted, so nothing can be sent over it")
        elif kind == "websocket.close" and protocol.state == protocol.STATE_OPEN:
            close(protocol, message.get("code") or 1000, message.get("reason") or "")
        elif kind == f"{REFUSAL}.start":
            protocol.refusal = message
        elif kind == f"{REFUSAL}.body":
            if protocol.state == protocol.STATE_CONNECTING:
                refuse(protocol, protocol.refusal, message.get("body", b""))
        elif kind == "http.response.body" and valve is not None:
            await valve.wait()
            if protocol in self._valves and not message.get("more_body", False):
                protocol.unregisterProducer()
            await super().handle_reply(protocol, message)
        else:
            await super().handle_reply(protocol, message)

    # --- beginning and end -----------------------------------------------------------------------

    def _make_ready(self) -> None:
        """Say why a connection fails (1009, 1002 …), and give peers time to answer a close frame.

        Autobahn would cut the line in the first case; in the second it rounds the time when it
        will down to a whole second, and what a peer has not read by then is lost.
        """
        self.ws_factory.setProtocolOptions(
            failByDrop=False,
            closeHandshakeTimeout=GOODBYE_SECONDS + 1,
            # As daphne has it: a page from a file says so, and may show a token. With a cookie the
            # origin is looked at where the session is.
            allowNullOrigin=True,
        )
        self.http_factory.protocol = self._make_channel

    def _make_channel(self) -> Channel:
        channel = Channel()
        channel.max_body_bytes = self.max_body_bytes
        return channel

    def listen_success(self, port: Any) -> None:
        """Remember a port, to close it first when the time comes."""
        super().listen_success(port)
        self._ports.append(port)

    def kill_all_applications(self) -> Deferred[None]:
        """End every connection; called by Twisted when the server is told to stop."""
        last_resort = threading.Timer(SHUTDOWN_SECONDS, os._exit, [0])
        last_resort.daemon = True  # a process that ends in time ends without it
        last_resort.start()
        return Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self) -> None:
        """Accept nobody, say 1012 to every socket, let requests finish, then cancel the rest."""
        for port in self._ports:
            port.stopListening()
        for protocol in list(self.connections):
            if isinstance(protocol, WebSocketProtocol):
                if protocol.state == protocol.STATE_OPEN:
                    close(protocol, SERVICE_RESTART, "The server restarts")
                elif protocol.state == protocol.STATE_CONNECTING:
                    protocol.dropConnection(abort=True)
        running = {
            connection["application_instance"]
            for connection in self.connections.values()
            if "application_instance" in connection
        }
        if running:
            _, late = await asyncio.wait(running, timeout=GOODBYE_SECONDS)
            for application in late:
                application.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def close(protocol: WebSocketProtocol, code: int, reason: str) -> None:
    """Begin the closing handshake; Autobahn's own method refuses codes such as 1011 and 1012."""
    protocol.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:123])


def refuse(protocol: WebSocketProtocol, start: Mapping[str, Any], body: bytes) -> None:
    """Answer a handshake like any other request, instead of opening the socket."""
    protocol.sendData(answer_of(HTTPStatus(start["status"]), start.get("headers", ()), body))
    protocol.dropConnection(abort=False)


def _payload(message: Mapping[str, Any]) -> str | bytes:
    text = message.get("text")
    return message["bytes"] if text is None else text


@lru_cache(maxsize=128)
def framed(payload: str | bytes) -> bytes:
    """Return a message as it goes over the wire (RFC 6455, section 5.2).

    A message that goes to many sockets is framed once: strings remember their hash, so looking
    one up costs less than encoding it.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    first = TEXT if isinstance(payload, str) else BINARY
    if len(body) < 126:
        return struct.pack("!BB", first, len(body)) + body
    if len(body) < 2**16:
        return struct.pack("!BBH", first, 126, len(body)) + body
    return struct.pack("!BBQ", first, 127, len(body)) + body


def send_frame(transport: Any, frame: bytes) -> None:
    """Hand a frame to the kernel, or as much of it as it takes, and the rest to Twisted.

    Twisted would wait for the reactor to find the socket writable, which costs two system calls
    more and a turn of the event loop: half of what a delivery costs.
    """
    nothing_waits = not (
        getattr(transport, "dataBuffer", True) or getattr(transport, "_tempDataLen", True)
    )
    if nothing_waits and transport.connected:
        sent = transport.writeSomeData(frame)
        if isinstance(sent, int):  # else it is an error, which Twisted will run into likewise
            if sent == len(frame):
                return
            frame = frame[sent:]
    transport.write(frame)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve an ASGI application until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m neurascale.core.server", description=__doc__)
    parser.add_argument("application", help="module:attribute of the ASGI application")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 for any")
    parser.add_argument(
        "--max-body", type=int, default=MAX_BODY_BYTES, help="bytes of the largest body"
    )
    options = parser.parse_args(arguments)
    sys.path.insert(0, os.curdir)
    endpoints = build_endpoint_description_strings(host=options.bind, port=options.port)
    server = Server(
        guarantee_single_callable(import_by_path(options.application)),
        endpoints=[f"{endpoint}:backlog={BACKLOG}" for endpoint in endpoints],
        ping_interval=PING_SECONDS,
        ping_timeout=PONG_SECONDS,
        websocket_timeout=-1,  # a recording may take days
        websocket_connect_timeout=HANDSHAKE_SECONDS,
        websocket_handshake_timeout=HANDSHAKE_SECONDS,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        websocket_max_frame_size=MAX_MESSAGE_BYTES,
        verbosity=0,
        server_name="neurascale",
        max_body_bytes=options.max_body,
    )
    server.run()
    return 1 if server.abort_start else 0  # the port was taken, and the log says so


if __name__ == "__main__":
    sys.exit(main())
