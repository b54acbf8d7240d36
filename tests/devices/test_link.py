"""A link on a real pseudo-terminal: what a board sends ends up in its place, whatever happens."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devices import reader
from devices.errors import (
    NoAnswerError,
    PortBusyError,
    PortForbiddenError,
    PortMissingError,
    WrongBoardError,
)
from devices.line import not_opened
from devices.link import Link, Resume
from neurascale.core.chunk import Chunk, GapReason

from .scripted_board import PERIOD_NS, Firmware, ScriptedBoard


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let no test but those of silence mistake a computer that stands still for a silent board."""
    monkeypatch.setattr(reader, "SILENCE_SECONDS", 30.0)
    return lambda seconds: monkeypatch.setattr(reader, "SILENCE_SECONDS", seconds)


@pytest.fixture
def firmware(tmp_path: Path):
    with Firmware(tmp_path / "board") as running:
        yield running


class Recorder:
    """A link whose events are kept and whose chunks are checked as they come."""

    def __init__(self, firmware: Firmware, **options) -> None:
        self.events: list[tuple[str, dict]] = []
        self.chunks: list[Chunk] = []
        settings = {"board_clock": options.pop("board_clock", False)}
        self.link = Link(
            firmware.url,
            ScriptedBoard(settings),
            on_event=lambda event, data: self.events.append((event, data)),
            **options,
        )

    def __enter__(self) -> Recorder:
        self.link.open()
        self.link.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.link.stop()
        self.link.close()

    @property
    def names(self) -> list[str]:
        return [event for event, _ in self.events]

    def read(self, timeout: float = 20.0) -> Chunk:
        chunk = self.link.read(timeout)
        assert chunk is not None, f"nothing came in {timeout} s; events: {self.events[1:]}"
        self.chunks.append(chunk)
        return chunk

    def read_until_gap(self, timeout: float = 15.0) -> Chunk:
        deadline = time.monotonic() + timeout
        while (chunk := self.read()).gap is None:
            assert time.monotonic() < deadline, "no gap came"
        return chunk


def numbers(chunk: Chunk) -> list[int]:
    return [round(value / 0.5) for value in chunk.data[0].tolist()]


def shift(chunk: Chunk) -> int:
    """Return how far a chunk is from where it belongs; its samples must belong together."""
    found = numbers(chunk)
    assert found == list(range(found[0], found[0] + chunk.n_times))
    return chunk.first_sample - found[0]


def test_chunks_of_ten_samples_come_in_their_place_with_their_times(firmware):
    with Recorder(firmware) as recorder:
        for i in range(25):
            chunk = recorder.read()
            assert (chunk.first_sample, chunk.n_times, chunk.gap) == (10 * i, 10, None)
            assert shift(chunk) == 0
            late_ns = chunk.time_ns - recorder.link.clock_offset_ns
            late_ns -= firmware.taken_ns(chunk.first_sample)
            assert abs(late_ns) < 20e6
    markers = [marker.sample for chunk in recorder.chunks for marker in chunk.markers]
    assert markers == [50, 150]
    assert recorder.names == ["connected"]
    assert recorder.link.statistics.n_lost == 0


def test_a_chunk_is_there_as_soon_as_its_last_sample_is(firmware):
    with Recorder(firmware) as recorder:
        waits = []
        for _ in range(30):
            chunk = recorder.read()
            waits.append(time.monotonic_ns() - firmware.taken_ns(chunk.stop_sample - 1))
    assert min(waits) < PERIOD_NS  # so it waits for neither the next sample nor a timer


def test_the_length_of_a_chunk_can_be_chosen(firmware):
    with Recorder(firmware, chunk_ms=4.0) as recorder:
        assert [recorder.read().n_times for _ in range(5)] == [1] * 5


def test_lost_frames_are_a_gap_and_an_event(firmware):
    with Recorder(firmware) as recorder:
        recorder.read()
        firmware.to_drop = 3
        chunk = recorder.read_until_gap()
        assert chunk.gap is GapReason.LOST
        assert shift(chunk) == 0
        before = recorder.chunks[-2].stop_sample
        assert chunk.first_sample - before == 3
        told = {"first_sample": before, "n_samples": 3, "reason": "lost"}
        assert recorder.events[-1] == ("packet_loss", told)


def test_a_loss_of_more_than_a_turn_of_the_counter_is_counted_too(firmware):
    with Recorder(firmware) as recorder:
        for _ in range(60):  # until the clock knows the board
            recorder.read()
        firmware.to_drop = 300
        chunk = recorder.read_until_gap()
        assert shift(chunk) == 0
        assert chunk.first_sample - recorder.chunks[-2].stop_sample == 300
        assert recorder.link.statistics.n_lost == 300


def test_a_burst_is_no_loss(firmware):
    with Recorder(firmware) as recorder:
        for _ in range(10):
            recorder.read()
        firmware.is_held = True
        firmware.wait_for(firmware.number + 90)
        firmware.is_held = False
        late = [recorder.read() for _ in range(20)]
        assert all(chunk.gap is None and shift(chunk) == 0 for chunk in late)


