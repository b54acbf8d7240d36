"""The Cyton's firmware as a state machine: bytes and samples in, bytes out.

It follows release 3.1.5 of OpenBCI's Cyton library (`OpenBCI_32bit_Library.cpp` and the
`DefaultBoard` sketch) as a host sees it through the dongle, down to the slips: the banner says
v3.1.2 where ``V`` says v3.1.5, a command that touches a converter while streaming starts the
counter again, and a board whose Daisy is absent answers ``C`` with two sentences in one.

Not followed: the pauses (a soft reset takes the real board about a second), a second serial port
(board mode 1 only answers), and rates above 250 Hz, which the radio does not carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from devices.virtual.ads1299 import N_CHANNELS
from devices.virtual.converters import DEFAULT_SETTINGS, RATE_250, TEST_SIGNALS, Converters
from devices.virtual.packets import BoardMode, Packets
from devices.virtual.registers import lis3dh_report, report

EOT = "$$$"
MULTI_CHAR_TIMEOUT_MS = 1000

CHANNEL_OFF = b"12345678qwertyui"
CHANNEL_ON = b"!@#$%^&*QWERTYUI"
CHANNEL_NAMES = b"12345678QWERTYUI"  # as `x` and `z` call them
SAMPLE_RATES = (16000, 8000, 4000, 2000, 1000, 500, 250)
SD_OPEN = b"ASFGHJKLa"
DIGITS = b"0123456789"


class Firmware:
    """A Cyton that was just switched on.

    Parameters
    ----------
    daisy : bool
        A Daisy module is plugged in: 16 channels.
    seed : int
        Of the converters' noise.

    Attributes
    ----------
    converters : Converters
        What turns microvolts into the counts that `sample` wants.
    streaming : bool
        Samples are wanted: call `sample` at 250 Hz.
    starts : int
        How often the converters were started. Each start sets the counter to 0.
    packets : Packets
        What packs counts and aux data into frames.
    """

    def __init__(self, *, daisy: bool = False, seed: int = 0) -> None:
        self.converters = Converters(daisy=daisy, seed=seed)
        self.starts = 0
        self._commands = self._make_commands()
        self.power_on()

    def power_on(self) -> bytes:
        """Forget everything, as after a loss of power, and return the banner."""
        self.converters.power_on()
        self.streaming = self._converting = False
        self.packets = Packets()
        self.rate = RATE_250
        self._mute = False
        self._pending: bytearray | None = None
        self._deadline = 0
        self._out: list[str] = []
        self._reset()
        return self._take()

    # --- What the loop around it calls ----------------------------------------------------------

    def receive(self, data: bytes, millis: int) -> bytes:
        """Take bytes from the host and return the answer.

        Parameters
        ----------
        data : bytes
            As they came; commands may be cut anywhere.
        millis : int
            Milliseconds since the board was switched on, on its own clock.

        Returns
        -------
        bytes
            What the board sends back, often nothing.
        """
        if self._mute:  # its serial port runs at another speed now
            return b""
        for character in data:
            self._sd_card(character)
            self._check_timeout(millis)
            if self._pending is not None:
                self._continue(self._pending, character)
            elif command := self._commands.get(character):
                command(character)
                if self._pending is not None:
                    self._deadline = millis + MULTI_CHAR_TIMEOUT_MS
        return self._take()

    def tick(self, millis: int) -> bytes:
        """Return what the board has to say because time has passed."""
        self._check_timeout(millis)
        return self._take()

    def sample(
        self, counts: Sequence[int], millis: int, axes: tuple[int, int, int] | None = None
    ) -> bytes:
        """Take one conversion of all channels and return the frame that carries it.

        Parameters
        ----------
        counts : sequence of int
            8 ADC counts, 16 with a Daisy.
        millis : int
            The board's clock at the conversion.
        axes : tuple of int or None
            x, y and z of the accelerometer when it has a new reading.

        Returns
        -------
        bytes
            33 of them; nothing in board mode 5.
        """
        to_send = self.converters.send(counts, odd=self.packets.counter % 2 == 1)
        frame = self.packets.pack(to_send, millis, axes)
        return b"" if self._mute else frame

    # --- Saying things --------------------------------------------------------------------------

    def _say(self, *words: str) -> None:
        self._out += words

    def _say_unless_streaming(self, text: str) -> None:
        if not self.streaming:
            self._say(text, EOT)

    def _take(self) -> bytes:
        text = "" if self._mute else "".join(self._out)
        self._out.clear()
        return text.encode("ascii")

    # --- Commands of one character --------------------------------------------------------------

    def _make_commands(self) -> dict[int, Callable[[int], None]]:
        commands: dict[int, Callable[[int], None]] = {
            ord("d"): self._set_defaults,
            ord("D"): lambda _: self._say("".join(str(x) for x in DEFAULT_SETTINGS), EOT),
            ord("c"): self._remove_daisy,
            ord("C"): self._attach_daisy,
            ord("b"): self._start,
            ord("s"): lambda _: self._stop_converting(),
            ord("v"): lambda _: self._reset(),
            ord("V"): lambda _: self._say("v3.1.5", EOT),
            ord("?"): self._print_registers,
            ord("<"): lambda _: self._set_time_stamps(True),
            ord(">"): lambda _: self._set_time_stamps(False),
            ord("{"): lambda _: self._say("Failure: Wifi not attached", EOT),
            ord("}"): lambda _: self._say("Failure: Wifi not removed", EOT),
            ord(":"): lambda _: self._say("Wifi not present, send { to attach the shield", EOT),
            ord(";"): lambda _: self._say("Wifi soft reset", EOT),
        }
        commands |= dict.fromkeys(b"xz/~`", self._begin)
        commands |= dict.fromkeys(TEST_SIGNALS, self._connect_test_signal)
        for i in range(2 * N_CHANNELS):
            commands[CHANNEL_OFF[i]] = partial(self._switch, self.converters.deactivate, i)
            commands[CHANNEL_ON[i]] = partial(self._switch, self.converters.activate, i)
        return commands

    def _safely(self, change: Callable[..., None], *arguments: object) -> None:
        """Stop the converters for a change; starting them again sets the counter to 0."""
        was_streaming = self.streaming
        if was_streaming:
            self._stop_converting()
        change(*arguments)
        if was_streaming:
            self._start_converting()

    def _switch(self, change: Callable[[int], None], channel: int, _: int) -> None:
        self._safely(change, channel)

    def _start(self, _: int) -> None:
        self.packets.start()
        if self.rate != RATE_250:  # the radio carries no more
            self.rate = RATE_250
            self._safely(self._initialize)
        self._start_converting()

    def _start_converting(self) -> None:
        self.packets.counter = 0
        self.converters.start()
        self.starts += 1
        self.streaming = self._converting = True

    def _stop_converting(self) -> None:
        self.streaming = self._converting = False

    def _set_defaults(self, _: int) -> None:
        self._say_unless_streaming("updating channel settings to default")
        self._safely(self.converters.set_defaults)

    def _set_time_stamps(self, on: bool) -> None:
        self._say_unless_streaming(f"Time stamp {'ON' if on else 'OFF'}")
        self.packets.set_time_stamps(on)

    def _connect_test_signal(self, character: int) -> None:
        was_streaming = self.streaming
        self._safely(self.converters.set_test_signal, character)
        if not was_streaming:
            self._say("Success: Configured internal test signal.", EOT)

    def _remove_daisy(self, _: int) -> None:
        if self.converters.daisy_present:
            self.converters.remove_daisy()
            if not self._converting:
                self._say("daisy removed", EOT)

    def _attach_daisy(self, _: int) -> None:
        if not self.converters.daisy_present:
            self.converters.attach_daisy(self.rate)
            if not self._converting:
                found = self.converters.daisy_present
                self._say("daisy attached" if found else "no daisy to attach!")
        self._say("16" if self.converters.daisy_present else "8", EOT)

    def _print_registers(self, _: int) -> None:
        # A reset while streaming leaves the second flag up, and the board mute here, until `s`.
        if not self.streaming and not self._converting:
            for name, chip in zip(("Board", "Daisy"), self.converters.present, strict=False):
                self._say(f"\n{name} ADS Registers\n", report(chip))
            self._say("\nLIS3DH Registers\n", lis3dh_report(), EOT)

    def _sd_card(self, character: int) -> None:
        """Answer as the sketch does that sees every character first and finds no card."""
        if character in SD_OPEN:
            if not self.streaming:
                self._say(
                    "initialization failed. Things to check:\r\n* is a card is inserted?\r\n",
                    "Could not find FAT16/FAT32 partition. Make sure you've formatted the card",
                    "\r\n",
                    EOT,
                )
        elif character == ord("j") and self.streaming:
            self._stop_converting()

    # --- Commands of several characters ---------------------------------------------------------

    def _begin(self, character: int) -> None:
        self._pending = bytearray([character])

    def _check_timeout(self, millis: int) -> None:
        if self._pending is not None and millis >= self._deadline:
            self._pending = None
            self._say(
                "Timeout processing multi byte message - please send all commands at once as of v2",
                EOT,
            )

    def _continue(self, pending: bytearray, character: int) -> None:
        pending.append(character)
        match chr(pending[0]):
            case "x":
                self._continue_settings(pending, b"X"[0], 9, self._set_channel)
            case "z":
                self._continue_settings(pending, b"Z"[0], 5, self._set_lead_off)
            case "/":
                self._pending = None
                self._set_board_mode(character)
            case "~":
                self._pending = None
                self._set_sample_rate(character)
            case "`":
                self._pending = None
                self.packets.marker = character

    def _continue_settings(
        self, pending: bytearray, latch: int, length: int, apply: Callable[[bytes], None]
    ) -> None:
        if pending[-1] == latch and len(pending) < length:
            self._pending = None
            self._say_unless_streaming("Failure: too few chars")
        elif len(pending) == length:
            self._pending = None
            if pending[-1] != latch:
                self._say_unless_streaming(f"Failure: Err: {length}th char not {chr(latch)}")
            else:
                apply(bytes(pending))

    def _set_channel(self, command: bytes) -> None:
        channel = max(CHANNEL_NAMES.find(command[1]), 0)
        self._say_unless_streaming(f"Success: Channel set for {channel + 1}")
        digits = [character - ord("0") for character in command[2:8]]
        settings = [digit if 0 <= digit <= 9 else 0 for digit in digits]
        settings[1] = digits[1] if 0 <= digits[1] <= RATE_250 else DEFAULT_SETTINGS[1]
        self._safely(self.converters.set_channel, channel, settings)

    def _set_lead_off(self, command: bytes) -> None:
        channel = max(CHANNEL_NAMES.find(command[1]), 0)
        self._say_unless_streaming(f"Success: Lead off set for {channel + 1}")
        sides = [int(character == ord("1")) for character in command[2:4]]
        self._safely(self.converters.set_lead_off, channel, *sides)

    def _set_board_mode(self, character: int) -> None:
        if character != ord("/"):
            if character not in DIGITS:
                self._say("Failure: invalid board mode value.", EOT)
                return
            if character - ord("0") >= len(BoardMode):
                self._say("Failure: board mode value out of bounds.", EOT)
                return
            self.packets.set_mode(BoardMode(character - ord("0")))
            # From here on it talks at 9600 baud, which the dongle's radio cannot read.
            self._mute = self.packets.mode is BoardMode.BLE
        self._say(f"Success: {self.packets.mode.label}", EOT)

    def _set_sample_rate(self, character: int) -> None:
        if character == ord("~"):
            self._say(f"Success: Sample rate is {SAMPLE_RATES[self.rate]}Hz", EOT)
        elif character not in DIGITS:
            self._say_unless_streaming("Failure: invalid sample value")
        elif character - ord("0") > RATE_250:
            self._say_unless_streaming("Failure: sample value out of bounds")
        else:
            self.rate = character - ord("0")
            self._safely(self._initialize)
            self._say_unless_streaming(f"Success: Sample rate is {SAMPLE_RATES[self.rate]}Hz")

    def _initialize(self) -> None:
        self.converters.initialize(self.rate)
        self.streaming = False

    def _reset(self) -> None:
        """Do what `v` does."""
        self._initialize()
        self.converters.configure_lead_off()
        self._say("OpenBCI V3 8-16 channel\n", "On Board ADS1299 Device ID: 0x3E\n")
        if self.converters.daisy_present:
            self._say("On Daisy ADS1299 Device ID: 0x3E\n")
        self._say("LIS3DH Device ID: 0x33\n", "Firmware: v3.1.2\n", EOT)
