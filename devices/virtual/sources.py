"""What is at the electrodes of a virtual board: a subject, or a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Annotation:
    """Something that happened at a sample, told by the source.

    Parameters
    ----------
    sample : int
        Place in the source, at 250 Hz.
    text : str
        What happened.
    value : int
        The character that a board in marker mode puts into the frame of that sample.
    """

    sample: int
    text: str
    value: int


class Source(Protocol):
    """Gives the microvolts at the electrodes for any stretch of samples.

    Attributes
    ----------
    ch_names : tuple of str
        Where the electrodes are.
    rewinds : bool
        Begins anew when the board is told to stream.
    stop_sample : int or None
        The board stops streaming there; None: never.
    impedance_kohm : ndarray of float64, shape (n_channels,)
        Of the electrodes.
    """

    ch_names: tuple[str, ...]
    rewinds: bool
    stop_sample: int | None
    impedance_kohm: NDArray[np.float64]

    def read(self, first_sample: int, n_times: int) -> NDArray[np.float64]:
        """Return microvolts, shape (n_channels, n_times)."""

    def annotations(self, sample: int) -> Sequence[Annotation]:
        """Return what happens at that sample."""

    def command(self, text: str, sample: int) -> None:
        """Do what a line of text says, from ``sample`` on.

        Raises
        ------
        InvalidBoardSettingsError
            If the source does not understand it.
        """
