"""The machine we run on and its processes: which boot, which process, does it still live."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2), <linux/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@cache
def boot_id() -> str:
    """Return what tells this boot of the machine from every other, or "" where nothing does.

    The monotonic clock may be compared between processes of one boot only (random(4), Linux).
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """Return when a process began, in a form only to be compared, or None if there is none.

    A process id is used again after a while; together with this it is unique within a boot.
    """
    try:
        # Field 22 of proc(5); the second field may hold spaces and brackets, so count from its end.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _without_proc(pid)
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _without_proc(pid: int) -> str | None:
    """Return "" for a living process on systems without /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def wall_minus_monotonic_ns() -> int:
    """Return what added to the monotonic clock gives the wall clock's time now, in nanoseconds."""
    before = time.monotonic_ns()
    wall = time.time_ns()
    after = time.monotonic_ns()
    return wall - (before + after) // 2


def die_with_parent(parent: int, how: int = signal.SIGKILL) -> None:
    """Let the kernel end this process when the thread that started it ends; Linux only.

    What became of this process's own children is not inherited: they have to ask for themselves.

    Parameters
    ----------
    parent : int
        Process id of the parent. If it is gone already, this process ends here and now.
    how : int
        The signal to be ended with.
    """
    if _libc is None:
        return
    if _libc.prctl(PR_SET_PDEATHSIG, how, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os.kill(os.getpid(), how)
