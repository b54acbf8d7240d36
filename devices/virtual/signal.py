"""A subject for a board that has none: a plausible EEG, the same for the same seed.

Every sample is a function of the seed, of its index and of what the subject was told, so any
stretch can be computed again. Microvolts against a reference at the ear lobe:

- a background that falls with 1/f, 9 µV, shared between neighbours;
- alpha, 8 to 12 Hz in spindles, strongest over O1 and O2: 24 µV with closed eyes, 4 with open ones;
- mu, around 11 Hz, and beta, around 20 Hz, over C3 and C4: 8 and 3 µV at rest; imagining a
  movement takes the opposite side down to a fifth;
- blinks, 130 µV at Fp1 and Fp2, about every five seconds, only with open eyes;
- hum of the mains with its third harmonic, 2 to 8 µV;
- electrode offsets up to 25 mV that drift by some hundred microvolts, and impedances of 3 to 18 kΩ.

The montage is the one OpenBCI suggests for the Cyton, and for the Daisy after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devices.errors import InvalidBoardSettingsError
from devices.virtual.ads1299 import SFREQ
from devices.virtual.noise import BLOCK, Amplitude, Noise, uniform
from devices.virtual.sources import Annotation

# Where the electrodes are on a head of radius 1, seen from above: right, front.
MONTAGE: dict[str, tuple[float, float]] = {
    **{"Fp1": (-0.31, 0.95), "Fp2": (0.31, 0.95), "C3": (-0.5, 0.0), "C4": (0.5, 0.0)},
    **{"P7": (-0.81, -0.59), "P8": (0.81, -0.59), "O1": (-0.31, -0.95), "O2": (0.31, -0.95)},
    **{"F7": (-0.81, 0.59), "F8": (0.81, 0.59), "F3": (-0.41, 0.5), "F4": (0.41, 0.5)},
    **{"T7": (-1.0, 0.0), "T8": (1.0, 0.0), "P3": (-0.41, -0.5), "P4": (0.41, -0.5)},
}

BACKGROUND_UV = 9.0
ALPHA_UV = {"open": 4.0, "closed": 24.0}
MU_UV, BETA_UV = 8.0, 3.0
IMAGINED = {  # what is left of the rhythm over (C3, C4)
    "nothing": (1.0, 1.0),
    "left": (1.15, 0.2),
    "right": (0.2, 1.15),
    "both": (0.25, 0.25),
}
BLINK_UV, BLINK_SECONDS = 130.0, 0.32
ELECTRODE_STATES = {"on": (0.0, 1.0), "off": (1.0, 1.0), "loose": (0.0, 60.0)}
OFF_UV = 4e5  # beyond the rails at gain 24 and 12
SECONDS_TO_CHANGE = 0.35

COMMANDS = (
    "'eyes open', 'eyes closed', 'imagine left', 'imagine right', 'imagine both', "
    "'imagine nothing', 'blink', 'electrode N on', 'electrode N off', 'electrode N loose', "
    "'impedance N KOHM' (channels are counted from 1)"
)


class Level:
    """A number that glides to a new value whenever it is told one."""

    def __init__(self, value: float) -> None:
        self._targets = [(0, value, value)]  # from this sample, at this value, towards that one

    def set(self, value: float, sample: int) -> None:
        """Glide to ``value`` from ``sample`` on; what was told for later is forgotten."""
        at = float(self.read(sample, 1)[0])
        self._targets = [known for known in self._targets if known[0] < sample or known[0] == 0]
        self._targets.append((sample, at, value))

    def read(self, first_sample: int, n_times: int) -> NDArray[np.float64]:
        """Return the value at each sample, shape (n_times,)."""
        if len(self._targets) == 1:
            return np.full(n_times, self._targets[0][2])
        samples = np.arange(first_sample, first_sample + n_times)
        out = np.empty(n_times)
        for since, start, target in self._targets:
            later = samples >= since
            seconds = (samples[later] - since) / SFREQ
            out[later] = target + (start - target) * np.exp(-seconds / SECONDS_TO_CHANGE)
        return out


class Subject:
    """A person who sits still and does as told.

    Parameters
    ----------
    seed : int
        Same seed, same person, same recording.
    n_channels : int
        8, or 16 with a Daisy.
    mains : float
        Frequency of the hum, 50 or 60 Hz.
    """

    rewinds = False
    stop_sample = None

    def __init__(self, *, seed: int = 0, n_channels: int = 8, mains: float = 50.0) -> None:
        self.ch_names = tuple(MONTAGE)[:n_channels]
        self._place = np.array([MONTAGE[name] for name in self.ch_names])
        self._seed = seed
        self._background = self._noise(1, n_channels, lambda f: 1 / np.maximum(f, 0.5) ** 0.6)
        self._alpha = self._noise(2, 2, _band(10.0, 0.9))
        self._mu = self._noise(3, 2, _band(11.0, 0.8))
        self._beta = self._noise(4, 2, _band(20.0, 1.5))
        self._white = Noise((seed, 5), n_channels, sfreq=SFREQ)

        neighbours = np.exp(-(self._distances(self._place) ** 2) / (2 * 0.45**2))
        self._spread = neighbours / np.linalg.norm(neighbours, axis=1, keepdims=True)
        self._occipital = self._topography(["O1", "O2"], 0.5)
        self._central = self._topography(["C3", "C4"], 0.3)
        self._frontal = np.exp(-np.maximum(0.95 - self._place[:, 1], 0) / 0.3)

        person = uniform((seed, 6), 0, (6, n_channels))
        self._offset_uv = (person[0] - 0.5) * 5e4
        self._hum_uv = 2 + 6 * person[1]
        self._hum_phase = person[2] - 0.5
        self._drift_hz = 1 / (40 + 160 * person[3])
        self._drift_uv = 100 + 200 * person[4]
        self.impedance_kohm = 3 + 15 * person[5]
        self._mains = mains

        self._eyes = Level(ALPHA_UV["open"])
        self._open = Level(1.0)
        self._sides = (Level(1.0), Level(1.0))
        self._off = [Level(0.0) for _ in self.ch_names]
        self._looseness = [Level(1.0) for _ in self.ch_names]
        self._blinks: list[int] = []

    def read(self, first_sample: int, n_times: int) -> NDArray[np.float64]:
        """Return what is at the electrodes.

        Parameters
        ----------
        first_sample : int
            0 or later, at 250 Hz.
        n_times : int
            How many samples.

        Returns
        -------
        ndarray of float64, shape (n_channels, n_times)
            Microvolts.
        """
        stretch = (first_sample, n_times)
        seconds = np.arange(first_sample, first_sample + n_times) / SFREQ
        data = BACKGROUND_UV * self._spread @ self._background.read(*stretch)
        data += self._occipital @ (self._alpha.read(*stretch) * self._eyes.read(*stretch))
        rhythm = MU_UV * self._mu.read(*stretch) + BETA_UV * self._beta.read(*stretch)
        rhythm *= [side.read(*stretch) for side in self._sides]
        data += self._central @ rhythm
        data += np.outer(self._frontal, self._blinking(*stretch))
        data += 0.3 * self._white.read(*stretch)

        cycles = self._mains * seconds + self._hum_phase[:, np.newaxis]
        hum = np.sin(2 * np.pi * cycles) + 0.12 * np.sin(6 * np.pi * cycles)
        loose = np.array([level.read(*stretch) for level in self._looseness])
        data += self._hum_uv[:, np.newaxis] * loose * hum
        drift = np.sin(2 * np.pi * (self._drift_hz[:, np.newaxis] * seconds))
        data += self._offset_uv[:, np.newaxis] + self._drift_uv[:, np.newaxis] * drift
        off = np.array([level.read(*stretch) for level in self._off])
        return data * (1 - off) + np.copysign(OFF_UV, self._offset_uv)[:, np.newaxis] * off

    def annotations(self, sample: int) -> Sequence[Annotation]:
        """Return nothing: a subject tells no times."""
        del sample
        return ()

    def command(self, text: str, sample: int) -> None:
        """Tell the subject something.

        Parameters
        ----------
        text : str
            One of `COMMANDS`.
        sample : int
            From which sample on.

        Raises
        ------
        InvalidBoardSettingsError
            If the subject does not understand.
        """
        match text.lower().split():
            case ["eyes", ("open" | "closed") as lids]:
                self._eyes.set(ALPHA_UV[lids], sample)
                self._open.set(float(lids == "open"), sample)
            case ["imagine", what] if what in IMAGINED:
                for side, value in zip(self._sides, IMAGINED[what], strict=True):
                    side.set(value, sample)
            case ["blink"]:
                self._blinks.append(sample)
            case ["electrode", channel, state] if state in ELECTRODE_STATES:
                off, loose = ELECTRODE_STATES[state]
                self._off[self._pick(channel, text)].set(off, sample)
                self._looseness[self._pick(channel, text)].set(loose, sample)
            case ["impedance", channel, kohm] if kohm.replace(".", "", 1).isdigit():
                self.impedance_kohm[self._pick(channel, text)] = float(kohm)
            case _:
                raise InvalidBoardSettingsError(
                    f"{text!r} is nothing the subject understands.",
                    suggestion=f"Say one of {COMMANDS}.",
                )

    def _pick(self, channel: str, text: str) -> int:
        if not channel.isdigit() or not 1 <= int(channel) <= len(self.ch_names):
            raise InvalidBoardSettingsError(
                f"{text!r}: there is no channel {channel}.",
                suggestion=f"Channels are 1 to {len(self.ch_names)}.",
            )
        return int(channel) - 1

    def _noise(self, tag: int, n_rows: int, amplitude: Amplitude) -> Noise:
        return Noise((self._seed, tag), n_rows, sfreq=SFREQ, amplitude=amplitude)

    @staticmethod
    def _distances(
        places: NDArray[np.float64], others: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        others = places if others is None else others
        return np.linalg.norm(places[:, np.newaxis] - others[np.newaxis], axis=2)

    def _topography(self, names: list[str], width: float) -> NDArray[np.float64]:
        """Return how much of each source every electrode sees, shape (n_channels, n_sources)."""
        sources = np.array([MONTAGE[name] for name in names])
        return np.exp(-(self._distances(self._place, sources) ** 2) / (2 * width**2))

    def _blinking(self, first_sample: int, n_times: int) -> NDArray[np.float64]:
        """Return the blinks at the forehead, in microvolts, shape (n_times,)."""
        samples = np.arange(first_sample, first_sample + n_times)
        length = round(BLINK_SECONDS * SFREQ)
        first_block = max(first_sample - length, 0) // BLOCK
        last_block = (first_sample + n_times - 1) // BLOCK
        wave = np.zeros(n_times)
        for block in range(first_block, last_block + 1):
            chance, when = uniform((self._seed, 7), block, (2,))
            onset = block * BLOCK + int(when * BLOCK)
            if chance < 0.8 and self._open.read(onset, 1)[0] > 0.5:
                wave += _blink(samples - onset, length)
        for onset in self._blinks:
            wave += _blink(samples - onset, length)
        return BLINK_UV * wave


def _blink(since: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """Return the shape of a blink: up fast, down slower, between 0 and 1."""
    x = np.clip(since / length, 0, 1)
    return np.sin(np.pi * x**0.7) ** 2


def _band(centre: float, width: float) -> Amplitude:
    """Return the amplitudes of a rhythm that waxes and wanes around one frequency."""
    return lambda frequencies: np.exp(-((frequencies - centre) ** 2) / (2 * width**2))
