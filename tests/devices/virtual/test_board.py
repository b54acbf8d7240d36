"""The whole board as a process, over a real pseudo-terminal and pyserial."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import serial

from devices.virtual import Recording
from devices.virtual.faults import Fault
from devices.virtual.signal import Subject
from tests.machine import S001R04

from .conftest import PATIENCE, Running, counts_of, parse

UNITS_PER_UV = 24 * (2**23 - 1) / 4.5e6


def test_a_conversation_from_banner_to_stream_and_back(board):
    one = board()
    assert one.ready.startswith(f"Virtual Cyton at {one.link} (/dev/pts/")
    one.open()
    assert one.ask(b"v").startswith("OpenBCI V3 8-16 channel\n")
    assert one.ask(b"x1030110X") == "Success: Channel set for 1$$$"
    one.port.write(b"b")
    frames = parse(one.read_frames(300))
    assert frames[:, 1].tolist() == [i % 256 for i in range(300)]
    assert set(frames[:, 32].tolist()) == {0xC0}
    one.read_rest()
    assert one.ask(b"V") == "v3.1.5$$$"


def test_the_truth_is_what_was_read(board):
    one = board("--faults", "drop=0.05,corrupt=0.05,truncate=0.05,burst=5:0.1", "--seed", "7")
    one.open()
    one.port.write(b"b")
    data = one.port.read(33 * 600)
    data += one.read_rest()
    truth = one.truth
    assert truth.arrived() == data
    assert truth.n_frames > 600
    assert truth.index.tolist() == list(range(truth.n_frames))
    assert (truth.counter == truth.index % 256).all()
    kinds = {Fault(int(fault)) & ~Fault.HELD for fault in truth.fault}
    assert kinds >= {Fault.NONE, Fault.DROPPED, Fault.CORRUPTED, Fault.TRUNCATED}
    assert (truth.sent_ns >= truth.due_ns).all()


def test_counts_are_the_subject_s_microvolts(board):
    one = board("--seed", "3", "--mains", "60", "--script", "0.4 eyes closed; 1 imagine left")
    one.open()
    one.port.write(b"b")
    counts = counts_of(parse(one.read_frames(500)))
    subject = Subject(seed=3, mains=60)
    subject.command("eyes closed", 100)
    subject.command("imagine left", 250)
    assert np.abs(counts - subject.read(0, 500) * UNITS_PER_UV).max() <= 0.51


def test_two_boards_with_one_seed_send_the_same(board, tmp_path):
    streams = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        one = board("--seed", "5", "--faults", "drop=0.1,corrupt=0.1", folder=tmp_path / name)
        one.open()
        one.port.write(b"]")
        one.port.read_until(b"$$$")
        one.port.write(b"b")
        streams.append(one.port.read(33 * 200))
    assert streams[0] == streams[1]


def test_the_gain_of_a_running_stream_changes_its_counts(board):
    one = board()
    one.open()
    one.port.write(b"b")
    before = counts_of(parse(one.read_frames(30)))
    one.port.write(b"x1000110X")  # gain 1, and the counter starts again
    one.wait_for_event("stream_started", epoch=1, again=True)
    one.wait_for(lambda: (one.truth.epoch == 1).sum() >= 30)
    one.read_rest()
    after = one.truth.counts[:, one.truth.epoch == 1]
    assert np.median(after[0]) == pytest.approx(np.median(before[0]) / 24, rel=0.01)
    assert np.median(after[1]) == pytest.approx(np.median(before[1]), rel=0.01)
    sample = one.truth.sample
    assert (np.diff(sample) == 1).all()  # the subject's time went on


def test_a_replayed_recording_is_received_within_one_count(board):
    names = ["C3", "Cz", "C4", "FC3", "FC4", "CP3", "CP4", "Pz"]
    one = board(
        *("--replay", str(S001R04), "--replay-channels", ",".join(names)),
        *("--replay-end", "stop", "--speed", "20"),
    )
    one.open()
    one.ask(b"/4")
    one.port.write(b"b")
    expected = Recording(S001R04, ch_names=names).expected_counts()
    frames = parse(one.read_frames(expected.shape[1]))
    assert np.abs(counts_of(frames) - expected).max() <= 1
    marks = [(i, chr(frames[i, 27])) for i in np.flatnonzero(frames[:, 27])]
    told = [(e["index"], chr(e["value"])) for e in one.truth.of("annotation")]
    assert marks == told
    assert marks[:3] == [(0, "0"), (1050, "2"), (2075, "0")]
    assert len(marks) == 30
    assert one.wait_for_event("stream_stopped")["epoch"] == 0


def test_every_start_replays_from_the_first_sample(board):
    one = board("--replay", str(S001R04), "--replay-channels", "C3")
    one.open()
    streams = []
    for _ in range(2):
        one.port.write(b"b")
        streams.append(counts_of(parse(one.read_frames(50))))
        one.read_rest()
    assert (streams[0] == streams[1]).all()


def test_a_daisy_replays_means_of_two_samples(board):
    one = board("--daisy", "--replay", str(S001R04), "--speed", "4")
    one.open()
    assert "On Daisy ADS1299 Device ID: 0x3E" in one.ask(b"v")
    one.port.write(b"b")
    frames = parse(one.read_frames(401))
    expected = Recording(S001R04, n_channels=16).expected_counts()
    pairs = (expected[:, :-1] + expected[:, 1:]) / 2
    odd = frames[:, 1] % 2 == 1
    assert np.abs(counts_of(frames[odd]) - pairs[:8, 0:400:2]).max() <= 1
    assert np.abs(counts_of(frames[~odd][1:]) - pairs[8:, 1:400:2]).max() <= 1


def test_frames_have_their_place_on_a_steady_clock(board):
    one = board("--faults", "drift=200", "--speed", "2")
    one.open()
    one.port.write(b"b")
    one.read_frames(500)
    truth = one.truth
    period = 1e9 / (250 * 2 * (1 + 200e-6))
    assert np.abs(truth.due_ns - truth.due_ns[0] - truth.index * period).max() < 1000
    early = truth.sent_ns - truth.due_ns
    assert early.min() >= 0


def test_time_stamps_follow_the_board_s_own_clock(board):
    one = board("--faults", "crystal=100000", "--speed", "2")
    one.open()
    assert one.ask(b"<") == ",Time stamp ON$$$"
    one.port.write(b"b")
    frames = parse(one.read_frames(400))
    assert frames[:, 32].tolist() == [0xC3] + [0xC4] * 399
    millis = np.array([int.from_bytes(frame[28:32], "big") for frame in frames])
    steps = millis - millis[0] - np.arange(400) * 4 * 1.1
    assert np.abs(steps).max() <= 1


def test_bursts_come_in_one_piece(board):
    one = board("--faults", "burst=10:1")
    one.open()
    one.port.write(b"b")
    one.read_frames(100)
    sent = one.truth.sent_ns[:100].reshape(10, 10)
    assert (sent == sent[:, :1]).all()
    assert (np.diff(sent[:, 0]) > 0).all()


def test_silence_loses_frames_and_the_counter_goes_on(board):
    one = board("--faults", "silence=0.2+0.4", "--speed", "2")
    one.open()
    one.port.write(b"b")
    frames = parse(one.read_frames(150))
    assert frames[:, 1].tolist() == [i % 256 for i in [*range(50), *range(150, 250)]]
    silent = np.flatnonzero(one.truth.fault & Fault.SILENT)
    assert silent.tolist() == list(range(50, 150))


def test_while_the_board_is_silent_the_dongle_answers(board):
    one = board()
    one.open()
    one.port.write(b"b")
    one.read_frames(10)
    one.tell("silence=now+1000")
    one.wait_for_event("fault", begins=True)
    one.port.reset_input_buffer()
    assert one.ask(b"v") == "Failure: Communications timeout - Device failed to poll Host$$$"
    assert one.ask(b"\xf0\x07") == "Failure: System is Down$$$"
    one.tell("none")
    one.wait_for_event("fault", begins=False)
    assert one.read_rest()


def test_unplugging_hangs_up_and_the_stream_goes_on_behind_the_same_link(board):
    one = board("--speed", "4")
    port = one.open()
    port.write(b"b")
    one.read_frames(20)
    one.tell("unplug=now+0.5")
    with pytest.raises(serial.SerialException):
        port.read(10_000_000)  # more than ever comes
    port.close()
    one.wait_for_event("fault", text="unplug", begins=False)
    one.wait_for(one.link.is_symlink)
    one.open()
    data = one.read_frames(20)
    truth = one.truth
    unplugged = np.flatnonzero(truth.fault & Fault.UNPLUGGED)
    assert unplugged.size == 125
    assert (np.diff(unplugged) == 1).all()
    assert truth.arrived().endswith(data) or data in truth.arrived()
    assert truth.epoch.max() == 0


def test_a_brown_out_ends_the_stream_and_the_next_one_counts_from_0(board):
    one = board("--faults", "reset=0.4", "--speed", "2")
    one.open()
    one.ask(b"x1000110X")
    one.port.write(b"b")
    data = one.port.read_until(b"$$$")
    assert data.endswith(b"Firmware: v3.1.2\n$$$")
    assert parse(data[: 33 * 100])[:, 1].tolist() == list(range(100))
    assert data[33 * 100 :].startswith(b"OpenBCI V3")
    assert one.ask(b"~~") == "Success: Sample rate is 250Hz$$$"
    one.port.write(b"b")
    assert parse(one.read_frames(5))[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert one.truth.epoch.max() == 1


def test_a_board_that_is_off_and_on_again_says_its_banner(board):
    one = board("--faults", "off=0.2+0.2")
    one.open()
    one.port.write(b"b")
    data = one.port.read_until(b"$$$")
    assert len(data) == 33 * 50 + len(data[33 * 50 :])
    assert data[33 * 50 :].startswith(b"OpenBCI V3")


def test_frames_that_nobody_listens_to_are_lost_like_on_a_real_port(board):
    one = board("--speed", "4")
    one.open()
    one.port.write(b"b")
    one.read_frames(10)
    one.port.close()
    one.wait_for_event("listener", present=False)
    one.wait_for_fault(Fault.UNHEARD)
    n_before = one.truth.n_frames
    one.open()
    first = parse(one.read_frames(1))
    truth = one.truth
    index = np.flatnonzero((truth.frames == first[0]).all(axis=1))
    assert index[-1] >= n_before - 1


def test_a_reader_that_does_not_read_costs_whole_frames_only(board):
    one = board("--speed", "50")
    one.open()
    one.port.write(b"b")
    one.wait_for_fault(Fault.OVERRUN)
    one.port.write(b"s")
    one.wait_for_event("stream_stopped")
    arrived = one.truth.arrived()
    assert one.port.read(len(arrived)) == arrived
    assert len(arrived) % 33 == 0


def test_the_subject_listens_to_the_standard_input(board):
    one = board("--speed", "4")
    one.open()
    one.port.write(b"b")
    one.read_frames(10)
    one.tell("electrode 1 off")
    heard = one.wait_for_event("subject", text="electrode 1 off")
    one.wait_for(lambda: one.truth.sample[-1] > heard["sample"] + 500)
    one.read_rest()
    truth = one.truth
    assert np.abs(truth.counts[0, truth.sample < heard["sample"]]).max() < 2**23 - 1
    assert truth.counts[0, -1] in {2**23 - 1, -(2**23)}


def test_nonsense_on_the_standard_input_is_answered_and_survived(board, tmp_path):
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        one = Running(
            tmp_path,
            command=("sh", "-c", f'exec {sys.executable} -m devices.virtual "$@" 2>{errors}', "sh"),
        )
        one.tell("sing a song")
        one.wait_for(lambda: "nothing the subject understands" in errors.read_text())
        one.tell("flood=1")
        one.wait_for(lambda: "not a fault" in errors.read_text())
        one.open()
        assert one.ask(b"V") == "v3.1.5$$$"
        assert one.end() == 0
        assert file.tell() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_board_and_nothing_is_left_behind(board, tmp_path, number):
    one = board()
    one.open()
    one.port.write(b"b")
    one.read_frames(5)
    one.process.send_signal(number)
    assert one.process.wait(PATIENCE) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["truth", "truth.events"]


def test_a_board_that_was_killed_leaves_the_truth_and_the_next_one_takes_over(board):
    one = board()
    one.open()
    one.port.write(b"b")
    data = one.read_frames(50)
    one.process.kill()
    one.process.wait(PATIENCE)
    one.port.close()
    assert one.truth.arrived().startswith(data)
    two = board()
    two.open()
    two.port.write(b"b")
    again = two.read_frames(10)
    assert two.truth.epoch.max() == 1
    assert two.truth.arrived(epoch=1).startswith(again)


PARENT = """
import subprocess, sys
board = subprocess.Popen([sys.executable, "-m", "devices.virtual", *sys.argv[1:]],
                         stdin=subprocess.DEVNULL)
