"""The port of the virtual board: a pseudo-terminal behind a symbolic link that stays the same."""

from __future__ import annotations

import fcntl
import os
import select
import time
import tty
from contextlib import suppress
from pathlib import Path

from devices.errors import PortBusyError
from devices.virtual.listeners import Listeners

READ_BYTES = 65536
CLAIM_SECONDS = 5.0  # as long as a board may take to end that was just told to


class Claim:
    """The right to a link's name, held until `release` or the end of the process.

    Parameters
    ----------
    link : Path
        The link that this process wants to own.

    Raises
    ------
    PortBusyError
        If another virtual board owns it, or there is something that is not a link.
    """

    def __init__(self, link: Path) -> None:
        if link.exists() and not link.is_symlink():
            raise PortBusyError(
                f"{link} is not a symbolic link, and is left alone.",
                suggestion="Give --link a path where nothing is.",
            )
        self._path = link.with_name(link.name + ".lock")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + CLAIM_SECONDS
        while not self._try():
            if time.monotonic() > deadline:
                raise PortBusyError(
                    f"Another virtual board (process {self._path.read_text().strip()}) has {link}.",
                    suggestion="Stop it, or give --link another path.",
                )
            time.sleep(0.02)

    def _try(self) -> bool:
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino:
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):  # held, or removed while we waited
            self._file.close()
            return False
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True

    def release(self) -> None:
        """Give the name back."""
        self._path.unlink(missing_ok=True)
        self._file.close()


class PseudoTerminal:
    """A raw pseudo-terminal that behaves like a dongle's serial port.

    What is written while nobody has it open is lost; so is what does not fit because nobody reads.
    Nothing ever blocks.

    Parameters
    ----------
    link : Path
        Leads to the slave's end, and is replaced if it is there.

    Attributes
    ----------
    name : str
        The slave's node, such as ``/dev/pts/3``.
    plugged : bool
        There is a port.
    """

    def __init__(self, link: Path) -> None:
        self.link = link
        self.name = ""
        self.plugged = False

    def plug(self) -> None:
        """Make a port and let the link lead to it."""
        # Our own descriptor of the slave's end keeps the terminal raw when the last user closes it.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        os.set_blocking(self._slave, False)
        self.name = os.ttyname(self._slave)
        self._listeners = Listeners(self.name, own=self._slave)
        self._rest = b""
        fresh = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.name)
        fresh.replace(self.link)
        self.plugged = True

    def unplug(self) -> None:
        """Take the port away: whoever has it open is hung up on."""
        if self.plugged:
            self.plugged = False
            with suppress(FileNotFoundError):
                if os.readlink(self.link) == self.name:  # nobody has taken the name over
                    self.link.unlink()
            self._listeners.close()
            os.close(self._slave)
            os.close(self._master)

    @property
    def heard(self) -> bool:
        """Whether somebody has the port open."""
        return self.plugged and self._listeners.present

    @property
    def has_rest(self) -> bool:
        """Whether the port has taken a part of a frame and the rest waits for room."""
        return self.plugged and bool(self._rest)

    def fileno(self) -> int:
        """Return what becomes readable when the host has written something."""
        return self._master

    def listeners_fileno(self) -> int | None:
        """Return what becomes readable when somebody opens or closes the port."""
        return self._listeners.fileno()

    def update_listeners(self) -> None:
        """Notice who opens and closes the port; a newcomer finds it empty."""
        was_heard = self.heard
        opened = self._listeners.update()
        if (opened and not was_heard) or not self.heard:
            self._drain()

    def read(self) -> bytes:
        """Return what the host has written, maybe nothing."""
        try:
            return os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return b""

    def write(self, *messages: bytes, patience: float = 0.0) -> int:
        """Send messages, as many as fit.

        Parameters
        ----------
        *messages : bytes
            Frames or answers; none for the rest alone. None is ever cut: the rest of one that fits
            in part goes out first with the next call.
        patience : float
            Seconds to give the host for making room.

        Returns
        -------
        int
            How many of them were taken, from the first on.
        """
        data = self._rest + b"".join(messages)
        n_taken = self._write(data, time.monotonic() + patience)
        position = len(self._rest)
        self._rest = self._rest[n_taken:]
        for i, message in enumerate(messages):
            if position >= n_taken and message:
                return i
            position += len(message)
            if position > n_taken:
                self._rest = data[n_taken:position]
                return i + 1
        return len(messages)

    def _write(self, data: bytes, deadline: float) -> int:
        n_taken = 0
        while n_taken < len(data):
            try:
                n_taken += os.write(self._master, data[n_taken:])
            except BlockingIOError:
                seconds = deadline - time.monotonic()
                if seconds <= 0 or not select.select([], [self._master], [], seconds)[1]:
                    break
        return n_taken

    def _drain(self) -> None:
        """Throw away what nobody has read."""
        self._rest = b""
        with suppress(BlockingIOError):
            while os.read(self._slave, READ_BYTES):
                pass
