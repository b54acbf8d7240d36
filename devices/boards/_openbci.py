"""What the Cyton and the Cyton with a Daisy have in common: the conversation and the numbers.

References
----------
.. [1] OpenBCI, Cyton Board SDK, docs.openbci.com/Cyton/CytonSDK: the commands.
.. [2] OpenBCI, Cyton Data Format, docs.openbci.com/Cyton/CytonDataFormat: the scale of a count.
.. [3] OpenBCI, OpenBCI_Cyton_Library 3.1.5, `OpenBCI_32bit_Library.cpp`: what is answered when.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from devices.boards import Ask, Board, BoardInfo, Conversation, Frames
from devices.boards._openbci_aux import aux_names, read_aux, read_markers, write_aux
from devices.boards._openbci_frames import (
    COUNTER,
    COUNTS,
    FRAME_BYTES,
    STAMPED_ACCEL,
    START_BYTE,
    FrameFinder,
    Rows,
    kinds,
    stamps,
)
from devices.boards._openbci_settings import (
    DEFAULT_CHANNEL,
    MODES,
    TEST_SIGNALS,
    read_settings,
)
from devices.errors import BoardRefusedError, NoAnswerError, WrongBoardError

VREF_UV = 4.5e6
MAX_COUNT = 2**23 - 1

START, STOP, RESET, DEFAULTS = b"b", b"s", b"v", b"d"
TIMESTAMPS_ON, TIMESTAMPS_OFF = b"<", b">"
RATE_QUERY, RATE_250 = b"~~", b"~6"
MODE, MARKER = b"/", b"`"
WITHOUT_DAISY = b"c"

RESET_SECONDS = 3.0  # a reset takes the real board 1.2 s
ANSWER_SECONDS = 2.0
STRAGGLER_SECONDS = 0.5
LONGEST_ANSWER = 4096

BANNER = re.compile(rb"OpenBCI V3 [^$]*\$\$\$")
FIRMWARE = re.compile(rb"Firmware: v(\d+)([.\d]*)")
RADIO_TIMEOUT = b"Communications timeout"


def marker_command(value: int) -> bytes:
    """Return the bytes that make a board in mode "marker" put a marker into its next frame.

    Parameters
    ----------
    value : int
        1 to 255; the board cannot send 0.
    """
    if not 1 <= value <= 255:
        raise ValueError(f"A Cyton's marker is 1 to 255, not {value}")
    return MARKER + bytes([value])


class OpenBCIBoard(Board):
    """The protocol that both boards speak.

    Parameters
    ----------
    settings : mapping, optional
        See `devices.boards._openbci_settings.read_settings`.

    Raises
    ------
    InvalidBoardSettingsError
        If a setting is unknown or out of range.
    """

    type: ClassVar[str] = "openbci"
    n_chips: ClassVar[int]

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = read_settings(settings or {}, n_channels=8 * self.n_chips)
        self.ch_names = self.settings.ch_names
        self.aux_names = aux_names(self.settings.mode)
        self._finder = FrameFinder()
        self.reset()

    @property
    def scale_uv(self) -> NDArray[np.float64]:
        """Microvolts per ADC count, shape (n_channels,): 4.5 V / gain / (2^23 - 1)."""
        gains = np.array([channel.gain for channel in self.settings.channels], dtype=np.float64)
        return VREF_UV / gains / MAX_COUNT

    @property
    def start_command(self) -> bytes:
        """``b``, which the board does not answer."""
        return START

    @property
    def stop_command(self) -> bytes:
        """``s``, which the board does not answer."""
        return STOP

    def reset(self) -> None:
        """Forget half-received bytes, and what the last frame was."""
        self._finder.reset()
        self._held_marker = 0

    # --- The conversation -----------------------------------------------------------------------

    def handshake(self) -> Conversation:
        """Stop the board, reset it, see what it is, and set it up; return what it said.

        Raises
        ------
        NoAnswerError
            If nothing came back, or only the dongle answered.
        WrongBoardError
            If something else answered, or a Cyton that cannot be used as this device.
        BoardRefusedError
            If the board did not confirm a setting: its samples would mean something else.
        """
        banner = yield from self._greet()
        has_daisy = b"On Daisy" in banner
        firmware, is_3 = self._check_firmware(banner)
        self._check_daisy(has_daisy)
        settings = self.settings
        if is_3:
            # At another rate, `b` would initialise the board and forget its settings.
            answer = yield from self._tell(RATE_QUERY, b"Sample rate is ")
            if b"is 250Hz" not in answer:
                yield from self._tell(RATE_250, b"Sample rate is 250Hz")
        if has_daisy and self.n_chips == 1:
            yield from self._tell(WITHOUT_DAISY, b"daisy removed")
        if is_3:
            yield from self._tell(MODE + MODES[settings.mode], settings.mode.encode())
        yield from self._tell(DEFAULTS, b"to default")
        for i, channel in enumerate(settings.channels):
            if channel != DEFAULT_CHANNEL:
                yield from self._tell(channel.command(i), b"Channel set for %d$" % (i + 1))
        if settings.test_signal is not None:
            yield from self._tell(TEST_SIGNALS[settings.test_signal], b"test signal")
        if settings.timestamps:
            yield from self._tell(TIMESTAMPS_ON, b"Time stamp ON")
        else:
            yield from self._tell(TIMESTAMPS_OFF, b"Time stamp OFF")
        details = {
            "daisy": has_daisy,
            "mode": settings.mode,
            "timestamps": settings.timestamps,
            "gains": [channel.gain for channel in settings.channels],
            "test_signal": settings.test_signal,
        }
        return BoardInfo(
            firmware=firmware, sfreq=self.sfreq, n_channels=self.n_channels, details=details
        )

    def _greet(self) -> Generator[Ask, bytes, bytes]:
        """Return the board's banner, whatever it was doing before."""
        said = b""
        for _ in range(3):
            yield Ask(STOP, until=b"")
            command, timeout = RESET, RESET_SECONDS
            for _ in range(3):
                # The first answer may be the end of a stream, or of a command somebody left open.
                answer = yield Ask(command, timeout=timeout)
                said = (said + answer)[-LONGEST_ANSWER:]
                if found := BANNER.search(said):
                    return found.group()
                if not answer or RADIO_TIMEOUT in answer:
                    break
                command = b""
        raise self._no_banner(said)

    def _no_banner(self, said: bytes) -> NoAnswerError | WrongBoardError:
        asked = f"Asked for an {self.label} three times and found"
        if not said:
            return NoAnswerError(
                f"{asked} nothing: the port opened, and nothing answered.",
                suggestion="Check that the board is switched to PC and its battery is charged, "
                "that the dongle's switch is at GPIO 6, and that this is the dongle's port.",
            )
        if RADIO_TIMEOUT in said:
            return NoAnswerError(
                f"{asked} only the USB dongle, which does not reach the board.",
                suggestion="Switch the board to PC, charge its battery, bring it nearer. If it is "
                "on, dongle and board may be on different radio channels: set the dongle's with "
                "the OpenBCI GUI's radio configuration.",
            )
        rows, _ = FrameFinder().feed(said)
        if len(rows) > 1:
            return NoAnswerError(
                f"{asked} a board that streams and does not stop when told to.",
                suggestion="Switch the board off and on again.",
            )
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in said[:80])
        return WrongBoardError(
            f"{asked} something else, which said {text!r}.",
            found=text,
            suggestion="Check the port, and that the device is set up as the board it is.",
        )

    def _check_firmware(self, banner: bytes) -> tuple[str, bool]:
        """Return the version, and whether it knows the commands of firmware 3."""
        found = FIRMWARE.search(banner)
        if found is None:
            raise WrongBoardError(
                "The board has a firmware before 2.0, which does not confirm its settings.",
                suggestion="Update it as docs.openbci.com/Cyton/CytonProgram says.",
            )
        firmware = (found[1] + found[2]).decode()
        is_3 = int(found[1]) >= 3
        if self.settings.mode != "default" and not is_3:
            raise WrongBoardError(
                f"Board mode {self.settings.mode!r} needs firmware 3; the board has {firmware}.",
                firmware=firmware,
                suggestion="Update it as docs.openbci.com/Cyton/CytonProgram says, or set no mode.",
            )
        return firmware, is_3

    def _check_daisy(self, has_daisy: bool) -> None:
        """Raise unless the board has as many chips as are needed."""

    def _tell(self, command: bytes, expected: bytes) -> Generator[Ask, bytes, bytes]:
        """Send a command, again if it was lost, and return the answer that confirms it."""
        heard = answer = b""
        for words, timeout in 2 * ((command, ANSWER_SECONDS), (b"", STRAGGLER_SECONDS)):
            if not words and not answer:
                continue
            answer = yield Ask(words, timeout=timeout)
            heard = (heard + answer)[-LONGEST_ANSWER:]
            if expected in heard:
                return heard
        told = command.decode("ascii", "backslashreplace")
        if not heard:
            raise NoAnswerError(
                f"The board answered at first, and then not to {told!r}, which it was sent twice.",
                command=told,
                suggestion="Check its battery, and bring it nearer to the dongle.",
            )
        text = heard[-80:].decode("ascii", "backslashreplace")
        raise BoardRefusedError(
            f"The board was told {told!r} twice and did not confirm it, but said {text!r}.",
            command=told,
            found=text,
            suggestion="Switch the board off and on; if that does not help, take the setting out "
            "of the device's settings.",
        )

    # --- The numbers ----------------------------------------------------------------------------

    @abstractmethod
    def encode(self, frames: Frames) -> bytes:
        """Return the bytes with which the board would send these frames."""

    def _read_rows(self, rows: Rows, n_discarded: int = 0) -> Frames:
        """Return what frames say, one sample a frame."""
        kind, mode = kinds(rows), self.settings.mode
        markers, self._held_marker = read_markers(rows, kind, mode, self._held_marker)
        return Frames(
            counter=rows[:, COUNTER].astype(np.int64),
            counts=read_counts(rows),
            aux=read_aux(rows, kind, mode),
            board_ms=np.where(kind >= STAMPED_ACCEL, stamps(rows), np.nan),
            markers=markers,
            n_discarded=n_discarded,
        )

    def _write_rows(self, frames: Frames) -> Rows:
        """Return frames that say this, one sample a frame: the inverse of `_read_rows`."""
        rows = np.zeros((frames.n_times, FRAME_BYTES), dtype=np.uint8)
        rows[:, 0] = START_BYTE
        rows[:, COUNTER] = frames.counter
        whole = np.ascontiguousarray(frames.counts.T, ">i4").view(np.uint8).reshape(-1, 8, 4)
        rows[:, COUNTS] = whole[:, :, 1:].reshape(-1, 24)
        write_aux(rows, self.settings.mode, frames.aux, frames.board_ms, frames.markers)
        return rows


def read_counts(rows: Rows) -> NDArray[np.int32]:
    """Return the eight counts of each frame, shape (8, n_frames): 24-bit two's complement."""
    words = np.zeros((len(rows), 8, 4), dtype=np.uint8)
    words[:, :, :3] = rows[:, COUNTS].reshape(len(rows), 8, 3)
    counts = words.view(">i4")[:, :, 0] >> 8  # the shift takes the sign along
    return np.ascontiguousarray(counts.T, dtype=np.int32)
