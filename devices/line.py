"""An open port that raises our errors and can be woken while it waits.

Rule of this file: it is handed an open port and opens none. What pyserial and the operating
system raise is translated here and nowhere else. No Django.
"""

from __future__ import annotations

import errno
import grp
import os
import select
import time

import serial

from devices.errors import NoAnswerError, PortBusyError, PortForbiddenError, PortMissingError
from devices.ports import ACCESS_RULE, RULES_FILE, holder_of
from neurascale.core.errors import HardwareError

READ_BYTES = 65536
BACKLOG_BYTES = 4096
"""So much at once means that nobody read for a while, and that more is about to come."""

BACKLOG_WAIT_MS = 2
PAUSE_NS = 300_000_000
GATHER_NS = 40_000_000

POLL_SECONDS = 0.05
"""Only for pyserial URLs without a file descriptor, such as rfc2217://."""


class Line:
    """Bytes to and from a board.

    Parameters
    ----------
    port : serial.SerialBase
        Open, and to be closed with `close`.
    url : str
        What it was opened by.
    wake_r : int
        Reading end of a pipe; a byte in it ends all waiting.
    """

    def __init__(self, port: serial.SerialBase, *, url: str, wake_r: int) -> None:
        self.url = url
        self.is_woken = False
        self.arrival_ns = 0
        self._serial = port
        self._wake_r = wake_r
        try:
            self._fd: int | None = port.fileno()
        except (AttributeError, OSError):
            self._fd = None
            port.timeout = POLL_SECONDS
        self._ready = select.poll()
        self._ready.register(wake_r, select.POLLIN)
        self._more = select.poll()
        if self._fd is not None:
            self._ready.register(self._fd, select.POLLIN)
            self._more.register(self._fd, select.POLLIN)

    def read(self, timeout: float, *, gathers: bool = False) -> bytes:
        """Wait for bytes and return all there are.

        Parameters
        ----------
        timeout : float
            Seconds to wait for the first.
        gathers : bool
            After a pause of 0.3 s go on for another 40 ms: what comes then may be late or may
            follow a loss, and a little more of it tells.

        Returns
        -------
        bytes
            Empty when the time has passed, or when woken. The last came at ``arrival_ns``.

        Raises
        ------
        PortMissingError
            If the port went away.
        """
        try:
            if self._fd is None:
                return self._read_url()
            return self._read_file(self._fd, timeout, gathers)
        except (OSError, TypeError) as error:  # pyserial raises the latter when a port vanishes
            raise self._gone(error) from error

    def write(self, data: bytes) -> None:
        """Send bytes to the board.

        Raises
        ------
        NoAnswerError
            If the port takes no bytes.
        PortMissingError
            If the port went away.
        """
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise NoAnswerError(f"{self.url} takes no bytes.", port=self.url) from error
        except OSError as error:
            raise self._gone(error) from error

    def flush(self) -> None:
        """Forget what arrived and was not read.

        Raises
        ------
        PortMissingError
            If the port went away.
        """
        try:
            self._serial.reset_input_buffer()
        except OSError as error:
            raise self._gone(error) from error

    def ask(self, command: bytes, until: bytes, timeout: float) -> bytes:
        """Send a command and return what comes back: until it ends so, or ``timeout`` s passed.

        Raises
        ------
        NoAnswerError
            If the port takes no bytes, or somebody woke the line: there is no time to talk.
        PortMissingError
            If the port went away.
        """
        if command:
            self.write(command)
        answer = b""
        deadline = time.monotonic() + timeout
        while until and not answer.endswith(until):
            patience = deadline - time.monotonic()
            if patience <= 0:
                break
            answer += self.read(patience)
            if self.is_woken:
                raise NoAnswerError(f"The link to {self.url} is being stopped.", port=self.url)
        return answer

    def close(self) -> None:
        """Give the port back."""
        try:
            self._serial.close()
        except OSError:
            return  # it is gone already

    def _read_url(self) -> bytes:
        self.is_woken = bool(self._ready.poll(0))
        data = bytes(self._serial.read(1) + self._serial.read(self._serial.in_waiting))
        self.arrival_ns = time.monotonic_ns()
        return data

    def _read_file(self, fd: int, timeout: float, gathers: bool) -> bytes:
        events = [ready for ready, _ in self._ready.poll(timeout * 1000)]
        self.is_woken = self._wake_r in events
        if fd not in events:
            return b""
        data = os.read(fd, READ_BYTES)
        before_ns, self.arrival_ns = self.arrival_ns, time.monotonic_ns()
        if not data:
            raise OSError(errno.EIO, "hung up")
        is_pause = gathers and self.arrival_ns - before_ns > PAUSE_NS
        until_ns = self.arrival_ns + (GATHER_NS if is_pause else 0)
        # Frames that waited together are placed by the last of them: see CounterUnwrapper.
        while self._more.poll(self._patience_ms(len(data), until_ns)):
            try:
                more = os.read(fd, READ_BYTES)
            except OSError:
                break  # what was read first; the next call meets the same error
            if not more:
                break
            self.arrival_ns = time.monotonic_ns()
            data += more
        return data

    @staticmethod
    def _patience_ms(n_bytes: int, until_ns: int) -> float:
        left_ms = (until_ns - time.monotonic_ns()) * 1e-6
        return max(left_ms, 0 if n_bytes < BACKLOG_BYTES else BACKLOG_WAIT_MS)

    def _gone(self, error: Exception) -> PortMissingError:
        return PortMissingError(
            f"{self.url} went away: {error}. Is the cable or the dongle unplugged?", port=self.url
        )


def not_opened(url: str, error: Exception) -> HardwareError:
    """Return what to raise when a port did not open, and what to do about it."""
    cause = error.__context__
    number = getattr(error, "errno", None) or getattr(cause, "errno", None)
    if number is None and cause is not None and cause.args and isinstance(cause.args[0], int):
        number = cause.args[0]  # termios.error has no errno attribute
    if number in (errno.EACCES, errno.EPERM):
        return _forbidden(url)
    if number in (errno.EBUSY, errno.EAGAIN):
        holder = holder_of(url) or "another program"
        return PortBusyError(
            f"{url} is in use by {holder}.",
            port=url,
            held_by=holder,
            suggestion="Close that program, or stop the stream that uses this port.",
        )
    if "://" in url:
        found = f"{url} cannot be opened: {error}."
        suggestion = "Check the address, and that the other side is switched on and listening."
    elif number == errno.ENOTTY or os.path.isfile(url) or os.path.isdir(url):
        found = f"{url} is not a serial port."
        suggestion = "`manage.py list_ports` shows the serial ports of this machine."
    elif os.path.exists(url):
        found = f"{url} exists but nothing is behind it: {error}."
        suggestion = "Plug the dongle in again."
    else:
        found = f"There is no port {url}."
        suggestion = (
            "Plug the dongle in; `manage.py list_ports` shows the serial ports of this machine."
        )
    return PortMissingError(found, port=url, suggestion=suggestion)


def _forbidden(url: str) -> PortForbiddenError:
    try:
        group = grp.getgrgid(os.stat(url).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    return PortForbiddenError(
        f"The operating system does not let this user open {url}, which belongs to group {group}.",
        port=url,
        suggestion=(
            f"Join the group (`sudo usermod -aG {group} $USER`, then log in again), or put this "
            f"line into {RULES_FILE} and plug the dongle in again: {ACCESS_RULE}"
        ),
        udev_rule=ACCESS_RULE,
    )
