"""A stretch of consecutive samples on its way from a board to disk, browser and model.

Rule of this file: a chunk is a value. It opens nothing, stores nothing and knows no Django.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class GapReason(StrEnum):
    """Why samples are missing: a closed vocabulary, stored with the gap and shown to users."""

    LOST = "lost"  # frames the board sent and that did not arrive whole
    UNPLUGGED = "unplugged"  # the port went away and came back
    SILENT = "silent"  # the port stayed, the board said nothing
    RESTARTED = "restarted"  # the board began anew: the length is an estimate from the clock
    NOT_LISTENING = "not_listening"  # our own process was down
    EXTERNAL = "external"  # a program that ingests data left them out
    WITHDRAWN = "withdrawn"  # they were there, and were deleted because their subject withdrew


@dataclass(frozen=True, slots=True)
class Marker:
    """An event that a board put into its own stream.

    Parameters
    ----------
    sample : int
        Index in the stream of the sample that carries the marker.
    value : int
        What the board sent with it.
    """

    sample: int
    value: int


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive samples of one stream, none missing inside.

    Parameters
    ----------
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts.
    sfreq : float
        Nominal sampling frequency, in Hz.
    first_sample : int
        Index in the stream of ``data[:, 0]``. Samples that the board sent and that never arrived
        are counted too, so a jump between two chunks is a gap.
    time_ns : int
        When ``data[:, 0]`` was sampled, in nanoseconds since the Unix epoch, on the fitted clock.
    aux : ndarray of float32, shape (n_aux, n_times), or None
        Accelerometer (g) and analog inputs (V), in the order of the board's ``aux_names``;
        NaN where the board reported nothing for that sample.
    gap : GapReason or None
        Why samples between the previous chunk and this one are missing, if any are.
    markers : tuple of Marker
        Events the board itself put into these samples.
    """

    data: NDArray[np.float32]
    sfreq: float
    first_sample: int
    time_ns: int
    aux: NDArray[np.float32] | None = None
    gap: GapReason | None = None
    markers: tuple[Marker, ...] = ()

    @property
    def n_channels(self) -> int:
        """Number of rows of ``data``."""
        return int(self.data.shape[0])

    @property
    def n_times(self) -> int:
        """Number of samples."""
        return int(self.data.shape[1])

    @property
    def stop_sample(self) -> int:
        """Index of the first sample after this chunk."""
        return self.first_sample + self.n_times
