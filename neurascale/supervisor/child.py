"""One program's process: started, heard, asked whether it answers, started again, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial

from neurascale.core.host import die_with_parent
from neurascale.supervisor.program import READY_FD, Probe, Program


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before a program that ended is started again.

    Parameters
    ----------
    first, longest : float
        Seconds; the pause doubles from one to the other.
    steady : float
        A program that ran for this many seconds begins with ``first`` again.
    """

    first: float = 0.1
    longest: float = 10.0
    steady: float = 5.0


class Child:
    """A program and the process that runs it now, if any.

    Parameters
    ----------
    program : Program
        What to run.
    back_off : BackOff
        When to run it again.
    """

    def __init__(self, program: Program, back_off: BackOff) -> None:
        self.program = program
        self.back_off = back_off
        self.process: subprocess.Popen[bytes] | None = None
        self.is_ready = False
        self.pause = 0.0  # seconds from its last end to its next start
        self.due_at: float | None = None  # that start, on the monotonic clock
        self._probe: Probe | None = None
        self._began = 0.0
        self._n_short_lives = 0

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def start(self) -> tuple[int, int]:
        """Start the process.

        Returns
        -------
        tuple of (int, int)
            File descriptors to read: what it prints, and what it announces.
        """
        self.is_ready = False
        self.due_at = None
        self._probe = self.program.probe and self.program.probe()
        self._began = time.monotonic()
        printed, output = os.pipe()
        announced, announce = os.pipe()
        try:
            self.process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | self.program.environment | {READY_FD: str(announce)},
                pass_fds=[announce],
                process_group=0,  # a terminal's Ctrl-C is for the supervisor alone
                # There is one thread here, so nothing can be locked between fork and exec.
                preexec_fn=partial(self._settle, os.getpid()),  # noqa: PLW1509
            )
        except OSError:
            os.close(printed)
            os.close(announced)
            raise
        finally:
            os.close(output)
            os.close(announce)
        return printed, announced

    def _settle(self, supervisor: int) -> None:
        """Do what a process does before it becomes the program."""
        die_with_parent(supervisor)
        os.nice(self.program.nice)

    def ask(self) -> bool:
        """Tell whether the program answers for the first time since it was started."""
        if self.is_ready or self.process is None or self._probe is None or not self._probe():
            return False
        self.is_ready = True
        return True

    def signal(self, signum: int) -> None:
        """Send a signal to the process itself: prefork workers tell their children."""
        if self.process is not None:
            os.kill(self.process.pid, signum)  # Popen's own method would reap it behind our back

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def reap(self) -> str | None:
        """Tell how the process ended, if it did, and note when it is due again."""
        if self.process is None:
            return None
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        self.kill()  # what it left behind; not yet waited for, so its number is still its own
        code = self.process.wait()
        self.process = None
        self.is_ready = False
        now = time.monotonic()
        if now - self._began >= self.back_off.steady:
            self._n_short_lives = 0
        self.pause = min(self.back_off.first * 2**self._n_short_lives, self.back_off.longest)
        self._n_short_lives = min(self._n_short_lives + 1, 16)
        self.due_at = now + self.pause
        return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
