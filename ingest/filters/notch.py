"""Remove mains hum."""

from __future__ import annotations

from scipy.signal import iirnotch, tf2sos

from ingest.errors import InvalidFilterError
from ingest.filters import filters
from ingest.filters.sos import SHARPEST, SosFilter


@filters.register("notch", example={"frequency": 60.0})
def notch(*, sfreq: float, frequency: float, quality: float = 30.0) -> SosFilter:
    """Remove one frequency, such as mains hum, from a live stream.

    Parameters
    ----------
    sfreq : float
        Sampling frequency of the stream, in Hz.
    frequency : float
        Frequency to remove, in Hz.
    quality : float
        Centre frequency over -3 dB width: 30 at 60 Hz removes a band 2 Hz wide.

    Returns
    -------
    SosFilter
        Takes data of shape (n_channels, n_times) in microvolts and returns the same shape and unit.
        It remembers where it stopped, so chunks join without a seam.

    Raises
    ------
    InvalidFilterError
        If ``frequency`` is not between 0 and ``sfreq / 2``, both excluded; or if ``quality`` is
        below 0.5, or makes the notch narrower than ``sfreq / 25000``.

    References
    ----------
    .. [1] S. J. Orfanidis, Introduction to Signal Processing, Prentice-Hall, 1996: the design
       behind :func:`scipy.signal.iirnotch`.
    """
    # SciPy takes the Nyquist frequency without a word and returns a filter that is none.
    if not 0 < frequency < sfreq / 2:
        raise InvalidFilterError(
            f"A notch at {frequency:g} Hz was asked for; at a sampling frequency of {sfreq:g} Hz "
            f"it must lie between 0 and {sfreq / 2:g} Hz, both excluded"
        )
    sharpest = frequency / (SHARPEST * sfreq)
    if not 0.5 <= quality <= sharpest:
        raise InvalidFilterError(
            f"quality of a notch at {frequency:g} Hz must be 0.5 to {sharpest:g}, not {quality:g}"
        )
    return SosFilter(tf2sos(*iirnotch(frequency, quality, fs=sfreq)))
