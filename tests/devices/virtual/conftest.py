"""A virtual board as a process of its own, and a reader that knows nothing of the project's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import serial

from devices.virtual.faults import Fault
from devices.virtual.truth import Truth

PATIENCE = 60.0


def parse(data: bytes) -> np.ndarray:
    """Return every whole frame of a stream without faults, shape (n_frames, 33)."""
    n_frames = len(data) // 33
    frames = np.frombuffer(data[: n_frames * 33], np.uint8).reshape(n_frames, 33)
    assert (frames[:, 0] == 0xA0).all()
    assert (frames[:, 32] & 0xF0 == 0xC0).all()
    return frames


def counts_of(frames: np.ndarray) -> np.ndarray:
    """Return the counts of frames, shape (8, n_frames), as the data format describes them."""
    return np.array(
        [
            [int.from_bytes(frame[2 + 3 * i : 5 + 3 * i], "big", signed=True) for frame in frames]
            for i in range(8)
        ]
    )


class Running:
    """One running board and the conversation with it."""

    def __init__(self, folder: Path, *options: str, command: tuple[str, ...]) -> None:
        self.link = folder / "cyton"
        self.truth_path = folder / "truth"
        self.process = subprocess.Popen(
            [*command, "--link", str(self.link), "--truth", str(self.truth_path), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.ready = self.process.stdout.readline().decode()
        self.port = None

    def open(self) -> serial.Serial:
        self.port = serial.Serial(str(self.link), 115200, timeout=PATIENCE, exclusive=True)
        return self.port

    def ask(self, command: bytes) -> str:
        self.port.write(command)
        return self.port.read_until(b"$$$").decode()

    def read_frames(self, n_frames: int) -> bytes:
        data = self.port.read(33 * n_frames)
        assert len(data) == 33 * n_frames
        return data

    def read_rest(self) -> bytes:
        """Stop the stream and return what was still on its way."""
        self.port.write(b"s~~")  # the answer to a question marks the end
        return self.port.read_until(b"Success: Sample rate is 250Hz$$$")[:-32]

    def tell(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    @property
    def truth(self) -> Truth:
        return Truth.read(self.truth_path)

    def wait_for(self, what: Callable[[], object]) -> object:
        deadline = time.monotonic() + PATIENCE
        while not (found := what()):
            assert time.monotonic() < deadline, "waited in vain"
            assert self.process.poll() is None, "the board has ended"
            time.sleep(0.01)  # between two looks
        return found

    def wait_for_event(self, event: str, **facts: object) -> dict:
        def look() -> dict | None:
            found = [e for e in self.truth.of(event) if facts.items() <= e.items()]
            return found[0] if found else None

        return self.wait_for(look)

    def wait_for_fault(self, fault: Fault) -> None:
        self.wait_for(lambda: np.any(self.truth.fault & fault))

    def end(self) -> int:
        if self.port:
            self.port.close()
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()
        return status


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start boards; all of them end with the test."""
    running: list[Running] = []

    def start(
        *options: str,
        folder: Path = tmp_path,
        command: tuple[str, ...] = (sys.executable, "-m", "devices.virtual"),
    ) -> Running:
        running.append(Running(folder, *options, command=command))
        return running[-1]

    yield start
    for one in running:
        one.end()
