"""HTTP below the application: how much a peer may send, and where it is kept until it is wanted.

Rule of this file: no Django, and nothing of the lab.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from twisted.web.http import HTTPChannel

log = logging.getLogger(__name__)

# Of a request's first line, and of all its headers: beyond this only the server itself answers. An
# application whose limits are lower can say what they are.
MAX_HEAD_BYTES = 64 * 2**10
MAX_BODY_BYTES = 128 * 2**20
HEAD_SECONDS = 20.0  # for the head of a request, however slowly it comes
FAREWELL_SECONDS = 2.0  # for a peer to read why it is refused


class Channel(HTTPChannel):
    """HTTP as Twisted speaks it, with room for what an application can refuse with a reason."""

    MAX_LENGTH = totalHeadersSize = MAX_HEAD_BYTES  # noqa: N815 - Twisted's names
    max_body_bytes = MAX_BODY_BYTES
    transport: Any
    length: int | None
    _n_body_bytes = 0
    _is_over = False
    _head_began: float | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's interface, as the next
        """Take what came, unless it belongs to a request that is refused."""
        if self._is_over:
            return
        now = time.monotonic()
        if self.line_mode and self._head_began is None:
            self._head_began = now
        if self._head_began is not None and now - self._head_began > HEAD_SECONDS:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, limit_seconds=HEAD_SECONDS)
            return
        super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Refuse a line without end."""
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, limit_bytes=MAX_HEAD_BYTES)

    def allHeadersReceived(self) -> None:  # noqa: N802
        """Refuse a body that says it is too large, before any of it is kept."""
        super().allHeadersReceived()
        self._n_body_bytes, self._head_began = 0, None
        if self.length is not None and self.length > self.max_body_bytes:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit_bytes=self.max_body_bytes)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take a part of a body; refuse one in chunks when it becomes too large."""
        self._n_body_bytes += len(data)
        if self._n_body_bytes > self.max_body_bytes:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit_bytes=self.max_body_bytes)
        elif not self._is_over:
            super().rawDataReceived(data)

    def _refuse(self, status: HTTPStatus, **limit: float) -> None:
        """Answer, and hang up when the peer has had the time to read it.

        Whoever is cut off while sending loses what was answered, too.
        """
        if self._is_over:
            return
        self._is_over = True
        name = f"req_{secrets.token_hex(8)}"
        error = {
            "code": "PAYLOAD_TOO_LARGE" if status == 413 else status.name,
            "message": f"{status.description}; the limit is {next(iter(limit.values()))}",
            "details": limit,
            "request_id": name,
        }
        body = json.dumps({"error": error}).encode()
        headers = [(b"Content-Type", b"application/json"), (b"X-Request-ID", name.encode())]
        self.transport.write(answer_of(status, headers, body))
        self.transport.loseWriteConnection()
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self.transport.abortConnection)
        log.info("[%s] %s: %s", name, status.phrase, limit)


class Body(asyncio.Queue[dict[str, Any]]):
    """The body of a request, read when the application takes it from where Twisted keeps it.

    Daphne would have all of it in memory at once, whoever sent it.
    """

    def __init__(self, content: Any) -> None:
        super().__init__()
        self._content = content
        self._n_taken = 0

    def put_nowait(self, item: dict[str, Any]) -> None:
        """Note that there is a message, and how much of the body it has."""
        if item["type"] == "http.request":
            item = {**item, "body": len(item["body"])}
        super().put_nowait(item)

    async def get(self) -> dict[str, Any]:
        """Return the next message."""
        message = await super().get()
        if message["type"] != "http.request":
            return message
        if self._content.closed:  # the peer is gone
            return {"type": "http.disconnect"}
        self._content.seek(self._n_taken)
        self._n_taken += message["body"]
        return {**message, "body": self._content.read(message["body"])}


def answer_of(status: HTTPStatus, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return the last answer of a connection as it goes over the wire (RFC 9112)."""
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}".encode(),
        *(name + b": " + value for name, value in headers),
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    return b"\r\n".join([*head, b"", body])