def test_a_corrupt_counter_costs_one_frame_only(firmware):
    with Recorder(firmware) as recorder:
        for _ in range(60):
            recorder.read()
        firmware.corrupt_counter_at = firmware.number + 20
        chunk = recorder.read_until_gap()
        assert chunk.first_sample - recorder.chunks[-2].stop_sample == 1
        assert shift(chunk) == shift(recorder.read()) == 0
        assert recorder.link.statistics.n_rejected == 1


def test_after_a_replug_a_board_that_streams_goes_on_in_the_same_stream(firmware):
    with Recorder(firmware) as recorder:
        for _ in range(60):
            recorder.read()
        firmware.unplug()
        while "reconnecting" not in recorder.names:
            recorder.link.read(0.05)
        firmware.plug_in()
        chunk = recorder.read_until_gap()
        assert chunk.gap is GapReason.UNPLUGGED
        assert shift(chunk) == 0
        told = [name for name in recorder.names if name != "reconnecting"]
        assert told == ["connected", "disconnected", "connected", "packet_loss"]
        assert recorder.events[1][1]["reason"] == "unplugged"
        assert recorder.link.statistics.n_reconnects == 1


def test_after_a_replug_a_board_that_lost_power_is_started_anew(firmware):
    with Recorder(firmware) as recorder:
        for _ in range(60):
            recorder.read()
        firmware.unplug()
        firmware.power_cycle()
        was = firmware.number
        stopped_ns = time.monotonic_ns()
        firmware.plug_in()
        chunk = recorder.read_until_gap()
        assert chunk.gap is GapReason.RESTARTED
        assert numbers(chunk)[0] >= was
        away = (firmware.taken_ns(numbers(chunk)[0]) - stopped_ns) / PERIOD_NS
        missing = chunk.first_sample - recorder.chunks[-2].stop_sample
        assert away - 15 < missing <= (time.monotonic_ns() - stopped_ns) / PERIOD_NS + 15
        assert shift(recorder.read()) == shift(chunk)


def test_a_board_out_of_range_for_a_while_is_a_silence_counted_exactly(firmware, patience):
    patience(2.0)
    with Recorder(firmware) as recorder:
        for _ in range(60):
            recorder.read()
        firmware.is_out_of_range = True
        while "disconnected" not in recorder.names:
            recorder.link.read(0.05)
        firmware.is_out_of_range = False
        chunk = recorder.read_until_gap()
        assert chunk.gap in (GapReason.SILENT, GapReason.RESTARTED)
        if chunk.gap is GapReason.SILENT:
            assert shift(chunk) == 0
        assert recorder.events[1][1]["reason"] == "silent"


def test_a_board_that_fell_silent_is_started_again_where_it_is(firmware, patience):
    patience(2.0)
    with Recorder(firmware) as recorder:
        for _ in range(60):
            recorder.read()
        stopped_ns = time.monotonic_ns()
        firmware.power_cycle()
        chunk = recorder.read_until_gap()
        told = [name for name in recorder.names if name != "reconnecting"]
        assert told == ["connected", "disconnected", "connected", "packet_loss"]
        away = (firmware.taken_ns(numbers(chunk)[0]) - stopped_ns) / PERIOD_NS
        missing = chunk.first_sample - recorder.chunks[-2].stop_sample
        assert away - 30 < missing <= (time.monotonic_ns() - stopped_ns) / PERIOD_NS + 15


def test_a_slow_reader_loses_nothing(firmware):
    with Recorder(firmware) as recorder:
        recorder.read()
        firmware.wait_for(400)
        chunks = [recorder.read() for _ in range(45)]
        assert all(chunk.gap is None and shift(chunk) == 0 for chunk in chunks)


def test_stopping_gives_every_sample_that_was_sent_and_then_ends(firmware):
    recorder = Recorder(firmware)
    with recorder:
        recorder.read()
    while (chunk := recorder.link.read(0)) is not None:
        recorder.chunks.append(chunk)
    assert not firmware.is_streaming
    assert recorder.chunks[-1].stop_sample == firmware.number
    assert recorder.link.read(60) is None  # at once: there will be no more
    recorder.link.stop()
    recorder.link.close()
    with pytest.raises(RuntimeError, match="was stopped"):
        recorder.link.start()


def test_a_socket_is_as_good_as_a_port():
    with Firmware() as firmware, Recorder(firmware) as recorder:
        for _ in range(5):
            assert shift(recorder.read()) == 0


TAKE_OVER = """
import sys
from devices.link import Link
from tests.devices.scripted_board import ScriptedBoard
link = Link(sys.argv[1], ScriptedBoard())
link.open()
link.start()
while True:
    chunk = link.read(5)
    print(chunk.first_sample, chunk.n_times, chunk.time_ns, link.clock_offset_ns, flush=True)
"""


