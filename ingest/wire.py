"""Times and frequencies as the API writes them.

Rule of this file: no Django.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # well within what 64 bits of nanoseconds can say
LATEST_NS = (LATEST - EPOCH) // timedelta(microseconds=1) * 1000

RANGE = f"between {EPOCH.year} and {LATEST.year}"


def to_ns(text: Any) -> int:
    """Return what an ISO 8601 time with zone means, in nanoseconds since the Unix epoch.

    Raises
    ------
    ValueError
        If it is no such time, or not between 1970 and 2200; the message says what is expected.
    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"Must be ISO 8601 with zone, such as 2025-07-26T10:30:00Z, not {text!r}.")
    if not EPOCH <= moment < LATEST:
        where = "past" if moment < EPOCH else "future"
        raise ValueError(f"Lies too far in the {where}: {text!r} is not {RANGE}.")
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def to_iso(time_ns: int | None) -> str | None:
    """Return nanoseconds since the Unix epoch as ISO 8601, to the microsecond; None for None."""
    if time_ns is None:
        return None
    return (EPOCH + timedelta(microseconds=time_ns // 1000)).isoformat().replace("+00:00", "Z")


def hertz(sfreq: float) -> float | int:
    """Return a frequency as the seed document writes it: 250, not 250.0."""
    return int(sfreq) if float(sfreq).is_integer() else sfreq
