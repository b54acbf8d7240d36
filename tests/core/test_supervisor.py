import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from neurascale.core.host import start_time
from neurascale.supervisor.log import MAX_WAITING, Lines, Log
from tests.waiting import wait_until

# A supervisor of its own process, as in life: it is sent signals, killed, and left by its parent.
SUPERVISE = """
import json, sys
from functools import partial
from pathlib import Path
from neurascale.core.errors import NeuraScaleError
from neurascale.supervisor.child import BackOff
from neurascale.supervisor.log import Log
from neurascale.supervisor.program import Program
from neurascale.supervisor.state import RunState
from neurascale.supervisor.supervisor import Supervisor

folder, programs, grace = Path(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])
log = Log(1, width=8, colour=False)
made = []
for given in programs:
    code, exists = given.pop("code"), given.pop("exists", None)
    probe = exists and partial(getattr, folder / exists, "exists")
    made.append(Program(command=(sys.executable, "-c", code), probe=probe, **given))
try:
    with RunState(folder) as state:
        for name, pid in state.end_leftovers().items():
            log.line("lab", f"left behind: {name} {pid}")
        with Supervisor(
            made, state=state, log=log, on_ready=partial(log.line, "lab", "all answer"),
            grace=grace, back_off=BackOff(steady=60),
        ) as supervisor:
            supervisor.run()
except NeuraScaleError as error:
    sys.exit(error.message)
"""
# A program that says who it is, announces itself and stays until it is told to end.
STAY = """
import os, signal
from neurascale.supervisor.program import announce
signal.signal(signal.SIGTERM, lambda *_: (print("ending", flush=True), os._exit(0)))
print("I am", os.getpid(), flush=True)
announce()
while True:
    signal.pause()
"""
QUIET = STAY.replace("\nannounce()", "")  # one that is asked whether it answers
DEAF = STAY.replace("os._exit(0)", "None")


