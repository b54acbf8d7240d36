"""Clocks of the virtual board, told by the host's monotonic one."""

from __future__ import annotations


class Clock:
    """Counts ticks at a steady rate, which may be changed without a jump.

    Parameters
    ----------
    start_ns : int
        When it showed 0, on the monotonic clock.
    rate : float
        Ticks per second.
    """

    def __init__(self, start_ns: int, rate: float) -> None:
        self._at_ns = start_ns
        self._at_tick = 0.0
        self._period_ns = 1e9 / rate

    def ticks(self, time_ns: int) -> float:
        """Return what it shows at a moment."""
        return self._at_tick + (time_ns - self._at_ns) / self._period_ns

    def time_ns(self, tick: float) -> int:
        """Return when it shows ``tick``."""
        return self._at_ns + round((tick - self._at_tick) * self._period_ns)

    def set_rate(self, rate: float, tick: float) -> None:
        """Run at another rate from ``tick`` on."""
        self._at_ns, self._at_tick = self.time_ns(tick), tick
        self._period_ns = 1e9 / rate
