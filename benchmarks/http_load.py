"""The load of `benchmarks/http.py`: writes bytes, counts answers, and does little else."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

START = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
EXPECTED = {"trivial": b"200", "devices": b"200"}  # status; 201 for the others

Prepared = dict[str, list[list[bytes]]]

# Of the servers that are asked. Whoever asks is on this machine, and has no certificate.
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "benchmarks.http_settings",
    "DEBUG": "0",
    "NEURASCALE_SSL_REDIRECT": "0",
}


class Connection(asyncio.Protocol):
    """One keep-alive connection that always has one request under way."""

    def __init__(self, requests: Iterator[bytes], expected: bytes, until: float) -> None:
        self.requests, self.expected, self.until = requests, expected, until
        self.buffer = b""
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send the next request."""
        self.began_at = time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole, and ask again until the time is over."""
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.lower().find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r", 1)[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self.began_at)
        if head[9:12] != self.expected:
            self.done.set_exception(AssertionError(f"{head[:80]!r} {body[:500]!r}"))
        elif now > self.until:
            self.done.set_result(None)
        else:
            self.buffer = b""
            self.ask()
            return
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits that the server hung up."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server hung up"))


async def load(port: int, streams: list[Iterator[bytes]], expected: bytes, seconds: float) -> list:
    """Send requests over as many connections as there are streams, and return the latencies."""
    loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds
    opened = [
        await loop.create_connection(
            lambda stream=stream: Connection(stream, expected, until), "127.0.0.1", port
        )
        for stream in streams
    ]
    await asyncio.gather(*(connection.done for _, connection in opened))
    return [latency for _, connection in opened for latency in connection.latencies]


def serve_orders(orders: Any, answers: Any, prepared: Prepared) -> None:
    """Run loads as they are ordered, each stream going on where it stopped."""
    # One clock a connection: its session goes on in whatever form the samples come.
    clocks = [itertools.count() for _ in prepared["json"]]
    streams = {kind: list(map(requests, all_, clocks)) for kind, all_ in prepared.items()}
    while (order := orders.get()) is not None:
        kind, port, n_connections, seconds = order
        chosen = streams[kind][:n_connections]
        began_at = time.perf_counter()
        try:
            latencies = asyncio.run(load(port, chosen, EXPECTED.get(kind, b"201"), seconds))
        except Exception as error:
            answers.put((f"{kind}: {error}", 0.0))
            raise
        answers.put((latencies, time.perf_counter() - began_at))


def requests(parts: list[bytes], clock: Iterator[int]) -> Iterator[bytes]:
    """Yield requests; those that ingest go on where the last one ended."""
    before, after = parts
    for second in clock:
        moment = (START + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
        yield before + (moment.encode() + after if after else b"")
