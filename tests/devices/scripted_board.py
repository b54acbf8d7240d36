"""A tiny board that does what a test tells it, on a pseudo-terminal or a socket, and its driver.

Every frame carries the number of samples taken before it, so a test sees at once whether a sample
ended up in its place. Frame: 0xA0, counter, number (int32), milliseconds (uint32), 0xC0.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devices.boards import Ask, Board, BoardInfo, Conversation, Frames
from devices.errors import NoAnswerError, WrongBoardError

SFREQ = 250.0
PERIOD_NS = 4_000_000
FRAME = struct.Struct("<BBiIB")


class ScriptedBoard(Board):
    """The host's half of the protocol."""

    label = "Scripted board"
    type = "scripted"

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.sfreq = SFREQ
        self.ch_names = ("number",)
        self.has_board_clock = bool((settings or {}).get("board_clock"))
        self.timeout = (settings or {}).get("timeout", 5.0)
        self._rest = b""

    @property
    def scale_uv(self):
        return np.array([0.5])

    def handshake(self) -> Conversation:
        yield Ask(b"s", until=b"", timeout=0)
        answer = yield Ask(b"v", until=b"$$$", timeout=self.timeout)
        if not answer:
            raise NoAnswerError("Nothing answered.")
        if b"Scripted" not in answer:
            raise WrongBoardError(f"Expected a scripted board, found {answer!r}.")
        return BoardInfo(firmware="1.0", sfreq=SFREQ, n_channels=1)

    @property
    def start_command(self) -> bytes:
        return b"b"

    @property
    def stop_command(self) -> bytes:
        return b"s"

    def reset(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Frames:
        data = self._rest + data
        found, at, n_discarded = [], 0, 0
        while len(data) - at >= FRAME.size:
            head, counter, number, ms, tail = FRAME.unpack_from(data, at)
            if (head, tail) == (0xA0, 0xC0):
                found.append((counter, number, ms))
                at += FRAME.size
            else:
                at += 1
                n_discarded += 1
        self._rest = data[at:]
        return Frames(
            counter=np.array([counter for counter, _, _ in found], np.int64),
            counts=np.array([[number for _, number, _ in found]], np.int32),
            aux=np.empty((0, len(found)), np.float32),
            board_ms=np.array([ms if self.has_board_clock else np.nan for _, _, ms in found]),
            markers=tuple((i, 7) for i, (_, number, _) in enumerate(found) if number % 100 == 50),
            n_discarded=n_discarded,
        )


class Firmware:
    """The board's half: a thread that takes 250 samples a second while it streams."""

    def __init__(self, path: Path | None = None, *, greeting: bytes = b"Scripted 1.0$$$") -> None:
        self.path = path
        self.greeting = greeting
        self.number = 0  # samples taken since power came on
        self.started_ns = 0  # when number 0 was taken
        self.is_streaming = False
        self.is_out_of_range = False  # samples go on, neither frames nor commands come through
        self.is_held = False  # frames gather and come at once when this ends
        self.to_drop = 0
        self.corrupt_counter_at: int | None = None
        self._counter = 0
        self._gathered = b""
        self._lock = threading.Condition()
        self._ends: list[int] = []
        self._sockets: list[socket.socket] = []
        self._fd: int | None = None
        self._wake_r, self._wake_w = os.pipe()
        self._is_over = False
        if path is None:
            server = socket.create_server(("127.0.0.1", 0))
            self._sockets.append(server)
            self.url = f"socket://127.0.0.1:{server.getsockname()[1]}"
            self._fd = None
        else:
            self.url = str(path)
            self.plug_in()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Firmware:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        os.write(self._wake_w, b".")
        self._thread.join()
        self.unplug()
        for end in (self._wake_r, self._wake_w):
            os.close(end)
        for opened in self._sockets:
            opened.close()

    def plug_in(self) -> None:
        with self._lock:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._ends = [master, slave]
            fresh = self.path.with_suffix(".fresh")
            fresh.symlink_to(os.ttyname(slave))
            fresh.rename(self.path)
            self._fd = master
        os.write(self._wake_w, b".")

    def unplug(self) -> None:
        with self._lock:
            self._fd = None
            if self.path is not None:
                self.path.unlink(missing_ok=True)
            for end in self._ends:
                os.close(end)
            self._ends = []

    def power_cycle(self) -> None:
        with self._lock:
            self.is_streaming = False
            self._counter = 0
            self._gathered = b""

    def wait_for(self, number: int, timeout: float = 20.0) -> None:
        """Wait until so many samples were taken."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.number >= number, timeout)

    def taken_ns(self, number: int) -> int:
        return self.started_ns + number * PERIOD_NS

    def _run(self) -> None:
        if self._sockets:
            connection, _ = self._sockets[0].accept()
            self._sockets.append(connection)
            self._fd = connection.fileno()
        while not self._is_over:
            self._wait()
            with self._lock:
                if self.is_streaming:
                    self._take_samples()

    def _wait(self) -> None:
        due = self.taken_ns(self.number) - time.monotonic_ns() if self.is_streaming else 10**9
        fd = self._fd
        listening = [self._wake_r] if fd is None else [self._wake_r, fd]
        try:
            ready, _, _ = select.select(listening, [], [], max(0, due) / 1e9)
        except OSError:
            return  # unplugged meanwhile
        if self._wake_r in ready:
            os.read(self._wake_r, 100)
        with self._lock:
            if fd is not None and fd == self._fd and fd in ready:
                try:
                    commands = os.read(fd, 100)
                except OSError:
                    return  # nobody has the other end open
                for command in commands if not self.is_out_of_range else b"":
                    self._obey(bytes([command]))

    def _obey(self, command: bytes) -> None:
        if command == b"v":
            self._send(self.greeting)
        if command == b"s":
            self.is_streaming = False
        if command == b"b" and self.greeting:
            if not self.is_streaming:
                self.started_ns = time.monotonic_ns() - self.number * PERIOD_NS
            self.is_streaming = True
            self._counter = 0

    def _take_samples(self) -> None:
        while self.taken_ns(self.number) <= time.monotonic_ns():
            counter = self._counter
            if self.number == self.corrupt_counter_at:
                counter = (counter + 77) % 256
            ms = (self.taken_ns(self.number) // 1_000_000) % 2**32
            frame = FRAME.pack(0xA0, counter, self.number, ms, 0xC0)
            self.number += 1
            self._counter = (self._counter + 1) % 256
            self._lock.notify_all()
            if self.to_drop:
                self.to_drop -= 1
            elif not self.is_out_of_range:
                self._gathered += frame
        if not self.is_held:
            frames, self._gathered = self._gathered, b""
            self._send(frames)

    def _send(self, data: bytes) -> None:
        if self._fd is None or not data:
            return
        try:
            os.write(self._fd, data)
        except OSError:
            return  # nobody listens, or the queue is full: a board does not care
