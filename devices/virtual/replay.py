"""A recording replayed through the virtual board's converter.

What a perfect receiver gets is known beforehand (`Recording.expected_counts`), so a test can
compare whatever came out at the far end of the lab with the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import resample_poly

from devices.errors import InvalidBoardSettingsError
from devices.virtual.ads1299 import SFREQ, to_counts
from devices.virtual.sources import Annotation

AT_END = ("loop", "flat", "stop")
MOTOR_PICKS = ("FC3", "FCz", "FC4", "C3", "Cz", "C4", "CP3", "CP4")
MICROVOLTS = {"uv": 1.0, "µv": 1.0, "mv": 1e3, "v": 1e6, "nv": 1e-3, "": 1.0}


class Recording:
    """An EDF or BDF file as the source of a virtual board.

    Parameters
    ----------
    path : Path or str
        The file.
    ch_names : sequence of str, or None
        Which of its channels go to the board's channels 1, 2, …; trailing dots and case do not
        matter. None: eight channels over the motor cortex where the file has them, else its first.
    n_channels : int
        Channels of the board. Those that nothing is replayed on have 0 µV at their inputs.
    at_end : {"loop", "flat", "stop"}
        After the last sample: begin again, 0 µV for ever, or make the board stop streaming.

    Attributes
    ----------
    data_uv : ndarray of float64, shape (n_channels, n_times)
        Microvolts at 250 Hz.
    marks : list of Annotation
        The file's annotations. Their texts, sorted, have the values ``0``, ``1``, … as characters,
        so T0, T1 and T2 become "0", "1" and "2".

    Raises
    ------
    InvalidBoardSettingsError
        If the file cannot be read, or has no such channel.

    Notes
    -----
    Other sampling frequencies than 250 Hz are resampled by a polyphase filter
    (:func:`scipy.signal.resample_poly`); the line through the ends is taken off before, so that
    the filter does not ring there.
    """

    rewinds = True

    def __init__(
        self,
        path: Path | str,
        *,
        ch_names: Sequence[str] | None = None,
        n_channels: int = 8,
        at_end: str = "loop",
    ) -> None:
        edf = _open(Path(path))
        signals = {_plain(label): label for label in reversed(edf.labels)}
        picks = _choose(ch_names, signals, n_channels, Path(path))
        rows = [_row(edf.get_signal(signals[_plain(name)])) for name in picks]
        n_times = max(row.size for row in rows)
        self.data_uv = np.zeros((n_channels, n_times))
        for i, row in enumerate(rows):
            self.data_uv[i, : row.size] = row
        self.ch_names = tuple(picks)
        self.at_end = at_end
        self.stop_sample = n_times if at_end == "stop" else None
        self.impedance_kohm = np.full(n_channels, 5.0)
        self.marks = _marks(edf.annotations)
        self._marks_at: dict[int, list[Annotation]] = defaultdict(list)
        for mark in self.marks:
            self._marks_at[mark.sample].append(mark)

    @property
    def n_times(self) -> int:
        """Samples at 250 Hz."""
        return int(self.data_uv.shape[1])

    def read(self, first_sample: int, n_times: int) -> NDArray[np.float64]:
        """Return microvolts, shape (n_channels, n_times)."""
        samples = np.arange(first_sample, first_sample + n_times)
        data = self.data_uv[:, samples % self.n_times]
        if self.at_end != "loop":
            data[:, samples >= self.n_times] = 0.0
        return data

    def expected_counts(self, gain: ArrayLike = 24) -> NDArray[np.int32]:
        """Return the counts that the board makes of the whole recording.

        Parameters
        ----------
        gain : array_like, shape () or (n_channels,)
            Gain of all channels, or of each.

        Returns
        -------
        ndarray of int32, shape (n_channels, n_times)
            What a board without a Daisy sends. A Daisy board sends means of two samples in a row.
        """
        gains = np.asarray(gain, dtype=np.float64)
        return to_counts(self.data_uv, gains[..., np.newaxis] if gains.ndim else gains)

    def annotations(self, sample: int) -> Sequence[Annotation]:
        """Return the marks at one sample."""
        if self.at_end == "loop":
            sample %= self.n_times
        return self._marks_at.get(sample, ())

    def command(self, text: str, sample: int) -> None:
        """Refuse: a recording does not listen."""
        del sample
        raise InvalidBoardSettingsError(
            f"{text!r} was said to a recording, which does not listen.",
            suggestion="Leave --replay away to have a subject that does.",
        )


def _open(path: Path) -> edfio.Edf | edfio.Bdf:
    try:
        if path.suffix.lower() == ".bdf":
            return edfio.read_bdf(path)
        return edfio.read_edf(path, lazy_load_data=True)
    except (OSError, ValueError) as error:
        raise InvalidBoardSettingsError(
            f"{path} cannot be replayed: {error}",
            suggestion="Give --replay the path of an EDF, EDF+ or BDF file.",
        ) from error


def _plain(label: str) -> str:
    return label.strip().rstrip(".").lower()


def _choose(
    wanted: Sequence[str] | None, signals: dict[str, str], n_channels: int, path: Path
) -> list[str]:
    """Return the names of the channels to replay, as they were asked for."""
    if wanted is None:
        motor = [name for name in MOTOR_PICKS if _plain(name) in signals]
        everything = [label.strip().rstrip(".") for label in reversed(signals.values())]
        wanted = motor if len(motor) == n_channels else everything[:n_channels]
    missing = [name for name in wanted if _plain(name) not in signals]
    if missing or not wanted:
        raise InvalidBoardSettingsError(
            f"{path} has no channel {', '.join(missing)}.",
            suggestion=f"It has {', '.join(sorted(signals.values()))}.",
        )
    if len(wanted) > n_channels:
        raise InvalidBoardSettingsError(
            f"{len(wanted)} channels were asked for, and the board has {n_channels}.",
            suggestion="Name fewer channels, or add --daisy.",
        )
    return list(wanted)


def _row(signal: edfio.EdfSignal | edfio.BdfSignal) -> NDArray[np.float64]:
    """Return one channel in microvolts at 250 Hz."""
    unit = signal.physical_dimension.strip().lower()
    if unit not in MICROVOLTS:
        raise InvalidBoardSettingsError(
            f"Channel {signal.label} is in {signal.physical_dimension}, which is no voltage.",
            suggestion="Choose EEG channels with --replay-channels.",
        )
    data = np.asarray(signal.data, dtype=np.float64) * MICROVOLTS[unit]
    ratio = Fraction(SFREQ / signal.sampling_frequency).limit_denominator(10_000)
    if ratio == 1:
        return data
    return resample_poly(data, ratio.numerator, ratio.denominator, padtype="line")


def _marks(annotations: Sequence[edfio.EdfAnnotation]) -> list[Annotation]:
    texts = sorted({annotation.text for annotation in annotations})
    value = {text: (ord("0") + i) & 0xFF for i, text in enumerate(texts)}
    return [Annotation(round(one.onset * SFREQ), one.text, value[one.text]) for one in annotations]
