"""When was a sample taken? A line through what arrived, never the time of arrival.

Rule of this file: arithmetic only. It reads no clock, so ten minutes of stream are simulated in
a second, and it knows no Django.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

MAX_DRIFT = 0.01
"""Furthest a board may be from its nominal rate. ADS1299 datasheet (SBAS499), section 7.5: the
internal oscillator is within 0.5 % at 25 °C."""

BOARD_CLOCK_DRIFT = 200e-6
"""A board's crystal against the host's clock, while NTP slews the latter."""

N_BUCKETS = 64
FIRST_BUCKET_SECONDS = 0.125
LAST_BUCKET_SECONDS = 1.0
STEP_SECONDS = 0.25
"""Nothing arrives this much before it was sampled: the numbering itself must have jumped."""


def wall_minus_monotonic() -> int:
    """Return the wall clock minus the monotonic clock, in nanoseconds.

    Read in between two readings of the monotonic clock; the tightest of five tries counts.
    """
    tries = []
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        tries.append((after - before, wall - (before + after) // 2))
    return min(tries)[1]


class _Point(NamedTuple):
    """One arrival: sample, nanoseconds, board milliseconds; the first two from the origin."""

    x: float
    y: float
    board_ms: float | None


class StreamClock:
    """Turn sample indices into times, by a robust line under their times of arrival.

    A sample may arrive late, by a scheduler, a radio or a USB latency timer, but never early.
    So the line wanted is the highest one that has no arrival below it, in the sense of the
    smallest sum of distances; that is the edge of the lower convex hull over the mean index
    [1]_. Late arrivals, however late, do not touch it. The stream is cut into buckets that keep
    their least late arrival: 1/8 s long at first, 1 s later, 64 of them; so the fit is there
    from the first samples on, costs the same after hours, and follows an oscillator that warms up.

    The rate is held to within 1 % of the nominal one. In the first eight seconds, when arrivals
    alone say little of it, and where the board has a clock of its own, it is also held to within
    1 ms and 200 ppm of what that clock says of the same stretch.

    Parameters
    ----------
    sfreq : float
        Nominal sampling frequency, in Hz.
    offset_ns : int
        Wall clock minus monotonic clock, fixed for the life of a stream: when NTP steps the wall
        clock, a recording goes on with even steps.

    References
    ----------
    .. [1] S. B. Moon, P. Skelly, D. Towsley, Estimation and removal of clock skew from network
       delay measurements, INFOCOM 1999; the hull is L. Zhang, Z. Liu, C. H. Xia, Clock
       synchronization algorithms for network measurements, INFOCOM 2002.
    """

    def __init__(self, sfreq: float, *, offset_ns: int) -> None:
        self.offset_ns = offset_ns
        self._nominal = 1e9 / sfreq
        self._slope = self._nominal  # nanoseconds a sample
        self._said: tuple[int, int] | None = None
        self._is_empty = True
        self.restart()

    @property
    def sfreq(self) -> float:
        """Rate at which samples really come, in Hz of the host's clock."""
        return 1e9 / self._slope

    @property
    def span_seconds(self) -> float:
        """Seconds of stream that the line stands on."""
        return self._span * self._nominal * 1e-9

    @property
    def is_empty(self) -> bool:
        """Whether nothing was observed yet, so that there is no line."""
        return self._is_empty

    def restart(self) -> None:
        """Forget where the line is but not how steep: the numbering begins anew."""
        self._buckets: list[_Point] = []
        self._best: _Point | None = None
        self._bucket = -1
        self._width = FIRST_BUCKET_SECONDS * 1e9 / self._nominal
        self._span = 0.0
        self._is_renewed = True

    def seed(self, index: int, time_ns: int, *, now_ns: int) -> None:
        """Take over from an earlier clock.

        Parameters
        ----------
        index, time_ns : int
            A sample and the time the earlier clock gave it, since the Unix epoch.
        now_ns : int
            The monotonic clock, now. A wall clock that was set back between the two makes the
            stream younger, but never puts what is stored into the future.
        """
        self.observe(index, min(time_ns - self.offset_ns, now_ns))
        self._said = (index, time_ns)

    def observe(self, index: int, monotonic_ns: int, board_ms: float | None = None) -> None:
        """Note that a sample arrived.

        Parameters
        ----------
        index : int
            Its place in the stream. Of samples that arrive together, the last says most.
        monotonic_ns : int
            When it arrived, on the host's monotonic clock.
        board_ms : float or None
            When it was taken, on the board's own clock, in milliseconds.
        """
        if self._is_renewed:
            self._is_renewed = self._is_empty = False
            self._first, self._origin_ns, self._intercept = index, monotonic_ns, 0.0
        x = float(index - self._first)
        y = float(monotonic_ns - self._origin_ns)
        early = self._intercept + self._slope * x - y
        if early > STEP_SECONDS * 1e9:
            self.restart()
            self.observe(index, monotonic_ns, board_ms)
            return
        if early > 0:
            self._intercept -= early
        self._span = x
        if board_ms is not None and math.isnan(board_ms):
            board_ms = None
        point = _Point(x, y, board_ms)
        bucket = int(x // self._width)
        if self._best is None:
            self._bucket, self._best = bucket, point
        elif bucket != self._bucket:
            self._buckets.append(self._best)
            self._bucket, self._best = bucket, point
            self._make_room()
            self._fit()
        else:
            self._best = self._lower(self._best, point)

    def time_ns(self, index: int) -> int:
        """Return when a sample was taken, in nanoseconds since the Unix epoch.

        Later samples never get earlier times than what was already said: when the line comes
        down, times step by half a period until they have caught up.

        Raises
        ------
        RuntimeError
            If nothing was observed yet.
        """
        x = index - self._require_first()
        fitted = round(self._intercept + self._slope * x) + self._origin_ns + self.offset_ns
        if self._said is None:
            self._said = (index, fitted)
            return fitted
        said_index, said_ns = self._said
        bound = said_ns + round((index - said_index) * self._nominal / 2)
        if index < said_index:
            return min(fitted, bound)
        self._said = (index, max(fitted, bound))
        return self._said[1]

    def index_at(self, monotonic_ns: int) -> float:
        """Return which sample was being taken at a time of the host's monotonic clock.

        Raises
        ------
        RuntimeError
            If nothing was observed yet.
        """
        first = self._require_first()
        return first + (monotonic_ns - self._origin_ns - self._intercept) / self._slope

    def _require_first(self) -> int:
        if self._is_empty:
            raise RuntimeError("This clock has observed no sample yet; observe() comes first.")
        return self._first

    def _lower(self, one: _Point, other: _Point) -> _Point:
        return other if other.y - one.y < self._slope * (other.x - one.x) else one

    def _make_room(self) -> None:
        if len(self._buckets) <= N_BUCKETS:
            return
        if self._width * self._nominal * 1e-9 >= LAST_BUCKET_SECONDS:
            del self._buckets[0]
            return
        self._width *= 2
        self._bucket //= 2
        halves = self._buckets[1:]  # an odd one out goes; what stays is merged in pairs
        self._buckets = [self._lower(*halves[i : i + 2]) for i in range(0, len(halves), 2)]

    def _fit(self) -> None:
        points = [*self._buckets, self._best] if self._best else self._buckets
        hull: list[_Point] = []
        for point in points:
            while len(hull) > 1 and (
                (hull[-1].y - hull[-2].y) * (point.x - hull[-1].x)
                >= (point.y - hull[-1].y) * (hull[-1].x - hull[-2].x)
            ):
                hull.pop()
            hull.append(point)
        middle = sum(point.x for point in points) / len(points)
        edge = next(i for i in range(1, len(hull)) if hull[i].x >= middle)
        left, right = hull[edge - 1], hull[edge]
        lowest, highest = self._slope_bounds(points)
        slope = (right.y - left.y) / (right.x - left.x)
        self._slope = min(max(slope, lowest), highest)
        self._intercept = min(point.y - self._slope * point.x for point in hull)

    def _slope_bounds(self, points: list[_Point]) -> tuple[float, float]:
        lowest, highest = self._nominal * (1 - MAX_DRIFT), self._nominal * (1 + MAX_DRIFT)
        is_young = self._width * self._nominal * 1e-9 < 2 * FIRST_BUCKET_SECONDS
        stamped = [point for point in points if point.board_ms is not None] if is_young else []
        if len(stamped) < 2:
            return lowest, highest
        first, last = stamped[0], stamped[-1]
        n_times = last.x - first.x
        slope = (last.board_ms - first.board_ms) * 1e6 / n_times  # type: ignore[operator]
        slack = 1e6 / n_times + BOARD_CLOCK_DRIFT * slope
        if not lowest <= slope <= highest:  # the board's clock began anew, or a byte was wrong
            return lowest, highest
        return max(lowest, slope - slack), min(highest, slope + slack)