def killed_after(firmware: Firmware, n_chunks: int) -> tuple[Resume, int]:
    """Run a link in a process of its own, kill it -9, and return what it stored."""
    command = [sys.executable, "-c", TAKE_OVER, firmware.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(n_chunks):
            first, n_times, time_ns, offset = map(int, process.stdout.readline().split())
        process.kill()
    return Resume(first + n_times, first, time_ns), offset


def test_a_link_killed_with_kill_9_is_taken_over_and_the_gap_is_exact(firmware):
    resume, offset = killed_after(firmware, 30)
    firmware.wait_for(resume.next_sample + 401)  # more than a turn of the counter
    with Recorder(firmware, resume=resume, clock_offset_ns=offset) as recorder:
        chunk = recorder.read()
        assert chunk.gap is GapReason.NOT_LISTENING
        assert shift(chunk) == 0
        assert chunk.first_sample > resume.next_sample + 400
        assert recorder.link.clock_offset_ns == offset
        told = {"first_sample": resume.next_sample, "reason": "not_listening"}
        n_samples = chunk.first_sample - resume.next_sample
        assert recorder.events[-1] == ("packet_loss", {**told, "n_samples": n_samples})
        assert recorder.events[0][1]["streams"] is True
        for _ in range(20):
            assert shift(recorder.read()) == 0
    assert recorder.link.statistics.n_lost == n_samples


def test_a_board_found_silent_on_takeover_is_started_anew(firmware):
    resume, offset = killed_after(firmware, 30)
    firmware.power_cycle()
    with Recorder(firmware, resume=resume, clock_offset_ns=offset) as recorder:
        chunk = recorder.read()
        assert chunk.gap is GapReason.RESTARTED
        stored_ns = resume.last_time_ns - offset
        away = (firmware.taken_ns(numbers(chunk)[0]) - stored_ns) / PERIOD_NS
        since = chunk.first_sample - resume.last_first_sample
        assert away - 15 < since <= (time.monotonic_ns() - stored_ns) / PERIOD_NS + 15
        phase = recorder.link.counter_phase
        again = Resume(chunk.stop_sample, chunk.first_sample, chunk.time_ns, phase)
        recorder.link.close()
        with Recorder(firmware, resume=again, clock_offset_ns=offset) as heir:
            assert shift(heir.read()) == shift(chunk)


def test_closing_leaves_the_board_streaming(firmware):
    recorder = Recorder(firmware)
    recorder.link.open()
    recorder.link.start()
    recorder.read()
    recorder.link.close()
    assert firmware.is_streaming


def test_a_driver_that_fails_is_heard_of(firmware):
    class Failing(ScriptedBoard):
        def feed(self, data):
            raise ZeroDivisionError("a bug")

    failing = Link(firmware.url, Failing())
    failing.open()
    failing.start()
    with pytest.raises(ZeroDivisionError):
        failing.read(20)
    failing.close()


def test_a_missing_port_is_told_apart(tmp_path):
    with pytest.raises(PortMissingError, match="There is no port") as caught:
        Link(str(tmp_path / "nothing"), ScriptedBoard()).open()
    assert "list_ports" in caught.value.details["suggestion"]
    plain = tmp_path / "file"
    plain.touch()
    with pytest.raises(PortMissingError, match="is not a serial port"):
        Link(str(plain), ScriptedBoard()).open()
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    with pytest.raises(PortMissingError, match="refused"):
        Link(f"socket://127.0.0.1:{closed}", ScriptedBoard()).open()
    with pytest.raises(PortMissingError, match="cannot be opened"):
        Link("gopher://host:1", ScriptedBoard()).open()


def test_a_busy_port_names_its_user(firmware):
    with Recorder(firmware), pytest.raises(PortBusyError, match="this very process"):
        Link(firmware.url, ScriptedBoard()).open()


def test_a_forbidden_port_says_which_group_and_rule_would_help(firmware):
    error = not_opened(firmware.url, PermissionError(13, "Permission denied"))
    assert isinstance(error, PortForbiddenError)
    assert "usermod -aG" in error.details["suggestion"]
    assert "udev" in error.details["suggestion"]
    assert error.details["udev_rule"].startswith("SUBSYSTEM")


@pytest.mark.parametrize(
    ("greeting", "error"), [(b"", NoAnswerError), (b"Kettle$$$", WrongBoardError)]
)
def test_no_answer_and_a_wrong_board_are_told_apart(tmp_path, greeting, error):
    with Firmware(tmp_path / "board", greeting=greeting) as firmware:
        unlucky = Link(firmware.url, ScriptedBoard({"timeout": 5.0 if greeting else 0.2}))
        with pytest.raises(error) as caught:
            unlucky.open()
        assert caught.value.details["port"] == firmware.url
        with pytest.raises(error):  # the port was given back, so it can be tried again
            unlucky.open()


def test_a_link_needs_no_django():
    code = "import sys, devices.link; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