class Lab:
    """A supervisor with its log, read as it comes."""

    def __init__(self, folder, *programs, grace=10.0, command=()):
        arguments = [str(folder), json.dumps(programs), str(grace)]
        self.process = subprocess.Popen(
            [*command, sys.executable, "-c", SUPERVISE, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, pattern, *, times=1):
        """Return the matches of a pattern in the log once there are so many."""

        def found():
            matches = [m for line in list(self.lines) if (m := re.search(pattern, line))]
            assert len(matches) >= times or self.reader.is_alive(), self.lines
            return matches if len(matches) >= times else None

        return wait_until(found, what=f"{times} × {pattern!r} in the log")

    def pid_of(self, name, *, life=1):
        """Return the pid that a `STAY` program said in its n-th life."""
        return int(self.wait_for(rf" {name} +│ I am (\d+)", times=life)[life - 1][1])

    def end(self, signum=signal.SIGTERM):
        """Send the supervisor a signal and return its exit code and its log."""
        self.process.send_signal(signum)
        code = self.process.wait(60)
        self.reader.join(60)
        return code, self.lines


@pytest.fixture
def lab(tmp_path):
    labs = []

    def start(*programs, **options):
        labs.append(Lab(tmp_path, *programs, **options))
        return labs[-1]

    yield start
    for started in labs:
        if started.process.poll() is None:
            started.process.terminate()
        started.process.wait(60)
        started.reader.join(60)
        started.process.stdout.close()


def is_gone(pid):
    return start_time(pid) is None


def test_lines_of_all_programs_are_merged_and_prefixed(lab):
    running = lab({"name": "one", "code": STAY}, {"name": "two", "code": STAY})
    running.wait_for("all answer")
    for name in ("one", "two"):
        (line,) = (m.string for m in running.wait_for(rf" {name} +│ I am"))
        assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\d {name:<8} │ I am \d+", line)


def test_a_program_gives_way_to_others_as_it_is_told(lab):
    running = lab({"name": "one", "code": STAY}, {"name": "two", "code": STAY, "nice": 7})
    running.wait_for("all answer")
    nice = [os.getpriority(os.PRIO_PROCESS, running.pid_of(name)) for name in ("one", "two")]
    assert nice[1] - nice[0] == 7


def test_a_program_that_was_killed_is_started_again(lab):
    running = lab({"name": "one", "code": STAY}, {"name": "two", "code": STAY})
    first = running.pid_of("one")
    os.kill(first, signal.SIGKILL)
    running.wait_for("one ended by SIGKILL; again in 0.1 s")
    assert running.pid_of("one", life=2) != first
    assert not is_gone(running.pid_of("two"))


def test_a_program_that_keeps_ending_is_started_less_and_less_often(lab):
    running = lab({"name": "one", "code": "raise SystemExit(3)"})
    pauses = running.wait_for(r"one ended with exit code 3; again in (\S+) s", times=4)
    assert [m[1] for m in pauses[:4]] == ["0.1", "0.2", "0.4", "0.8"]


def test_a_program_waits_for_what_it_needs_and_ready_is_said_once(lab, tmp_path):
    running = lab(
        {"name": "slow", "code": QUIET, "exists": "answers"},
        {"name": "next", "code": STAY, "needs": ["slow"]},
        {"name": "other", "code": STAY},
    )
    running.pid_of("slow")
    running.pid_of("other")
    assert not any(line.startswith("next") or "all answer" in line for line in running.lines), (
        running.lines
    )
    (tmp_path / "answers").touch()
    running.wait_for("all answer")
    os.kill(running.pid_of("next"), signal.SIGKILL)
    running.pid_of("next", life=2)
    assert len(running.wait_for("all answer")) == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_in_good_order(lab, tmp_path, signum):
    running = lab(
        {"name": "broker", "code": STAY, "outlives_others": True},
        {"name": "one", "code": STAY},
        {"name": "two", "code": STAY},
    )
    running.wait_for("all answer")
    pids = [running.pid_of(name) for name in ("broker", "one", "two")]
    code, lines = running.end(signum)
    assert code == 0
    ends = [line.split()[1] for line in lines if line.endswith("│ ending")]
    assert sorted(ends[:2]) == ["one", "two"]
    assert ends[2:] == ["broker"]
    assert all(map(is_gone, pids))
    assert not (tmp_path / "processes.json").exists()


def test_a_program_that_does_not_end_is_killed_when_its_time_is_up(lab):
    broker = {"name": "broker", "code": STAY, "outlives_others": True}
    running = lab(broker, {"name": "deaf", "code": DEAF}, grace=2)
    running.wait_for("all answer")
    deaf = running.pid_of("deaf")
    code, lines = running.end()
    assert code == 0
    assert any("deaf does not end; killing it" in line for line in lines)
    assert any("deaf     │ ending" in line for line in lines)  # it was asked first
    assert is_gone(deaf)
    # Who has to outlive the others has all of its own time.
    assert any("broker   │ ending" in line for line in lines)
    assert not any("broker does not end" in line for line in lines)


def test_asked_twice_to_stop_the_supervisor_does_not_wait(lab):
    running = lab({"name": "deaf", "code": DEAF}, grace=600)
    running.wait_for("all answer")
    running.process.terminate()
    running.wait_for("deaf +│ ending")
    assert running.end()[0] == 0


def test_everything_stops_in_good_order_when_the_parent_dies(lab):
    # sh does not replace itself by a command that is not its last.
    running = lab({"name": "one", "code": STAY}, command=["sh", "-c", '"$@"; exit $?', "sh"])
    running.wait_for("all answer")
    one = running.pid_of("one")
    os.kill(running.process.pid, signal.SIGKILL)
    running.wait_for("one +│ ending")
    wait_until(lambda: is_gone(one), what="the end of one")
    assert running.wait_for("stopping: the process that started the lab is gone")


def test_kill_9_of_the_supervisor_takes_the_children_along(lab):
    running = lab({"name": "one", "code": STAY}, {"name": "deaf", "code": DEAF})
    pids = [running.pid_of("one"), running.pid_of("deaf")]
    running.end(signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, pids)), what=f"the end of {pids}")


