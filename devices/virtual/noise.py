"""Random numbers that belong to a sample index, so that any stretch can be made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Frequencies in Hz, shape (n_freqs,), to relative amplitudes of the same shape.
Amplitude = Callable[[NDArray[np.float64]], NDArray[np.float64]]

BLOCK = 1024  # samples made at once: 4.1 s at 250 Hz, also the length of the shaping filter


def uniform(key: Sequence[int], block: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers in [0, 1) that depend on ``key`` and ``block`` alone."""
    return np.random.default_rng([*key, block]).random(shape)


class Noise:
    """Gaussian noise with a given spectrum, as a pure function of the sample index.

    Parameters
    ----------
    key : sequence of int
        Same key, same noise.
    n_rows : int
        Independent rows.
    sfreq : float
        Sampling frequency, in Hz.
    amplitude : callable or None
        Takes frequencies in Hz, shape (n_freqs,), and returns relative amplitudes of the same
        shape. The noise is scaled to a standard deviation of 1 whatever they are. None: white.
    """

    def __init__(
        self,
        key: Sequence[int],
        n_rows: int,
        *,
        sfreq: float,
        amplitude: Amplitude | None = None,
    ) -> None:
        self.key = tuple(key)
        self.n_rows = n_rows
        self._response: NDArray[np.complex128] | None = None
        if amplitude is not None:
            wanted = amplitude(np.fft.rfftfreq(2 * BLOCK, 1 / sfreq))
            # A kernel no longer than one block makes overlap-save exact: blocks join seamlessly.
            kernel = np.roll(np.fft.irfft(wanted), BLOCK // 2)[:BLOCK] * np.hanning(BLOCK)
            kernel /= np.sqrt(np.sum(kernel**2))
            self._response = np.fft.rfft(kernel, 2 * BLOCK)
        self._blocks: dict[int, NDArray[np.float64]] = {}

    def read(self, first_sample: int, n_times: int) -> NDArray[np.float64]:
        """Return samples ``first_sample`` to ``first_sample + n_times``.

        Parameters
        ----------
        first_sample : int
            0 or later.
        n_times : int
            How many.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_times)
            Standard deviation 1 in every row.
        """
        out = np.empty((self.n_rows, n_times))
        done = 0
        while done < n_times:
            block, offset = divmod(first_sample + done, BLOCK)
            n = min(BLOCK - offset, n_times - done)
            out[:, done : done + n] = self._block(block)[:, offset : offset + n]
            done += n
        return out

    def _block(self, block: int) -> NDArray[np.float64]:
        if block not in self._blocks:
            for old in [known for known in self._blocks if abs(known - block) > 1]:
                del self._blocks[old]
            self._blocks[block] = self._shape(block)
        return self._blocks[block]

    def _shape(self, block: int) -> NDArray[np.float64]:
        if self._response is None:
            return self._white(block + 1)
        # The filter needs the block before; blocks are counted from 1 so that there always is one.
        two = np.concatenate([self._white(block), self._white(block + 1)], axis=1)
        return np.fft.irfft(np.fft.rfft(two, axis=1) * self._response, axis=1)[:, BLOCK:]

    def _white(self, block: int) -> NDArray[np.float64]:
        return np.random.default_rng([*self.key, block]).standard_normal((self.n_rows, BLOCK))
