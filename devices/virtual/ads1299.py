"""The Cyton's converter chip: its registers, and microvolts to counts.

Everything that the firmware can set ends in a register, and every count follows from registers.

References
----------
.. [1] Texas Instruments, ADS1299 datasheet (SBAS499): register map, section 9.6; input multiplexer
   and test signals, section 9.3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from devices.virtual.noise import Noise

SFREQ = 250.0
N_CHANNELS = 8
VREF_UV = 4.5e6
MAX_COUNT = 2**23 - 1
GAINS = (1, 2, 4, 6, 8, 12, 24)

POWERED_DOWN = 0x80
SRB2 = 0x08


class Register(IntEnum):
    """Addresses of the registers, in the chip's order (SBAS499, table 11)."""

    ADS_ID = 0x00
    CONFIG1 = 0x01
    CONFIG2 = 0x02
    CONFIG3 = 0x03
    LOFF = 0x04
    CH1SET = 0x05
    CH2SET = 0x06
    CH3SET = 0x07
    CH4SET = 0x08
    CH5SET = 0x09
    CH6SET = 0x0A
    CH7SET = 0x0B
    CH8SET = 0x0C
    BIAS_SENSP = 0x0D
    BIAS_SENSN = 0x0E
    LOFF_SENSP = 0x0F
    LOFF_SENSN = 0x10
    LOFF_FLIP = 0x11
    LOFF_STATP = 0x12
    LOFF_STATN = 0x13
    GPIO = 0x14
    MISC1 = 0x15
    MISC2 = 0x16
    CONFIG4 = 0x17


class Input(IntEnum):
    """What a channel's multiplexer can be set to."""

    NORMAL = 0
    SHORTED = 1
    BIAS_MEAS = 2
    MVDD = 3
    TEMP = 4
    TESTSIG = 5
    BIAS_DRP = 6
    BIAS_DRN = 7


# Values after a reset; 0x3E is the identity of an eight-channel chip.
RESET_VALUES = b"\x3e\x96\xc0\x60\0" + 8 * b"\x61" + 7 * b"\0" + b"\x0f" + 3 * b"\0"

LEAD_OFF_AMPS = (6e-9, 24e-9, 6e-6, 24e-6)
LEAD_OFF_HZ = (0.0, SFREQ / 32, SFREQ / 8, SFREQ / 4)
SERIES_OHMS = 2200.0  # the protection resistor before every input of a Cyton
REFERENCE_OHMS = 5000.0  # a good electrode at the reference

TEST_UV = VREF_UV / 2400  # CAL_AMP = 0; twice that for CAL_AMP = 1
# The pulses are 2^21 and 2^20 cycles of a clock that runs 8192 times as fast as the samples come.
TEST_PERIOD_SAMPLES = (256, 128)
BOARD_CELSIUS = 31.0


def counts_per_uv(gain: ArrayLike) -> NDArray[np.float64]:
    """Return ADC counts per microvolt at the input, for each gain."""
    return np.asarray(gain, dtype=np.float64) * MAX_COUNT / VREF_UV


def to_counts(data_uv: ArrayLike, gain: ArrayLike) -> NDArray[np.int32]:
    """Convert as the chip does: scale, round, and stop at the rails.

    Parameters
    ----------
    data_uv : array_like, shape (n_channels, n_times)
        Microvolts at the inputs.
    gain : array_like, shape () or (n_channels, 1)
        Gain of all channels, or of each.

    Returns
    -------
    ndarray of int32, shape (n_channels, n_times)
        Between -2**23 and 2**23 - 1.
    """
    counts = np.rint(np.asarray(data_uv, dtype=np.float64) * counts_per_uv(gain))
    return np.clip(counts, -MAX_COUNT - 1, MAX_COUNT).astype(np.int32)


