"""How many subscribers one web process serves: ``python -m benchmarks.fanout``.

100 subscribers, packets of 8 channels x 13 samples, JSON. The server has one core for itself; the
clients and the publisher have the other. Prints the latency from publishing to receiving at 20
packets a second, and the most deliveries a second, for the hub behind our daphne, for the
`websockets` library's broadcast and for the consumer that joins the group itself. Then the hub
once more, beside a subscriber that never reads.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="ns-fanout-"))
os.environ |= {
    "NEURASCALE_HOME": str(HOME),
    "DJANGO_SETTINGS_MODULE": "neurascale.settings",
    "LOG_LEVEL": "ERROR",
    "NEURASCALE_MAX_SUBSCRIPTIONS": "1000",  # all of them are one client's
}
for name in ("REDIS_URL", "DATABASE_URL"):
    os.environ.pop(name, None)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

import django

django.setup()

import numpy as np
import orjson
from channels.layers import get_channel_layer
from django.conf import settings
from django.core.management import call_command

from benchmarks.fanout_references import DEVICE
from devices.models import Device
from ingest.broadcast import PACKET, group_of
from ingest.packets import Packet
from neurascale.core.auth import issue_tokens
from neurascale.core.models import Client
from neurascale.core.valkey import valkey_command
from sessions_app.services import create_client

N_SUBSCRIBERS = 100
SHAPE = (8, 13)
PACKETS_A_SECOND = 20
SECONDS = 10.0
WINDOW = 8  # packets published and not yet received by all, when as many as possible are wanted
BAR = 15_000  # deliveries a second
SERVERS = {
    "hub, our daphne": [
        *("neurascale.core.server", "--port", "{port}", "neurascale.asgi:application"),
    ],
    "websockets broadcast": ["benchmarks.fanout_references", "{port}"],
    "naive, stock daphne": ["daphne", "-v0", "-p", "{port}", "benchmarks.fanout_references:naive"],
}
DATA = b'{"type":"data"'


def text_frame(message: dict) -> bytes:
    """Return a short message as a client sends it, masked with zeros."""
    text = orjson.dumps(message)
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


SUBSCRIBE = text_frame({"type": "subscribe", "device_id": DEVICE})


@dataclass
class Figures:
    """What one run measured.

    Parameters
    ----------
    p50_ms, p99_ms : float
        Latency of a delivery at `PACKETS_A_SECOND`.
    most : float
        Deliveries a second when the server is never without work.
    """

    p50_ms: float
    p99_ms: float
    most: float


class Tally:
    """What all subscribers received."""

    def __init__(self) -> None:
        self.n_deliveries = 0
        self.latencies_ms: list[float] = []
        self.moved = asyncio.Event()

    async def until(self, n_deliveries: int, seconds: float = 30) -> None:
        """Wait until so many packets were delivered in all."""
        async with asyncio.timeout(seconds):
            while self.n_deliveries < n_deliveries:
                self.moved.clear()
                await self.moved.wait()


class Subscriber(asyncio.Protocol):
    """A WebSocket client that does little: finds frames, and the time in the first of a read."""

    def __init__(self, tally: Tally, head: bytes) -> None:
        self.tally = tally
        self.head = head
        self.buffer = b""
        self.is_open = False
        self.n_packets = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Ask for the upgrade."""
        self.transport = transport
        transport.write(self.head)

    def data_received(self, data: bytes) -> None:
        """Count the packets in what came."""
        self.buffer += data
        if not self.is_open:
            _, separator, rest = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            self.is_open, self.buffer = True, rest
            self.transport.write(SUBSCRIBE)
        now_ms = time.time_ns() / 1e6
        start = 0
        while (end := frame_end(self.buffer, start)) is not None:
            begin, stop = end
            if self.buffer.startswith(DATA, begin):
                self.n_packets += 1
                self.tally.n_deliveries += 1
                at = self.buffer.index(b'"timestamp":', begin) + 12
                sent_ms = float(self.buffer[at : self.buffer.index(b",", at)])
                self.tally.latencies_ms.append(now_ms - sent_ms)
            start = stop
        self.buffer = self.buffer[start:]
        self.tally.moved.set()


def frame_end(buffer: bytes, start: int) -> tuple[int, int] | None:
    """Return where the payload of a whole frame begins and ends; None if it is not all there."""
    if len(buffer) < start + 4:
        return None
    length, begin = buffer[start + 1], start + 2
    if length == 126:
        length, begin = int.from_bytes(buffer[start + 2 : start + 4], "big"), start + 4
    return (begin, begin + length) if len(buffer) >= begin + length else None


class Publisher:
    """Publishes packets with consecutive numbers, stamped with the time of publishing."""

    def __init__(self) -> None:
        self.sequence = 0
        self.data = (50 * np.random.default_rng(7).standard_normal(SHAPE)).astype(np.float32)

    async def publish(self) -> None:
        """Publish the next packet."""
        packet = Packet(
            device_id=DEVICE,
            stream_id="strm_fanout",
            sequence=self.sequence,
            first_sample=self.sequence * SHAPE[1],
            time_ns=time.time_ns(),
            sfreq=250.0,
            picks=range(SHAPE[0]),
            data=self.data,
        )
        self.sequence += 1
        message = {"type": PACKET, **packet.to_wire()}
        await get_channel_layer().group_send(group_of(DEVICE), message)


