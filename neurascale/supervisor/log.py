"""The lab's one log: the lines of all programs, each with its time and the name of its program."""

from __future__ import annotations

import os
import select
import time
from collections import deque

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # ECMA-48 (SGR) foregrounds
MAX_LINE = 16 * 1024
MAX_WAITING = 2**20
PIECE = 2048  # a pipe that select calls writable takes PIPE_BUF (4096) bytes without blocking


class Log:
    """Write lines to a file descriptor that may be slow, without ever waiting for it.

    A terminal whose output somebody holds (Ctrl-S) must not hold the lab: lines wait, and when
    too many do, new ones are dropped and counted.

    Parameters
    ----------
    fd : int
        Where lines go.
    width : int
        Columns for the program's name.
    colour : bool
        Give each program a colour of its own.
    """

    def __init__(self, fd: int, *, width: int, colour: bool) -> None:
        self.fd = fd
        self.width = width
        self.colour = colour
        self.n_dropped = 0
        self._colours: dict[str, int] = {}
        self._waiting: deque[bytes] = deque()
        self._n_waiting = 0

    @property
    def is_waiting(self) -> bool:
        """Whether there is something left to write."""
        return bool(self._waiting)

    def line(self, name: str, text: str) -> None:
        """Add one line and write what can be written now."""
        if self.n_dropped and self._n_waiting < MAX_WAITING // 2:
            n_dropped, self.n_dropped = self.n_dropped, 0
            self._add("lab", f"{n_dropped} lines dropped: nobody read them")
        self._add(name, text)
        self.write()

    def write(self, *, seconds: float = 0) -> None:
        """Write what waits, for as long as the reader takes it; wait ``seconds`` for the reader."""
        while self._waiting:
            try:
                if not select.select([], [self.fd], [], seconds)[1]:
                    return
                piece = self._waiting[0]
                n_written = os.write(self.fd, piece[:PIECE])
            except OSError:  # nobody can read it any more; the lab goes on without
                self._waiting.clear()
                self._n_waiting = 0
                return
            self._n_waiting -= n_written
            if n_written == len(piece):
                self._waiting.popleft()
            else:
                self._waiting[0] = piece[n_written:]

    def _add(self, name: str, text: str) -> None:
        if self._n_waiting > MAX_WAITING:
            self.n_dropped += 1
            return
        line = (self._prefix(name) + text + "\n").encode(errors="replace")
        self._waiting.append(line)
        self._n_waiting += len(line)

    def _prefix(self, name: str) -> str:
        now = time.time()
        clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03d}"
        prefix = f"{clock} {name:<{self.width}} │ "
        if not self.colour:
            return prefix
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{prefix}\x1b[0m"


class Lines:
    """Cut the bytes a program writes into lines of text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are now whole; a very long one is cut."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in whole]

    def end(self) -> list[str]:
        """Return the unfinished last line, if there is one."""
        return self.feed(b"\n") if self._rest else []