class Ads1299:
    """One chip with eight channels.

    Parameters
    ----------
    seed : sequence of int
        Of the converter's own noise.
    """

    def __init__(self, seed: Sequence[int] = (0,)) -> None:
        self.version = 0
        self._noise = Noise([*seed, 1299], N_CHANNELS, sfreq=SFREQ)
        self.reset()

    def reset(self) -> None:
        """Put the values of the datasheet into all registers."""
        self.registers = bytearray(RESET_VALUES)
        self.version += 1

    def __getitem__(self, address: int) -> int:
        return self.registers[address]

    def __setitem__(self, address: int, value: int) -> None:
        self.registers[address] = value & 0xFF
        self.version += 1

    def set_bit(self, address: int, bit: int, on: bool) -> None:
        """Set or clear one bit of a register."""
        mask = 1 << bit
        self[address] = self[address] | mask if on else self[address] & ~mask

    @property
    def gains(self) -> NDArray[np.float64]:
        """Gain of every channel, shape (8,). The eighth code is reserved and acts as 24."""
        codes = [self[Register.CH1SET + i] >> 4 & 7 for i in range(N_CHANNELS)]
        return np.array([GAINS[min(code, 6)] for code in codes], dtype=np.float64)

    def convert(
        self, inputs_uv: NDArray[np.float64], first_sample: int, impedance_kohm: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Return the counts of samples, given what is at the electrodes.

        Parameters
        ----------
        inputs_uv : ndarray of float64, shape (8, n_times)
            Microvolts between each electrode and the reference.
        first_sample : int
            Index of the first of these samples, which gives test signals their phase.
        impedance_kohm : ndarray of float64, shape (8,)
            Electrode impedances, over which the lead-off current drops.

        Returns
        -------
        ndarray of int32, shape (8, n_times)
            0 where a channel is powered down.
        """
        samples = np.arange(first_sample, first_sample + inputs_uv.shape[1])
        rows = np.empty_like(inputs_uv)
        for i in range(N_CHANNELS):
            source = Input(self[Register.CH1SET + i] & 7)
            if source is Input.NORMAL:
                rows[i] = inputs_uv[i] + self._lead_off(i, samples, float(impedance_kohm[i]))
            else:
                rows[i] = self._internal(source, i, samples)
                # Input-referred noise, near the datasheet's table 1: 0.14 µV at gain 24, 1 at 1.
                noise_uv = np.hypot(0.13, 1.0 / self.gains[i])
                rows[i] += noise_uv * self._noise.read(first_sample, samples.size)[i]
        counts = to_counts(rows, self.gains[:, np.newaxis])
        for i in range(N_CHANNELS):
            if self[Register.CH1SET + i] & POWERED_DOWN:
                counts[i] = 0
        return counts

    def _internal(
        self, source: Input, channel: int, samples: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return what the multiplexer connects instead of the electrode, in microvolts."""
        level = np.zeros(samples.size)
        if source is Input.TESTSIG:
            amplitude = TEST_UV * (2 if self[Register.CONFIG2] & 0x04 else 1)
            frequency = self[Register.CONFIG2] & 0x03
            level += amplitude
            if frequency < len(TEST_PERIOD_SAMPLES):
                period = TEST_PERIOD_SAMPLES[frequency]
                level[samples % period >= period // 2] *= -1
        elif source is Input.TEMP:
            level += 145_300 + 490 * (BOARD_CELSIUS - 25)
        elif source is Input.MVDD and channel in {2, 3}:
            level += 3.3e6 / 4  # a quarter of the digital supply; the analogue one is symmetric
        return level

    def _lead_off(
        self, channel: int, samples: NDArray[np.int64], kohm: float
    ) -> NDArray[np.float64] | float:
        """Return the voltage that the lead-off current drops over electrodes, in microvolts."""
        ohms = 0.0
        if self[Register.LOFF_SENSN] >> channel & 1:  # the electrode is at the N side of a Cyton
            ohms += kohm * 1e3 + SERIES_OHMS
        if self[Register.LOFF_SENSP] >> channel & 1:
            ohms += REFERENCE_OHMS + SERIES_OHMS
        if not ohms:
            return 0.0
        microvolts = LEAD_OFF_AMPS[self[Register.LOFF] >> 2 & 3] * ohms * 1e6
        hertz = LEAD_OFF_HZ[self[Register.LOFF] & 3]
        if not hertz:
            return microvolts
        return microvolts * np.sin(2 * np.pi * hertz / SFREQ * samples)
