"""The machine that all filters are made of: second-order sections with a memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import sosfilt, sosfilt_zi

# Narrowest band, and lowest edge, as a share of the sampling frequency: 0.01 Hz at 250 Hz, from
# where slow cortical potentials are recorded. Sharper filters take hours to settle, and their poles
# lie so close to the unit circle that float64 cannot hold them apart.
SHARPEST = 1 / 25_000


class SosFilter:
    """A causal filter over live data; chunks join without a seam.

    It starts as if each channel's first sample had been there for ever, so the offset of an
    electrode (often 100 mV, where EEG has 50 µV) does not ring through it.

    Parameters
    ----------
    sos : array_like, shape (n_sections, 6)
        Second-order sections, as SciPy's filter design functions return them.

    Attributes
    ----------
    sos : ndarray of float64, shape (n_sections, 6)
        The same, read-only.

    Raises
    ------
    ValueError
        If the filter is unstable: a pole lies on or outside the unit circle.
    """

    def __init__(self, sos: ArrayLike) -> None:
        # sosfilt takes no read-only sections, so it gets these and everybody else a view of them.
        self._sections: NDArray[np.float64] = np.array(sos, dtype=np.float64, ndmin=2)
        self.sos: NDArray[np.float64] = self._sections.view()
        self.sos.flags.writeable = False
        if self._slowest_pole() >= 1:
            raise ValueError("The filter is unstable: a pole lies on or outside the unit circle")
        # (n_sections, 1, 2): the memory that a constant input of 1 leaves behind.
        self._steady = sosfilt_zi(self._sections)[:, np.newaxis, :]
        self._memory: NDArray[np.float64] | None = None

    def __call__(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter the next samples.

        Parameters
        ----------
        data : ndarray of float32, shape (n_channels, n_times)
            Microvolts, finite, following what was filtered before. It is left as it is.

        Returns
        -------
        ndarray of float32, shape (n_channels, n_times)
            Microvolts.
        """
        if data.shape[1] == 0:
            return np.empty_like(data, dtype=np.float32)
        if self._memory is None:
            self._memory = self._steady * data[np.newaxis, :, :1].astype(np.float64)
        filtered, self._memory = sosfilt(
            self._sections, data.astype(np.float64), axis=-1, zi=self._memory
        )
        return filtered.astype(np.float32)

    def reset(self) -> None:
        """Forget what came before: call it at a gap, where the signal goes on elsewhere."""
        self._memory = None

    def followed_by(self, *others: SosFilter) -> SosFilter:
        """Return a new filter, with an empty memory, that does this and then the others."""
        return SosFilter(np.concatenate([self.sos, *(other.sos for other in others)]))

    def settle_samples(self, tolerance_uv: float, amplitude_uv: float) -> int:
        """Say how far back a replay has to start to end up where the live filter is.

        Started that many samples early, the filter differs from one that has run all along by no
        more than ``tolerance_uv``, whatever the signal did before.

        Parameters
        ----------
        tolerance_uv : float
            Largest difference that is allowed, in microvolts.
        amplitude_uv : float
            How far apart any two samples of the input can be, in microvolts.

        Returns
        -------
        int
            Number of samples.

        Notes
        -----
        A filter started at sample s takes the samples before s for copies of sample s. They differ
        from the true ones by at most ``amplitude_uv`` each, and sample s - k weighs h[n + k] in
        the output n samples later, so the difference is at most ``amplitude_uv`` times the sum of
        abs(h) from n on. The impulse response h dies out like the power of its slowest pole.
        """
        if amplitude_uv <= tolerance_uv:
            return 0
        slowest = self._slowest_pole()
        if slowest == 0:
            return 2 * len(self.sos)
        # Until a thousandth of what matters is left, and as long again for poles that coincide.
        length = 2 * math.ceil(math.log(tolerance_uv / amplitude_uv / 1e3) / math.log(slowest))
        impulse = np.zeros(length + 2 * len(self.sos))
        impulse[0] = 1.0
        response = np.abs(sosfilt(self._sections, impulse))
        tail = np.cumsum(response[::-1])[::-1]
        return int(np.count_nonzero(tail * amplitude_uv > tolerance_uv))

    def _slowest_pole(self) -> float:
        """Return the largest distance of a pole from the origin: 1 never dies out."""
        # Roots of z² + a1 z + a2 in closed form.
        a1, a2 = self.sos[:, 4], self.sos[:, 5]
        root = np.sqrt((a1 * a1 - 4 * a2).astype(np.complex128))
        return float(np.max(np.abs([(-a1 + root) / 2, (-a1 - root) / 2])))
