"""How good a signal is: one word a channel, for every whole second of it.

Judged is the raw signal, before any filter, because that is what is stored. From each second a
straight line and the mains frequencies are taken out first: drift and hum are in every raw
recording and a filter removes them, so neither makes a second an artefact unless it is extreme.
What is left is judged by its peak-to-peak amplitude, in microvolts:

=========  ======================  ========  =========
word       peak to peak            reason    artefact
=========  ======================  ========  =========
excellent  below 50                          no
good       below 100                         no
fair       below 200               noisy     yes
poor       below 500               noisy     yes
bad        from 500                noisy     yes
poor       hum of 1000 or more     hum       yes
bad        below 1 (whole signal)  flat      yes
bad        within 10 % of a rail   railed    yes
=========  ======================  ========  =========

The limits for noisy (100 µV) and flat (1 µV) are those at which MNE-Python's documentation rejects
epochs [1]_; OpenBCI's GUI calls a channel railed from 90 % of the converter's range [2]_. The other
steps are ours: a blink is 100 to 500 µV, and an electrode that hangs in the air picks up millivolts
of hum.

Rule of this file: no Django.

References
----------
.. [1] A. Gramfort et al., MEG and EEG data analysis with MNE-Python, Frontiers in Neuroscience 7
   (2013), 267; the tutorial on rejecting bad data spans.
.. [2] OpenBCI_GUI, the limits of the "Railed" label of a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurascale.core.chunk import Chunk

VERDICTS = ("excellent", "good", "fair", "poor", "bad")  # from best to worst
STEPS_UV = (50.0, 100.0, 200.0, 500.0)  # where one word ends and the next begins
NOISY_UV = 100.0
FLAT_UV = 1.0
HUM_UV = 1000.0
RAILED = 0.9
FULL_SCALE_COUNTS = 2**23 - 1  # all boards we know have converters of 24 bits
MAINS_HZ = (50.0, 60.0, 100.0, 120.0)


@dataclass(frozen=True, slots=True)
class Window:
    """What was found in one second of one stream.

    Parameters
    ----------
    first_sample : int
        Index of its first sample.
    n_times : int
        Its length, in samples.
    verdicts : tuple of str
        One of `VERDICTS` a channel.
    has_artifact : bool
        Whether any channel was noisy, flat, railed or full of hum.
    reasons : tuple of str or None
        Why, a channel: ``"railed"``, ``"flat"``, ``"hum"``, ``"noisy"``, or None for good signal.
    """

    first_sample: int
    n_times: int
    verdicts: tuple[str, ...]
    has_artifact: bool
    reasons: tuple[str | None, ...] = ()


class QualityMeter:
    """Cut a stream into seconds and judge each; a second that a gap cuts short is not judged.

    Parameters
    ----------
    n_channels : int
        Number of channels of the stream.
    sfreq : float
        Sampling frequency, in Hz.
    scale_uv : array_like, shape (n_channels,), optional
        Microvolts per count of the board's converter; without it nothing is called railed.
    """

    def __init__(self, n_channels: int, sfreq: float, scale_uv: ArrayLike | None = None) -> None:
        self.sfreq = sfreq
        self.full_scale_uv = (
            None if scale_uv is None else np.asarray(scale_uv, np.float64) * FULL_SCALE_COUNTS
        )
        self._second = np.empty((n_channels, max(round(sfreq), 2)), dtype=np.float32)
        self._filled = 0
        self._next_sample: int | None = None

    def feed(self, chunk: Chunk) -> list[Window]:
        """Take the next chunk and return the seconds it completed, usually none.

        Parameters
        ----------
        chunk : Chunk
            Following the one before, or after a gap.

        Returns
        -------
        list of Window
            In order.
        """
        if chunk.first_sample != self._next_sample:
            self._filled = 0
        self._next_sample = chunk.stop_sample
        windows = []
        length = self._second.shape[1]
        taken = 0
        while taken < chunk.n_times:
            size = min(length - self._filled, chunk.n_times - taken)
            part = chunk.data[:, taken : taken + size]
            self._second[:, self._filled : self._filled + size] = part
            self._filled += size
            taken += size
            if self._filled == length:
                windows.append(self._judge(chunk.first_sample + taken - length))
                self._filled = 0
        return windows

    def _judge(self, first_sample: int) -> Window:
        judged = judge(self._second, sfreq=self.sfreq, full_scale_uv=self.full_scale_uv)
        verdicts, reasons = zip(*judged, strict=True)
        return Window(
            first_sample=first_sample,
            n_times=self._second.shape[1],
            verdicts=verdicts,
            has_artifact=any(reason is not None for reason in reasons),
            reasons=reasons,
        )


def judge(
    data: NDArray[np.float32], *, sfreq: float, full_scale_uv: NDArray[np.float64] | None = None
) -> list[tuple[str, str | None]]:
    """Judge one window of raw signal.

    Parameters
    ----------
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts, unfiltered.
    sfreq : float
        Sampling frequency, in Hz.
    full_scale_uv : ndarray of float64, shape (n_channels,), optional
        Largest value that each channel's converter can give.

    Returns
    -------
    list of (str, str or None)
        Verdict and reason, one a channel.
    """
    raw = data.astype(np.float64)
    drift, mains = _nuisances(raw.shape[1], sfreq)
    hum = raw @ mains @ mains.T  # drift is orthogonal to it
    amplitude = _peak_to_peak(raw - raw @ drift @ drift.T - hum)
    words = np.digitize(amplitude, STEPS_UV).tolist()
    noisy = (amplitude >= NOISY_UV).tolist()
    flat = (_peak_to_peak(raw) < FLAT_UV).tolist()
    humming = (_peak_to_peak(hum) >= HUM_UV).tolist()
    railed = [False] * len(words)
    if full_scale_uv is not None:
        railed = (np.abs(raw).max(axis=1) >= RAILED * full_scale_uv).tolist()
    judged: list[tuple[str, str | None]] = []
    for channel, word in enumerate(words):
        if railed[channel]:
            judged.append(("bad", "railed"))
        elif flat[channel]:
            judged.append(("bad", "flat"))
        elif humming[channel]:
            judged.append((VERDICTS[max(word, VERDICTS.index("poor"))], "hum"))
        elif noisy[channel]:
            judged.append((VERDICTS[word], "noisy"))
        else:
            judged.append((VERDICTS[word], None))
    return judged


def _peak_to_peak(data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the range of each channel."""
    ranges: NDArray[np.float64] = data.max(axis=1) - data.min(axis=1)
    return ranges


def overall(verdicts: Iterable[str] | Sequence[str]) -> str | None:
    """Return the verdict that at least half of all verdicts reach or surpass.

    Parameters
    ----------
    verdicts : iterable of str
        Of `VERDICTS`: the channels of a window, or those of many windows.

    Returns
    -------
    str or None
        Their median (the worse of two middle ones); None if there are no verdicts.
    """
    ranks = sorted(VERDICTS.index(verdict) for verdict in verdicts)
    return VERDICTS[ranks[len(ranks) // 2]] if ranks else None


@lru_cache(maxsize=16)
def _nuisances(n_times: int, sfreq: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return orthonormal bases of straight lines and of mains hum, shapes (n_times, …)."""
    seconds = np.arange(n_times) / sfreq
    lines = np.stack([np.ones(n_times), seconds], axis=1)
    angles = [2 * np.pi * f * seconds for f in MAINS_HZ if f < sfreq / 2]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    basis, _ = np.linalg.qr(np.column_stack([lines, *waves]))
    return basis[:, :2], basis[:, 2:]
