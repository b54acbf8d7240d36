"""The link, the Cyton's driver and the virtual Cyton together: compared with what was sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devices.boards import boards
from devices.link import Link, Resume
from devices.virtual.truth import Truth
from neurascale.core.chunk import Chunk, GapReason
from tests.waiting import wait_until

LISTEN_AND_DIE = """
import sys
from devices.boards import boards
from devices.link import Link
link = Link(sys.argv[1], boards["cyton"].make({}))
link.open()
link.start()
while True:
    chunk = link.read(20)
    print(chunk.first_sample, chunk.n_times, chunk.time_ns, link.clock_offset_ns, flush=True)
"""


class VirtualCyton:
    """A virtual board as a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = str(folder / "virtual-cyton")
        self.truth_path = folder / "truth"
        command = [sys.executable, "-m", "devices.virtual", "--link", self.port]
        self.process = subprocess.Popen(
            [*command, "--truth", str(self.truth_path), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline().startswith("Virtual Cyton")

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture
def start(tmp_path: Path):
    running: list[VirtualCyton] = []

    def start_one(*options: str) -> VirtualCyton:
        running.append(VirtualCyton(tmp_path, *options))
        return running[-1]

    yield start_one
    for one in running:
        one.end()


class Listener:
    """A link that keeps everything it was told."""

    def __init__(self, port: str, **options) -> None:
        self.board = boards["cyton"].make({})
        self.events: list[str] = []
        self.chunks: list[Chunk] = []
        self.link = Link(
            port, self.board, on_event=lambda event, _: self.events.append(event), **options
        )

    def __enter__(self) -> Listener:
        self.link.open()
        self.link.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.link.stop()
        while (chunk := self.link.read(0)) is not None:
            self.chunks.append(chunk)
        self.link.close()

    def listen(self, n_samples: int) -> None:
        """Read until so many samples have come, gaps not counted."""
        while n_samples > 0:
            chunk = self.link.read(30)
            assert chunk is not None, f"nothing came; events: {self.events}"
            self.chunks.append(chunk)
            n_samples -= chunk.n_times

    def listen_through(self, reason: GapReason) -> None:
        """Read until a gap of that kind has come, and a second more."""
        while not self.chunks or self.chunks[-1].gap is not reason:
            self.listen(1)
        self.listen(250)

    def check(self, truth: Truth) -> int:
        """Compare with what was sent, sample by sample; return how many samples are missing."""
        sent = truth.counts[:, truth.epoch == truth.epoch[0]]
        stop = self.chunks[0].first_sample
        n_missing = 0
        for chunk in self.chunks:
            counts = np.rint(chunk.data / self.board.scale_uv[:, np.newaxis]).astype(np.int64)
            np.testing.assert_array_equal(counts, sent[:, chunk.first_sample : chunk.stop_sample])
            n_missing += chunk.first_sample - stop
            stop = chunk.stop_sample
        return n_missing


def test_every_sample_of_a_faultless_board_arrives_in_its_place(start):
    cyton = start()
    with Listener(cyton.port) as listener:
        listener.listen(500)
    truth = Truth.read(cyton.truth_path)
    assert listener.chunks[0].first_sample == 0
    assert listener.check(truth) == 0
    n_waiting = truth.n_frames - listener.chunks[-1].stop_sample
    assert n_waiting in (0, 1)  # the driver may wait for what would have followed the last frame


def test_dropped_corrupt_and_held_frames_leave_the_others_in_their_places(start):
    cyton = start("--faults", "drop=0.02,truncate=0.01,burst=40:0.005,drift=20")
    with Listener(cyton.port) as listener:
        listener.listen(1000)
    assert listener.check(Truth.read(cyton.truth_path)) > 0


def test_the_fitted_time_is_within_a_sample_of_when_it_was_taken(start):
    cyton = start("--faults", "burst=40:0.005,drift=20")
    with Listener(cyton.port) as listener:
        listener.listen(1500)
    due_ns = Truth.read(cyton.truth_path).due_ns
    errors_ns = [
        chunk.time_ns - listener.link.clock_offset_ns - due_ns[chunk.first_sample]
        for chunk in listener.chunks[100:]
    ]
    assert np.abs(np.median(errors_ns)) < 4e6


def test_unplugged_and_plugged_in_again_the_stream_goes_on(start):
    cyton = start()
    with Listener(cyton.port) as listener:
        listener.listen(750)
        cyton.tell("unplug=now+2")
        listener.listen_through(GapReason.UNPLUGGED)
    assert listener.check(Truth.read(cyton.truth_path)) > 400
    told = [event for event in listener.events if event != "reconnecting"]
    assert told == ["connected", "disconnected", "connected", "packet_loss"]


def test_killed_with_kill_9_and_taken_over_nothing_is_miscounted(start):
    cyton = start()
    command = [sys.executable, "-c", LISTEN_AND_DIE, cyton.port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(50):
            first, n_times, time_ns, offset = map(int, process.stdout.readline().split())
        process.kill()
    # The port may have kept what the dead process did not read: wait for more than it holds.
    n_before = Truth.read(cyton.truth_path).n_frames
    wait_until(lambda: Truth.read(cyton.truth_path).n_frames > n_before + 250)
    resume = Resume(first + n_times, first, time_ns)
    with Listener(cyton.port, resume=resume, clock_offset_ns=offset) as listener:
        listener.listen(500)
    assert listener.chunks[0].gap is GapReason.NOT_LISTENING
    assert listener.chunks[0].first_sample > resume.next_sample
    assert listener.check(Truth.read(cyton.truth_path)) == 0
