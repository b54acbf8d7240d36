"""The converters of a Cyton and how the firmware sets them: every setting ends in a register."""

from __future__ import annotations

from collections.abc import Sequence

from devices.virtual.ads1299 import N_CHANNELS, POWERED_DOWN, SRB2, Ads1299, Register

# Power down, gain code, input, bias, SRB2, SRB1: what `D` reports and `d` sets.
DEFAULT_SETTINGS = (0, 6, 0, 1, 1, 0)
RATE_250 = 6

# (input code, CONFIG2 amplitude, CONFIG2 frequency); None leaves the register's bits alone.
TEST_SIGNALS = {
    b"0"[0]: (1, None, None),
    b"-"[0]: (5, 0x00, 0x00),
    b"="[0]: (5, 0x00, 0x01),
    b"p"[0]: (5, 0x04, 0x03),
    b"["[0]: (5, 0x04, 0x00),
    b"]"[0]: (5, 0x04, 0x01),
}


class Converters:
    """One converter with eight channels, and a second one when a Daisy is plugged in.

    Parameters
    ----------
    daisy : bool
        A Daisy is plugged in.
    seed : int
        Of the converters' noise.

    Attributes
    ----------
    chips : list of Ads1299
        The board's converter, and the Daisy's.
    daisy_present : bool
        The firmware uses the Daisy; ``c`` and ``C`` change that.
    """

    def __init__(self, *, daisy: bool, seed: int) -> None:
        self.has_daisy = daisy
        self.chips = [Ads1299((seed, i)) for i in range(2 if daisy else 1)]
        self.power_on()

    def power_on(self) -> None:
        """Forget everything, as after a loss of power."""
        self.daisy_present = False
        self._settings = [list(DEFAULT_SETTINGS) for _ in range(2 * N_CHANNELS)]
        self._in_bias = [True] * 2 * N_CHANNELS
        self._in_srb2 = [True] * 2 * N_CHANNELS
        self._lead_off = [[0, 0] for _ in range(2 * N_CHANNELS)]
        self._last = [0] * 2 * N_CHANNELS
        self._means = [0] * 2 * N_CHANNELS
        self._first = True

    @property
    def version(self) -> int:
        """Changes whenever a register does, and with it what counts mean."""
        return sum(chip.version for chip in self.chips)

    @property
    def present(self) -> list[Ads1299]:
        """The chips in use."""
        return self.chips[: 1 + self.daisy_present]

    def start(self) -> None:
        """Begin to convert: what was converted before is not averaged with."""
        self._first = True

    def send(self, counts: Sequence[int], *, odd: bool) -> Sequence[int]:
        """Return the eight counts that go into the frame of this conversion.

        Parameters
        ----------
        counts : sequence of int
            8 ADC counts, 16 with a Daisy.
        odd : bool
            The frame's counter is odd.

        Notes
        -----
        With a Daisy the firmware averages two conversions in a row and sends the Daisy's channels
        in even frames, the board's in odd ones. The flag for the first conversion falls between
        the two chips, so the Daisy's first mean is with whatever was converted before the start.
        """
        if not self.daisy_present:
            return counts[:N_CHANNELS]
        for i, count in enumerate(counts):
            if not self._first or i >= N_CHANNELS:
                self._means[i] = int((self._last[i] + count) / 2)  # C rounds towards zero
            self._last[i] = count
        self._first = False
        return self._means[:N_CHANNELS] if odd else self._means[N_CHANNELS:]

    def initialize(self, rate: int) -> None:
        """Reset the chips, look for the Daisy and write all defaults.

        Parameters
        ----------
        rate : int
            The chip's code for the sampling rate, 0 (16 kHz) to 6 (250 Hz).
        """
        for i in range(len(self.chips)):
            self._reset_chip(i)
        self.daisy_present = self.has_daisy
        self.chips[0][Register.CONFIG1] = (0xB0 if self.daisy_present else 0x90) | rate
        if self.daisy_present:
            self.chips[1][Register.CONFIG1] = 0x90 | rate
        self.set_defaults()
        for chip in self.chips:
            chip[Register.CONFIG3] = 0xEC
        self._first = True

    def configure_lead_off(self) -> None:
        """Choose 6 nA at 31.2 Hz for impedance measurements."""
        for chip in self.present:
            chip[Register.LOFF] = chip[Register.LOFF] & 0xF0 | 0x02

    def attach_daisy(self, rate: int) -> None:
        """Look for the Daisy again; its channels stay as a reset leaves them, shorted."""
        if self.has_daisy:
            self._reset_chip(1)
            self.chips[0][Register.CONFIG1] = 0xB0 | rate
        self.daisy_present = self.has_daisy

    def remove_daisy(self) -> None:
        """Put the Daisy to sleep."""
        self.chips[1].reset()
        self.daisy_present = False

    def set_channel(self, channel: int, settings: Sequence[int]) -> None:
        """Set one channel (0 to 15): power down, gain code, input, bias, SRB2, SRB1."""
        self._settings[channel] = list(settings)
        chip, _ = self._chip(channel)
        if chip is not None:
            self._write_settings(channel)
            first = channel - channel % N_CHANNELS
            for others in self._settings[first : first + N_CHANNELS]:
                others[5] = settings[5]  # the chip has one SRB1 switch for all
            chip[Register.MISC1] = 0x20 if settings[5] == 1 else 0x00

    def set_lead_off(self, channel: int, p_side: int, n_side: int) -> None:
        """Switch the lead-off current of one channel (0 to 15) on or off, on each side."""
        self._lead_off[channel] = [p_side, n_side]
        self._write_lead_off(channel)

    def deactivate(self, channel: int) -> None:
        """Power a channel (0 to 15) down: it reads 0."""
        chip, place = self._chip(channel)
        if chip is not None:
            address = Register.CH1SET + place
            chip[address] = (chip[address] | POWERED_DOWN) & ~SRB2
            self._write_bias(chip, place, False)
            self._lead_off[channel] = [0, 0]
            self._write_lead_off(channel)

    def activate(self, channel: int) -> None:
        """Power a channel (0 to 15) up with the settings it had."""
        chip, place = self._chip(channel)
        if chip is not None:
            settings = self._settings[channel]
            settings[3], settings[4] = int(self._in_bias[channel]), int(self._in_srb2[channel])
            code = settings[1] << 4 | settings[2] | (SRB2 if settings[4] else 0)
            chip[Register.CH1SET + place] = code
            self._write_bias(chip, place, self._in_bias[channel])

    def set_defaults(self) -> None:
        """Do what `d` does."""
        for channel in range(2 * N_CHANNELS if self.daisy_present else N_CHANNELS):
            self._settings[channel] = list(DEFAULT_SETTINGS)
            self._lead_off[channel] = [0, 0]
            self._write_settings(channel)
            self._write_lead_off(channel)
        for chip in self.chips:
            chip[Register.MISC1] = 0x00

    def set_test_signal(self, character: int) -> None:
        """Connect all channels as one of the commands in `TEST_SIGNALS` says."""
        source, amplitude, frequency = TEST_SIGNALS[character]
        for chip in self.present:
            bits = chip[Register.CONFIG2]
            bits = bits if amplitude is None else bits & ~0x04 | amplitude
            bits = bits if frequency is None else bits & ~0x03 | frequency
            chip[Register.CONFIG2] = 0xD0 | bits & 0x07
        for channel in range(2 * N_CHANNELS if self.has_daisy else N_CHANNELS):
            self._settings[channel][2] = source
            self._write_settings(channel)

    def _reset_chip(self, index: int) -> None:
        self.chips[index].reset()
        if index == 0 or self.daisy_present:
            for channel in range(index * N_CHANNELS, (index + 1) * N_CHANNELS):
                self.deactivate(channel)

    def _chip(self, channel: int) -> tuple[Ads1299 | None, int]:
        """Return the chip of a channel (0 to 15), if it is there, and the channel's place on it."""
        index, place = divmod(channel, N_CHANNELS)
        return (self.chips[index] if index == 0 or self.daisy_present else None), place

    def _write_bias(self, chip: Ads1299, place: int, on: bool) -> None:
        chip.set_bit(Register.BIAS_SENSP, place, on)
        chip.set_bit(Register.BIAS_SENSN, place, on)

    def _write_settings(self, channel: int) -> None:
        """Write power, gain, input, SRB2 and bias of one channel."""
        chip, place = self._chip(channel)
        if chip is not None:
            down, gain, source, bias, srb2, _ = self._settings[channel]
            code = gain << 4 | source | (POWERED_DOWN if down == 1 else 0)
            chip[Register.CH1SET + place] = code | (SRB2 if srb2 == 1 else 0)
            self._in_srb2[channel] = srb2 == 1
            self._in_bias[channel] = bias == 1
            self._write_bias(chip, place, bias == 1)

    def _write_lead_off(self, channel: int) -> None:
        chip, place = self._chip(channel)
        if chip is not None:
            chip.set_bit(Register.LOFF_SENSP, place, self._lead_off[channel][0] == 1)
            chip.set_bit(Register.LOFF_SENSN, place, self._lead_off[channel][1] == 1)
