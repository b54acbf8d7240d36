"""What the supervisor has to know of a program, and how to ask whether it answers."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

READY_FD = "NEURASCALE_READY_FD"  # the file descriptor of `announce`
CONNECT_SECONDS = 0.2  # both ends are on this machine

Probe = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the lab.

    Parameters
    ----------
    name : str
        In front of its lines in the log.
    command : tuple of str
        Its command line.
    environment : mapping
        Beside the supervisor's own.
    probe : callable or None
        Makes a fresh probe for each start; the probe is called again and again until it returns
        True. None: the program says so itself, with `announce`.
    needs : tuple of str
        Programs that have to answer before this one is started for the first time.
    outlives_others : bool
        Stopped only when all others have ended.
    nice : int
        How much it gives way to others where processors are short, as `os.nice` takes it.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Callable[[], Probe] | None = None
    needs: tuple[str, ...] = ()
    outlives_others: bool = False
    nice: int = 0


def announce() -> None:
    """Tell the supervisor that this process can work now; does nothing where there is none."""
    fd = os.environ.pop(READY_FD, None)
    if fd is not None:
        os.write(int(fd), b"ready")
        os.close(int(fd))


class SocketProbe:
    """Ask a server something and see how its answer begins; never waits.

    Parameters
    ----------
    address : Path or tuple of (str, int)
        Unix socket, or host and port.
    request : bytes
        Sent once a connection.
    answer : bytes
        How the answer of a server that can work begins.
    """

    def __init__(self, address: Path | tuple[str, int], request: bytes, answer: bytes) -> None:
        self.address = address
        self.request = request
        self.answer = answer
        self.connection: socket.socket | None = None

    def __call__(self) -> bool:
        """Tell whether the server has answered."""
        try:
            if self.connection is None:
                self.connection = self._connect()
                self.connection.sendall(self.request)
            if not select.select([self.connection], [], [], 0)[0]:
                return False
            answered = self.connection.recv(64).startswith(self.answer)
        except OSError:  # not there yet, or gone again
            answered = False
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        return answered

    def _connect(self) -> socket.socket:
        if isinstance(self.address, Path):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(CONNECT_SECONDS)
            try:
                connection.connect(str(self.address))
            except OSError:
                connection.close()
                raise
            return connection
        return socket.create_connection(self.address, timeout=CONNECT_SECONDS)
