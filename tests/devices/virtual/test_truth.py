from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from devices.errors import InvalidBoardSettingsError
from devices.virtual.faults import Fault
from devices.virtual.truth import Sent, Truth, TruthLog


@pytest.fixture
def log_at() -> Iterator[Callable[[Path], TruthLog]]:
    """Open logs; all of them are closed with the test."""
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(closing(TruthLog(path)))


def frame(counter: int) -> bytes:
    counts = b"".join((-counter - i).to_bytes(3, "big", signed=True) for i in range(8))
    return bytes([0xA0, counter]) + counts + bytes([1, 2, 3, 4, 5, 6, 0xC1])


def sent(counter: int, epoch: int = 0, fault: int = 0, detail: int = 0) -> Sent:
    return Sent(1000 + counter, 50 + counter, epoch, frame(counter), fault, detail)


def test_what_is_stated_is_read_back(tmp_path, log_at):
    log = log_at(tmp_path / "truth")
    log.state([sent(0), sent(1, fault=int(Fault.DROPPED))], 2000)
    log.state([sent(2, fault=int(Fault.TRUNCATED), detail=9)], 3000)
    log.event(2500, "command", text="b")
    truth = Truth.read(tmp_path / "truth")
    assert truth.n_frames == 3
    assert truth.index.tolist() == truth.counter.tolist() == [0, 1, 2]
    assert truth.sample.tolist() == [50, 51, 52]
    assert truth.due_ns.tolist() == [1000, 1001, 1002]
    assert truth.sent_ns.tolist() == [2000, 2000, 3000]
    assert truth.counts[:, 2].tolist() == [-2, -3, -4, -5, -6, -7, -8, -9]
    assert truth.aux[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert truth.end.tolist() == [0xC1] * 3
    assert truth.lost.tolist() == [False, True, False]
    assert truth.whole.tolist() == [True, False, False]
    assert truth.arrived() == frame(0) + frame(2)[:9]
    assert truth.of("command") == [{"time_ns": 2500, "event": "command", "text": "b"}]


def test_the_fate_of_the_last_frames_can_be_corrected(tmp_path, log_at):
    log = log_at(tmp_path / "truth")
    frames = [sent(0), sent(1)]
    log.state([sent(9, epoch=0)], 1)
    log.state(frames, 2)
    frames[1].fault = int(Fault.OVERRUN)
    log.correct(frames, 2)
    log.state([sent(2)], 3)
    assert Truth.read(tmp_path / "truth").fault.tolist() == [0, 0, Fault.OVERRUN, 0]


def test_a_log_is_continued_with_the_next_epoch_and_without_a_torn_record(tmp_path, log_at):
    path = tmp_path / "truth"
    log = log_at(path)
    assert log.next_epoch == 0
    log.state([sent(0, epoch=4), sent(1, epoch=4)], 1)
    log.close()
    with path.open("ab") as file:
        file.write(b"torn")
    again = log_at(path)
    assert again.next_epoch == 5
    again.state([sent(0, epoch=5)], 2)
    truth = Truth.read(path)
    assert truth.epoch.tolist() == [4, 4, 5]
    assert truth.index.tolist() == [0, 1, 0]


def test_a_log_without_frames_is_read_too(tmp_path, log_at):
    log_at(tmp_path / "truth")
    truth = Truth.read(tmp_path / "truth")
    assert truth.n_frames == 0
    assert truth.arrived() == b""


def test_another_kind_of_file_is_left_alone(tmp_path, log_at):
    path = tmp_path / "thesis.txt"
    path.write_text("My thesis")
    with pytest.raises(InvalidBoardSettingsError, match="is not a truth log"):
        log_at(path)
    with pytest.raises(InvalidBoardSettingsError, match="is not a truth log"):
        Truth.read(path)
    assert path.read_text() == "My thesis"