print(board.pid, flush=True)
board.wait()
"""


def test_a_board_ends_with_its_parent(tmp_path):
    link = tmp_path / "cyton"
    options = ["--link", str(link), "--with-parent"]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *options], stdout=subprocess.PIPE
    ) as parent:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline().startswith(b"Virtual Cyton")  # the board's, inherited
        board_ended = os.pidfd_open(pid)
        parent.kill()
        assert wait_readable(board_ended)
        os.close(board_ended)
    assert list(tmp_path.iterdir()) == []


def test_a_board_whose_parent_is_gone_already_does_not_begin(board, tmp_path):
    link = tmp_path / "cyton"
    command = [sys.executable, "-m", "devices.virtual", "--link", str(link), "--with-parent", "1"]
    if os.getpid() == 1:
        pytest.skip("this test runs as the first process")
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0
    assert not link.is_symlink()


def wait_readable(pidfd: int) -> bool:
    """Wait until the process behind the descriptor has ended."""
    return bool(select.select([pidfd], [], [], PATIENCE)[0])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--faults", "flood=1"], "'flood=1' is not a fault"),
        (["--replay", "nothing.edf"], "nothing.edf cannot be replayed"),
        (["--script", "eyes closed"], "does not begin with a second"),
        (["--script", "1 eyes shut"], "nothing the subject understands"),
        (["--speed", "0"], "not more than 0"),
    ],
)
def test_options_that_cannot_be_followed_are_explained(tmp_path, options, complaint):
    command = [sys.executable, "-m", "devices.virtual", "--link", str(tmp_path / "c"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_board_is_a_command_of_the_project(board):
    manage = Path(__file__).resolve().parents[3] / "manage.py"
    one = board("--seed", "2", command=(sys.executable, str(manage), "virtual_board"))
    one.open()
    assert one.ask(b"V") == "v3.1.5$$$"


def test_help_explains_the_faults():
    command = [sys.executable, "-m", "devices.virtual", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for word in ("drop=P", "unplug=X+Y", "eyes closed", "--replay-channels"):
        assert word in text
