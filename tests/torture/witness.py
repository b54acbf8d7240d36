"""Programs that use the lab while it is being killed, and remember what they were promised."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import websockets

RETRY_SECONDS = 0.1


class Api:
    """REST with patience: asks again until the server is there and answers."""

    def __init__(self, base: str, client: dict[str, str]) -> None:
        self.base = base
        self.credentials = {name: client[name] for name in ("client_id", "client_secret")}
        self.http = httpx.Client(base_url=f"{base}/v1", timeout=15)
        self._token: tuple[str, float] | None = None

    def token(self) -> str:
        """Return an access token that lives for a while yet."""
        if self._token is None or time.monotonic() > self._token[1]:
            answer = self.insist(
                lambda: self.http.post(
                    "/auth/token", json={**self.credentials, "grant_type": "client_credentials"}
                )
            )
            content = answer.json()
            self._token = content["access_token"], time.monotonic() + content["expires_in"] / 2
        return self._token[0]

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request, as often as it takes; refuse any answer but a good one."""
        headers = {"Authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        answer = self.insist(lambda: self.http.request(method, path, headers=headers, **options))
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def insist(self, send: Callable[[], httpx.Response], patience: float = 60) -> httpx.Response:
        """Send until an answer comes that is not the server's own trouble."""
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = send()
                if answer.status_code < 500:
                    return answer
                trouble: Any = answer.text
            except httpx.TransportError as error:
                trouble = error
            assert time.monotonic() < deadline, f"no answer for {patience} s: {trouble!r}"
            time.sleep(RETRY_SECONDS)


@dataclass
class Shown:
    """One packet that a subscriber was shown."""

    stream_id: str
    first_sample: int
    samples: np.ndarray  # (n_times, n_channels)


@dataclass
class Witness:
    """A subscriber that comes back after every loss, and a marker now and then."""

    api: Api
    device_id: str
    shown: dict[int, Shown] = field(default_factory=dict)
    repeated: list[int] = field(default_factory=list)
    markers: dict[str, int] = field(default_factory=dict)
    told_missing: list[dict[str, Any]] = field(default_factory=list)
    n_connections: int = 0

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()))
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stop.set()
        self._thread.join()

    def newest(self) -> int:
        """Return the newest packet number, -1 before the first."""
        return max(self.shown, default=-1)

    async def _watch(self) -> None:
        url = self.api.base.replace("http", "ws") + "/v1/stream"
        while not self._stop.is_set():
            headers = {"Authorization": f"Bearer {await asyncio.to_thread(self.api.token)}"}
            try:
                async with websockets.connect(url, additional_headers=headers) as socket:
                    self.n_connections += 1
                    await self._subscribe(socket)
                    await self._listen(socket)
            except (OSError, websockets.WebSocketException, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _subscribe(self, socket: Any) -> None:
        wish = {"type": "subscribe", "device_id": self.device_id, "filtered": False}
        if self.shown:
            wish["after_sequence"] = self.newest()
        await socket.send(json.dumps(wish))

    async def _listen(self, socket: Any) -> None:
        mark_at = time.monotonic()
        for number in itertools.count():
            if self._stop.is_set():
                return
            if time.monotonic() > mark_at:
                mark_at = time.monotonic() + 0.3
                marker = {"type": "marker", "device_id": self.device_id, "label": f"m{number}"}
                await socket.send(json.dumps(marker))
            try:
                message = json.loads(await asyncio.wait_for(socket.recv(), 0.5))
            except TimeoutError:
                continue
            if message["type"] == "data":
                self._see(message)
            elif message["type"] == "marker" and message.get("event_id"):
                self.markers[message["event_id"]] = message["sample"]
            elif message["type"] == "gap":
                self.told_missing.append(message)

    def _see(self, message: dict[str, Any]) -> None:
        sequence = message["sequence"]
        if sequence in self.shown:
            self.repeated.append(sequence)
        samples = np.asarray(message["samples"], dtype=np.float32)
        self.shown[sequence] = Shown(message["stream_id"], message["first_sample"], samples)


@dataclass
class Uploader:
    """A program that ingests samples from elsewhere and sends each request until it is answered."""

    api: Api
    device_id: str
    session_id: str
    sent: list[list[list[float]]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._upload)
        self._thread.start()

    def stop(self) -> None:
        """End after the request that is under way was answered."""
        self._stop.set()
        self._thread.join()

    def _upload(self) -> None:
        began = time.time_ns()
        for number in itertools.count():
            if self._stop.wait(0.2):
                return
            eeg = [
                [float(number * 100 + channel * 50 + k) for k in range(50)] for channel in (0, 1)
            ]
            moment = np.datetime64(began + number * 200_000_000, "ns")
            body = {
                "device_id": self.device_id,
                "session_id": self.session_id,
                "timestamp": f"{moment}Z",
                "data": {"eeg": eeg * 4, "sample_rate": 250, "channels": 8},
            }
            key = {"Idempotency-Key": f"{self.session_id}-{number}"}
            answer = self.api.call("POST", "/ingest/neural-data", json=body, headers=key)
            self.sent.append(eeg * 4)
            self.answers.append(answer)
