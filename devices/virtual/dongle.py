"""The USB dongle's own firmware: what it answers by itself, board or no board.

It follows OpenBCI's Radios library: messages of two or three bytes that begin with 0xF0 are for the
dongle, everything else goes over the radio. When the board cannot be reached, the dongle says so.
"""

from __future__ import annotations

PRIVATE = 0xF0
CHANNEL_GET = 0x00
CHANNEL_SET = 0x01
CHANNEL_OVERRIDE = 0x02
POLL_TIME_GET = 0x03
SYSTEM_UP = 0x07

MAX_CHANNEL = 25
POLL_TIME_MS = 80

TIMEOUT = b"Failure: Communications timeout - Device failed to poll Host$$$"


class Dongle:
    """A dongle that is paired with the board on one radio channel."""

    def __init__(self, channel: int = 20) -> None:
        self.channel = channel
        self._board_channel = channel

    def receive(self, data: bytes, *, in_reach: bool) -> tuple[bytes, bytes]:
        """Take what the host wrote.

        Parameters
        ----------
        data : bytes
            One message: what arrived together.
        in_reach : bool
            The board is on, and near enough.

        Returns
        -------
        answer : bytes
            What the dongle itself sends back to the host.
        forwarded : bytes
            What goes on to the board.
        """
        up = in_reach and self.channel == self._board_channel
        if data[:1] == bytes([PRIVATE]) and len(data) in {2, 3}:
            return self._own(data[1], data[2] if len(data) == 3 else None, up), b""
        if not up:
            return TIMEOUT, b""
        # A lone `<` is also acknowledged by the dongle: the first step of its time sync.
        return b"," if data == b"<" else b"", data

    def hears(self, *, in_reach: bool) -> bool:
        """Whether what the board sends reaches the host."""
        return in_reach and self.channel == self._board_channel

    def _own(self, code: int, value: int | None, up: bool) -> bytes:
        if code in {CHANNEL_SET, CHANNEL_OVERRIDE} and value is not None:
            return self._set_channel(code, value, up)
        if code == CHANNEL_GET:
            who = b"Success: Host and Device on " if up else b"Failure: Host on "
            return who + self._channel_text()
        if code == SYSTEM_UP:
            return b"Success: System is Up$$$" if up else b"Failure: System is Down$$$"
        if code == POLL_TIME_GET and up:
            return b"Success: Poll time: %d%c$$$" % (POLL_TIME_MS, POLL_TIME_MS)
        return TIMEOUT

    def _set_channel(self, code: int, value: int, up: bool) -> bytes:
        if value > MAX_CHANNEL:
            return b"Failure: Verify channel number is less than 25$$$"
        if code == CHANNEL_SET and not up:
            return TIMEOUT
        self.channel = value
        if code == CHANNEL_OVERRIDE:
            return b"Success: Host override - " + self._channel_text()
        self._board_channel = value
        return b"Success: Host and Device on " + self._channel_text()

    def _channel_text(self) -> bytes:
        return b"Channel number: %d%c$$$" % (self.channel, self.channel)