async def measure(port: int, token: str, *, beside_one_that_never_reads: bool = False) -> Figures:
    """Connect the subscribers and measure both figures."""
    tally, publisher = Tally(), Publisher()
    head = handshake(token)
    never_reads = connect_and_never_read(port, head) if beside_one_that_never_reads else None
    loop = asyncio.get_running_loop()
    connections = [
        await loop.create_connection(lambda: Subscriber(tally, head), "127.0.0.1", port)
        for _ in range(N_SUBSCRIBERS)
    ]
    subscribers = [protocol for _, protocol in connections]
    async with asyncio.timeout(30):
        while not all(subscriber.n_packets for subscriber in subscribers):
            await publisher.publish()
            await asyncio.sleep(0.5)  # enough for a packet to reach everybody who is subscribed
    most = await as_many_as_possible(publisher, tally)
    latencies = await at_a_steady_pace(publisher, tally)
    for transport, _ in connections:
        transport.abort()
    if never_reads is not None:
        never_reads.close()
    return Figures(*np.percentile(latencies, [50, 99]), most=most)


async def as_many_as_possible(publisher: Publisher, tally: Tally) -> float:
    """Return the deliveries a second of a server that always has work."""
    before = tally.n_deliveries
    began = time.perf_counter()
    n_published = 0
    while time.perf_counter() - began < SECONDS:
        await publisher.publish()
        n_published += 1
        await tally.until(before + (n_published - WINDOW) * N_SUBSCRIBERS)
    await tally.until(before + n_published * N_SUBSCRIBERS)
    return (tally.n_deliveries - before) / (time.perf_counter() - began)


async def at_a_steady_pace(publisher: Publisher, tally: Tally) -> list[float]:
    """Return the latencies in milliseconds of every delivery."""
    tally.latencies_ms.clear()
    before = tally.n_deliveries
    n_packets = round(SECONDS * PACKETS_A_SECOND)
    began = time.perf_counter()
    for n in range(n_packets):
        await asyncio.sleep(began + n / PACKETS_A_SECOND - time.perf_counter())
        await publisher.publish()
    await tally.until(before + n_packets * N_SUBSCRIBERS)
    return list(tally.latencies_ms)


def handshake(token: str) -> bytes:
    """Return the request that opens a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def connect_and_never_read(port: int, head: bytes) -> socket.socket:
    """Return a connection that subscribes and never looks at what comes."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", port))
    peer.sendall(head)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += peer.recv(1)
    peer.sendall(SUBSCRIBE)
    return peer


def start(command: list[str], port: int) -> subprocess.Popen[bytes]:
    """Start a server on the first core and wait until it listens."""
    arguments = [part.format(port=port) for part in command]
    process = subprocess.Popen([sys.executable, "-m", *arguments])
    os.sched_setaffinity(process.pid, {0})
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{arguments[0]} did not start") from None
            time.sleep(0.05)
        else:
            return process


def run(name: str, token: str, **options: bool) -> Figures:
    """Measure one server, from its start to its end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = start(SERVERS[name], port)
    try:
        return asyncio.run(measure(port, token, **options))
    finally:
        server.kill()
        server.wait()


def main() -> int:
    """Print the figures of all servers; return 1 if the hub is below the bar."""
    argparse.ArgumentParser(description=__doc__.split(":", 1)[0]).parse_args()
    settings.VALKEY_SOCKET.parent.mkdir(parents=True, exist_ok=True)
    valkey = subprocess.Popen(
        valkey_command(directory=HOME, socket=settings.VALKEY_SOCKET, durable=False)
    )
    try:
        call_command("migrate", verbosity=0)
        Device.objects.create(public_id=DEVICE, name="Cyton", board="cyton", port="/dev/nowhere")
        made = create_client(name="fanout", scopes=["devices:read"])
        token = issue_tokens(Client.objects.get(public_id=made.client_id))["access_token"]
        os.sched_setaffinity(0, {1})
        found = {name: run(name, token) for name in SERVERS}
        hub = next(iter(SERVERS))
        found["hub, one never reads"] = run(hub, token, beside_one_that_never_reads=True)
    finally:
        valkey.terminate()
        valkey.wait()
    print(f"{N_SUBSCRIBERS} subscribers, {SHAPE[0]} x {SHAPE[1]}, JSON, one core for the server")
    print(f"{'':24}{'p50 ms':>9}{'p99 ms':>9}{'deliveries/s':>15}")
    for name, figures in found.items():
        print(f"{name:24}{figures.p50_ms:9.1f}{figures.p99_ms:9.1f}{figures.most:15,.0f}")
    is_enough = found[hub].most >= BAR
    print(f"at least {BAR:,} deliveries a second: {'yes' if is_enough else 'NO'}")
    return 0 if is_enough else 1


if __name__ == "__main__":
    sys.exit(main())
