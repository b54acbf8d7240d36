"""Keep one band of frequencies."""

from __future__ import annotations

from scipy.signal import butter

from ingest.errors import InvalidFilterError
from ingest.filters import filters
from ingest.filters.sos import SHARPEST, SosFilter

MAX_ORDER = 8


@filters.register("bandpass", example={"low": 1.0, "high": 50.0})
def bandpass(*, sfreq: float, low: float, high: float, order: int = 4) -> SosFilter:
    """Keep what lies between two frequencies of a live stream.

    Parameters
    ----------
    sfreq : float
        Sampling frequency of the stream, in Hz.
    low, high : float
        Edges of the band, in Hz, where the amplitude has fallen by 3 dB.
    order : int
        Steepness: outside, the amplitude falls by 6 dB times ``order`` an octave. A steeper
        filter rings longer and delays more.

    Returns
    -------
    SosFilter
        Takes data of shape (n_channels, n_times) in microvolts and returns the same shape and unit.
        It remembers where it stopped, so chunks join without a seam.

    Raises
    ------
    InvalidFilterError
        Unless ``low`` and ``high - low`` are at least ``sfreq / 25000``, ``high`` is below
        ``sfreq / 2``, and ``order`` is a whole number from 1 to 8.

    References
    ----------
    .. [1] S. Butterworth, On the theory of filter amplifiers, Experimental Wireless and the
       Wireless Engineer 7 (1930), 536-541: the flat passband behind :func:`scipy.signal.butter`.
    """
    finest = SHARPEST * sfreq
    if not (finest <= low <= high - finest and high < sfreq / 2):
        raise InvalidFilterError(
            f"A band from {low:g} to {high:g} Hz was asked for; at a sampling frequency of "
            f"{sfreq:g} Hz it must begin at {finest:g} Hz or above, be at least as wide, and end "
            f"below {sfreq / 2:g} Hz"
        )
    if order != int(order) or not 1 <= order <= MAX_ORDER:
        raise InvalidFilterError(f"order must be a whole number 1 to {MAX_ORDER}, not {order:g}")
    return SosFilter(butter(int(order), [low, high], btype="bandpass", fs=sfreq, output="sos"))