def test_what_a_dead_program_started_ends_with_it(lab):
    begets = "import subprocess, sys\nprint('child', subprocess.Popen(['sleep', '600']).pid)\n"
    running = lab({"name": "one", "code": begets + STAY})
    child = int(running.wait_for(r"child (\d+)")[0][1])
    os.kill(running.pid_of("one"), signal.SIGKILL)
    wait_until(lambda: is_gone(child), what="the end of the child")


def test_a_second_start_is_refused_with_the_pid_of_the_first(lab):
    running = lab({"name": "one", "code": STAY})
    one = running.pid_of("one")
    second = lab({"name": "one", "code": STAY})
    assert second.process.wait(60) == 1
    second.wait_for(rf"A lab already runs in .*: process {running.process.pid}\.")
    assert not is_gone(one)


@contextmanager
def left_behind(folder: Path, *, began: str | None = None):
    """A process in a group of its own, listed as one of a supervisor that is gone."""
    with subprocess.Popen(["sleep", "600"], process_group=0) as sleeper:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        listed = {"one": [sleeper.pid, began or start_time(sleeper.pid)]}
        (folder / "processes.json").write_text(json.dumps({"boot_id": boot, "processes": listed}))
        yield sleeper
        sleeper.kill()


def test_what_a_killed_supervisor_left_behind_is_ended_by_the_next(lab, tmp_path):
    with left_behind(tmp_path) as sleeper:
        running = lab({"name": "one", "code": STAY})
        running.wait_for(f"left behind: one {sleeper.pid}")
        assert sleeper.wait(60) == -signal.SIGKILL
        running.wait_for("all answer")


def test_a_process_that_only_got_the_number_of_a_dead_one_is_left_alone(lab, tmp_path):
    with left_behind(tmp_path, began="1") as sleeper:
        lab({"name": "one", "code": STAY}).wait_for("all answer")
        assert sleeper.poll() is None


def test_a_list_cut_off_by_a_crash_does_no_harm(lab, tmp_path):
    (tmp_path / "processes.json").write_text('{"boot_id": "')
    lab({"name": "one", "code": STAY}).wait_for("all answer")


def test_nobody_reading_the_log_holds_nobody_up(tmp_path):
    talks = "import sys\nfor n in range(5000):\n    print('x' * 1000)\nopen(sys.argv[0], 'w')"
    done = tmp_path / "done"
    programs = [{"name": "one", "code": talks.replace("sys.argv[0]", repr(str(done)))}]
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path), json.dumps(programs), "5"],
        stdout=subprocess.PIPE,
    ) as process:
        wait_until(done.exists, what="5 MB printed into a log that nobody reads")
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_lines_that_nobody_read_are_counted():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        log = Log(writer.fileno(), width=3, colour=False)
        while not log.n_dropped:
            log.line("one", "x" * 10_000)
        n_dropped = log.n_dropped
        taken = b""
        while log.is_waiting:
            taken += os.read(reader.fileno(), 2**20)
            log.write()
        log.line("one", "later")
        taken += os.read(reader.fileno(), 2**20)
    assert MAX_WAITING < len(taken) < 1.2 * MAX_WAITING
    assert f"{n_dropped} lines dropped".encode() in taken.splitlines()[-2]
    assert taken.endswith("one │ later\n".encode())


def test_lines_are_cut_at_their_ends_wherever_the_bytes_are_cut():
    data = "eins\r\nzwei\n\nµV ohne Ende".encode()
    for cut in range(len(data)):
        lines = Lines()
        got = lines.feed(data[:cut]) + lines.feed(data[cut:]) + lines.end()
        assert got == ["eins", "zwei", "", "µV ohne Ende"]
