"""Which lab runs in a data folder: one at a time, and what a killed one left behind is ended."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from neurascale.core.errors import ConflictError
from neurascale.core.host import boot_id, start_time

END_SECONDS = 5.0


class LabRunningError(ConflictError):
    """Another supervisor already runs a lab in this data folder."""


class LeftoverError(ConflictError):
    """A process of a supervisor that is gone cannot be ended."""


class RunState:
    """The lock of a data folder, and the list of the processes that were started in it.

    Parameters
    ----------
    directory : Path
        Folder for both files; must exist.
    """

    def __init__(self, directory: Path) -> None:
        self.lock_path = directory / "supervisor.lock"
        self.list_path = directory / "processes.json"
        self._lock: int | None = None

    def __enter__(self) -> RunState:
        """Take the lock.

        Raises
        ------
        LabRunningError
            If another supervisor has it.
        """
        # Closed when the process ends, however it ends; children do not inherit it (PEP 446).
        lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 32).decode() or "unknown"
            os.close(lock)
            raise LabRunningError(
                f"A lab already runs in {self.lock_path.parent.parent}: process {pid}. "
                f"Stop it with `kill {pid}`, or set NEURASCALE_HOME to another folder.",
                pid=pid,
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.list_path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def record(self, pids: Mapping[str, int]) -> None:
        """Write down which processes there are now, by program."""
        listed = {
            "boot_id": boot_id(),
            "processes": {name: [pid, start_time(pid)] for name, pid in pids.items()},
        }
        fresh = self.list_path.with_suffix(".new")
        fresh.write_text(json.dumps(listed), encoding="utf-8")
        fresh.replace(self.list_path)

    def end_leftovers(self) -> dict[str, int]:
        """End what a supervisor that was killed left behind; return pids by program.

        Raises
        ------
        LeftoverError
            If one of them cannot be ended.
        """
        leftovers = self._leftovers()
        for pid in leftovers.values():
            try:
                os.killpg(pid, signal.SIGKILL)  # each program leads a process group
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + END_SECONDS
        while stubborn := [f"{n} ({p})" for n, p in leftovers.items() if start_time(p) is not None]:
            if time.monotonic() > deadline:
                raise LeftoverError(
                    f"Left behind by a lab that was killed, and not to be ended: "
                    f"{', '.join(stubborn)}. End them by hand, then start again."
                )
            time.sleep(0.01)
        self.list_path.unlink(missing_ok=True)
        return leftovers

    def _leftovers(self) -> dict[str, int]:
        try:
            listed = json.loads(self.list_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        if listed["boot_id"] != boot_id():
            return {}
        return {
            name: pid
            for name, (pid, began) in listed["processes"].items()
            if began is not None and start_time(pid) == began
        }
