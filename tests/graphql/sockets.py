"""A client of either WebSocket protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from neurascale.core.auth import issue_tokens

SECONDS = 30
DATA = """subscription(
    $id: ID!, $channels: [Int!], $filtered: Boolean, $after: Long, $lag: String
) {
    neuralData(deviceId: $id, channels: $channels, filtered: $filtered, afterSequence: $after,
               onLag: $lag) {
        deviceId streamId sequence timestamp firstSample sampleRate channels samples
        gap { reason fromSequence toSequence firstSample nSamples replayed } } }"""
STATUS = """subscription($id: ID!) { deviceStatus(deviceId: $id) {
    deviceId event data status { status streaming sessionId } } }"""
UPDATES = """subscription($session: ID, $device: ID) {
    sessionUpdates(sessionId: $session, deviceId: $device) {
        sessionId event session { status dataPoints device { name } } } }"""


@dataclass(frozen=True)
class Protocol:
    """The words of a protocol."""

    name: str
    start: str
    data: str
    stop: str
    failed: str


NEW = Protocol("graphql-transport-ws", "subscribe", "next", "complete", "error")
OLD = Protocol("graphql-ws", "start", "data", "stop", "error")


class Socket:
    """A connection that speaks one of them."""

    def __init__(self, ws: ClientConnection, protocol: Protocol) -> None:
        self.ws, self.protocol = ws, protocol

    def say(self, **message: Any) -> None:
        self.ws.send(orjson.dumps(message).decode())

    def hear(self) -> Any:
        return orjson.loads(self.ws.recv(timeout=SECONDS))

    def init(self, payload: Any = None) -> Any:
        """Say who is asking and return the answer."""
        self.say(type="connection_init", **({} if payload is None else {"payload": payload}))
        return self.hear()

    def start(self, query: str, *, key: str = "1", **variables: Any) -> None:
        self.say(
            type=self.protocol.start,
            id=key,
            payload={"query": query, "variables": variables},
        )

    def stop(self, key: str = "1") -> None:
        self.say(type=self.protocol.stop, id=key)

    def next(self, key: str = "1") -> Any:
        """Return the next result of an operation, which must go well."""
        while True:
            message = self.hear()
            if message.get("id") == key and message["type"] == self.protocol.data:
                assert "errors" not in message["payload"], message
                return message["payload"]["data"]
            assert message["type"] not in {self.protocol.failed}, message

    def failed(self, key: str = "1") -> Any:
        """Return the error of an operation that must not begin."""
        message = self.hear()
        assert (message["type"], message["id"]) == (self.protocol.failed, key), message
        payload = message["payload"]
        (error,) = payload if isinstance(payload, list) else [payload]
        assert set(error["extensions"]) == {"code", "details", "requestId"}
        return error

    def closed(self) -> int:
        """Read to the end and return the close code."""
        return int(self.end().code)

    def end(self) -> Any:
        """Read to the end and return the close frame."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            return closed.rcvd


def open_socket(server: Any, protocol: Protocol, **options: Any) -> Socket:
    """Return a connection to `/graphql` that is not initialised yet."""
    url = f"ws://127.0.0.1:{server.port}/graphql"
    query = options.pop("query", "")
    headers = options.pop("headers", {})
    ws = connect(
        url + query,
        subprotocols=[protocol.name],
        additional_headers=headers,
        compression=None,
        legacy=True,
        **options,
    )
    assert ws.subprotocol == protocol.name
    return Socket(ws, protocol)


def token_of(program, *scopes):
    return issue_tokens(program.client, scopes or None)["access_token"]


def bearer(program):
    return f"Bearer {token_of(program)}"


def begin(socket, key="1"):
    """Return when a subscription is known to listen: its first result has come."""
    return socket.next(key)
