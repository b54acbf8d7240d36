"""From a board's small wrapping counter to a place in the stream.

Rule of this file: arithmetic only. No port, no clock of its own, no Django.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from neurascale.core.clock import StreamClock

YOUNG_SECONDS = 2.0
"""Until then the clock's line may still be too late, and its rate is not known."""

TIGHT_SECONDS = 0.02
"""How long before the clock's word a frame may arrive and be believed on its own."""

SURE_SECONDS = 0.1
"""How far from the clock's word two frames have to be to say that the board began anew."""

BURST_SECONDS = 0.45
"""Frames are held back this long and no longer, unless all say so that arrive together."""

NEXT_SECONDS = 0.05
"""How close to the clock's word a loss has to be that the counter does not show at all."""

LATE_SECONDS = 2.0
"""When frames have been a turn late for so long, they are not late: a turn was lost."""

FIRST_COUNTERS = 16
"""A board that began anew shows one of these, unless its first frames were lost."""

MILLIS_WRAP = 2.0**32
"""The Cyton's board time is an unsigned 32-bit number of milliseconds."""


class _Numbering(Enum):
    """Where the next index comes from."""

    FRESH = auto()  # a new stream: from the counter itself
    RUNNING = auto()  # from the counter, and the clock for what the counter cannot tell
    RENEWED = auto()  # the board began anew: from the clock


class _Doubt(Enum):
    """What the clocks think of an index that the counter allows."""

    NONE = auto()
    SOME = auto()  # not believed of one frame alone
    MUCH = auto()  # two frames that say so come from a board that began anew


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where frames belong.

    Parameters
    ----------
    index : ndarray of int64, shape (n_kept,)
        Place in the stream of each kept frame, strictly increasing.
    keep : ndarray of intp, shape (n_kept,)
        Columns of the frames that were asked about; the others contradict clock and neighbours.
    is_restart : bool
        The board began anew: the distance to what came before is an estimate from the clock.
    """

    index: NDArray[np.int64]
    keep: NDArray[np.intp]
    is_restart: bool = False


NOTHING = Placed(np.empty(0, np.int64), np.empty(0, np.intp))


class CounterUnwrapper:
    """Give every frame its place in the stream, counting what was lost, however long.

    A counter that wraps after 256 frames says how many were lost modulo 256. The host's clock
    says the rest: of the indices that fit the counter, the one is taken that was being sampled
    when the frame arrived or up to three quarters of a wrap before, so a burst of late frames is
    no loss of 256. Where frames carry the board's own clock, that is asked instead: it knows
    nothing of delays. Frames that arrive together are placed by the last of them, which waited
    least. Samples are numbered so that index and counter agree modulo 256 from the first frame
    on: frames lost between the start command and the first arrival are counted too.

    A frame whose counter contradicts the clock is left out: a corrupt counter costs that frame
    only. When the next frame contradicts the clock in the same way, the board has begun anew; then
    the counter says nothing about what is missing and the clock alone decides.

    Parameters
    ----------
    clock : StreamClock
        Told of every batch that was placed.
    modulus : int
        `devices.boards.Board.counter_modulus`.
    phase : int
        Index minus counter, modulo ``modulus``, of a stream to be continued.
    next_index : int
        First index that is free.
    """

    def __init__(
        self, clock: StreamClock, *, modulus: int, phase: int = 0, next_index: int = 0
    ) -> None:
        self.clock = clock
        self.modulus = modulus
        self.phase = phase % modulus
        self.next_index = next_index
        self.n_rejected = 0
        self._sfreq = clock.sfreq
        self._numbering = _Numbering.FRESH if clock.is_empty else _Numbering.RUNNING
        self._started_ns: int | None = None
        self._may_have_restarted = False
        self._suspect: int | None = None  # what would follow a frame that was left out
        self._n_refused = 0  # in a row
        self._stamped: tuple[int, float] | None = None  # index, board_ms
        self._arrival_ns: int | None = None
        self._late_since_ns: int | None = None

    def begin(self, monotonic_ns: int) -> None:
        """Note that a new stream was started then; its samples count from 0."""
        self._numbering = _Numbering.FRESH
        self._started_ns = monotonic_ns

    def renew(self) -> None:
        """Note that the board was started anew: the next frame's place is the clock's to say."""
        self._numbering = _Numbering.RENEWED

    def suspect_restart(self) -> None:
        """Note that the board may have begun anew: a loss has to fit the clock closely."""
        self._may_have_restarted = True

    def place(
        self, counter: NDArray[np.int64], monotonic_ns: int, board_ms: NDArray[np.float64]
    ) -> Placed:
        """Place frames that arrived together.

        Parameters
        ----------
        counter : ndarray of int64, shape (n_times,)
            The board's counter, modulo ``modulus``.
        monotonic_ns : int
            When they arrived.
        board_ms : ndarray of float64, shape (n_times,)
            The board's clock in milliseconds; NaN where a frame carries none.

        Returns
        -------
        Placed
            The frames that have a place.
        """
        if self._simply_goes_on(counter, monotonic_ns):
            index = np.arange(self.next_index, self.next_index + counter.size)
            self._late_since_ns = None
            return self._accept(index, np.arange(counter.size), board_ms, monotonic_ns)
        keep, steps = self._chain(counter)
        found = None
        while keep.size and found is None:
            found = self._find(counter[keep], steps, monotonic_ns, board_ms[keep])
            if found is None:
                keep, steps = keep[:-1], steps[:-1]
        if found is None:
            self.n_rejected += counter.size
            self._n_refused += counter.size
            if self._n_refused > self.modulus and not self.clock.is_empty:
                self.renew()  # whatever the reason, a stream must not stall
            return NOTHING
        index, is_restart = found
        is_free = index >= self.next_index
        keep, index = keep[is_free], index[is_free]
        self.n_rejected += counter.size - keep.size
        return self._accept(index, keep, board_ms, monotonic_ns, is_restart=is_restart)

    def _simply_goes_on(self, counter: NDArray[np.int64], monotonic_ns: int) -> bool:
        """Return whether frames follow the last one, in time: nearly always, and quick to see."""
        if not counter.size or self._numbering is not _Numbering.RUNNING:
            return False
        if (int(counter[0]) + self.phase - self.next_index) % self.modulus:
            return False
        if counter.size > 1 and not (np.diff(counter) % self.modulus == 1).all():
            return False
        latest = self.next_index + counter.size - 1
        return self.clock.index_at(monotonic_ns) - latest < self.modulus / 4

    def _accept(
        self,
        index: NDArray[np.int64],
        keep: NDArray[np.intp],
        board_ms: NDArray[np.float64],
        monotonic_ns: int,
        *,
        is_restart: bool = False,
    ) -> Placed:
        self._n_refused = 0
        self._suspect = None
        self._may_have_restarted = False
        self._arrival_ns = monotonic_ns
        self.next_index = int(index[-1]) + 1
        last_ms = float(board_ms[keep[-1]])
        if not math.isnan(last_ms):
            self._stamped = (self.next_index - 1, last_ms)
        self.clock.observe(self.next_index - 1, monotonic_ns, last_ms)
        return Placed(index, keep, is_restart)

    def _chain(self, counter: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the columns to place and the steps between their counters, the first being 1.

        A frame is left out that repeats its neighbour, or by way of which it would be a whole
        turn further from one neighbour to the other.
        """
        columns = np.arange(counter.size)
        steps = np.diff(counter, prepend=counter[:1] - 1) % self.modulus
        if (steps == 1).all():
            return columns, steps
        values = counter.tolist()
        kept = [0]
        for column in range(1, len(values)):
            step = (values[column] - values[kept[-1]]) % self.modulus
            ahead = values[min(column + 1, len(values) - 1)]
            if step and step + (ahead - values[column]) % self.modulus <= self.modulus:
                kept.append(column)
        columns = np.array(kept, np.intp)
        chosen = counter[columns]
        return columns, np.diff(chosen, prepend=chosen[:1] - 1) % self.modulus

    def _find(
        self,
        counter: NDArray[np.int64],
        steps: NDArray[np.int64],
        arrival_ns: int,
        board_ms: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], bool] | None:
        """Return indices, and whether the board began anew; None if the last frame fits nothing."""
        offsets = np.cumsum(steps) - 1
        first, span = int(counter[0]), int(offsets[-1])
        if self._numbering is _Numbering.FRESH:
            latest = self._find_fresh(first, span, arrival_ns)
            return None if latest is None else (latest - span + offsets, False)
        if self._numbering is _Numbering.RENEWED:
            return self._find_renewed(counter, arrival_ns) - span + offsets, True
        return self._find_running(counter, steps, offsets, arrival_ns, float(board_ms[-1]))

    def _find_running(
        self,
        counter: NDArray[np.int64],
        steps: NDArray[np.int64],
        offsets: NDArray[np.int64],
        arrival_ns: int,
        board_ms: float,
    ) -> tuple[NDArray[np.int64], bool] | None:
        first, span = int(counter[0]), int(offsets[-1])
        lead = (first + self.phase - self.next_index) % self.modulus
        latest = self.next_index + lead + span
        is_whole = lead == 0 and span == counter.size - 1
        is_confirmed = first == self._suspect or (counter.size > 1 and steps[-1] == 1)
        turns, doubt = self._turns(latest, span, first, arrival_ns, board_ms)
        is_backlog = lead == 0 and span > BURST_SECONDS * self._sfreq
        if is_whole and (turns <= 0 or is_backlog):
            return latest - span + offsets, False
        latest += turns * self.modulus
        if doubt is _Doubt.NONE or (doubt is _Doubt.SOME and is_confirmed):
            if latest < self.next_index:
                return None
            index = latest - span + offsets
            if turns > 0 and is_backlog:
                # A buffer ran over while nobody read: what is missing is missing inside.
                index[: int(np.argmax(steps[1:])) + 1] -= turns * self.modulus
            return index, False
        if is_confirmed:
            return self._find_renewed(counter, arrival_ns) - span + offsets, True
        self._suspect = int(counter[-1] + 1) % self.modulus
        return None

    def _find_fresh(self, first: int, span: int, arrival_ns: int) -> int | None:
        """Return the last frame's index: its counter, if so many can have been sent by now."""
        since_ns = arrival_ns - (arrival_ns if self._started_ns is None else self._started_ns)
        most = since_ns * 1e-9 * self._sfreq * 1.01 + 4
        last = (first + span) % self.modulus
        if first + span <= most:
            latest = first + span
        elif last <= most:
            latest = last
        elif span or first == self._suspect:  # a counter that runs freely: count from here
            latest = span
        else:
            self._suspect = (first + 1) % self.modulus
            return None
        latest += self.next_index
        self._number_from(latest, last)
        return latest

    def _find_renewed(self, counter: NDArray[np.int64], arrival_ns: int) -> int:
        """Return the last frame's index by the clock, whose line begins anew as well."""
        now = round(self.clock.index_at(arrival_ns))
        latest = max(self.next_index + counter.size - 1, now)
        self._number_from(latest, int(counter[-1]))
        self._stamped = None
        self._late_since_ns = None
        self.clock.restart()
        return latest

    def _number_from(self, index: int, counter: int) -> None:
        self._numbering = _Numbering.RUNNING
        self.phase = (index - counter) % self.modulus

    def _turns(
        self, latest: int, span: int, first: int, arrival_ns: int, board_ms: float
    ) -> tuple[int, _Doubt]:
        """Return how many whole turns to add to ``latest``, and what the clocks think of it."""
        now = self.clock.index_at(arrival_ns)
        age = self.clock.span_seconds
        silence = math.inf if self._arrival_ns is None else (arrival_ns - self._arrival_ns) * 1e-9
        half = self.modulus / 2
        if age < YOUNG_SECONDS:
            tight = half
        else:
            tight = min(half, self._sfreq * (TIGHT_SECONDS + silence * (2e-4 + 2e-3 / age)))
        by_board, is_backwards = self._by_board(board_ms, now + tight)
        if by_board is not None:
            turns = math.floor((by_board + half - latest) / self.modulus)
            off = by_board - latest - turns * self.modulus
            against = abs(off)
        else:
            early = half if age < YOUNG_SECONDS else half / 2
            turns = math.floor((now + early - latest) / self.modulus)
            turns = self._without_late(turns, latest, span, now, arrival_ns)
            off = now - latest - turns * self.modulus
            against = -off  # being late is nothing against a frame
        if self._may_have_restarted and first < FIRST_COUNTERS and age >= YOUNG_SECONDS:
            is_restart = is_backwards or abs(off) > 2 * tight
            return turns, _Doubt.MUCH if is_restart else _Doubt.NONE
        # A loss that ends just where a board begins, and nowhere near the clock's word, is none.
        delay = min(silence, off / self._sfreq)
        begins = age >= YOUNG_SECONDS and first < FIRST_COUNTERS and delay > BURST_SECONDS
        if begins or is_backwards or against > tight + SURE_SECONDS * self._sfreq:
            return turns, _Doubt.MUCH
        return turns, _Doubt.NONE if against <= tight else _Doubt.SOME

    def _without_late(self, turns: int, latest: int, span: int, now: float, arrival_ns: int) -> int:
        """Return no more turns than there was silence for: a queue that drains is no loss.

        And none where the counter just goes on, unless the clock says so to the point: a computer
        that stood still for a second is likelier than a loss of exactly one turn.
        """
        begin = latest - span
        silence = math.inf if self._arrival_ns is None else (arrival_ns - self._arrival_ns) * 1e-9
        room = self.next_index + (silence + BURST_SECONDS) * self._sfreq - begin
        off = abs(now - latest - turns * self.modulus)
        goes_on = begin == self.next_index and off > NEXT_SECONDS * self._sfreq
        if turns <= 0 or (turns * self.modulus <= room and not goes_on):
            self._late_since_ns = None
            return turns
        if self._late_since_ns is None:
            self._late_since_ns = arrival_ns
        if arrival_ns - self._late_since_ns > LATE_SECONDS * 1e9:
            return turns
        return 0 if goes_on else max(0, math.floor(room / self.modulus))

    def _by_board(self, board_ms: float, latest: float) -> tuple[float | None, bool]:
        """Return the index that the board's clock asks for, and whether that clock ran back.

        None without such a clock, and when it asks for what cannot have been sent by now.
        """
        if self._stamped is None or math.isnan(board_ms):
            return None, False
        index, stamp = self._stamped
        passed = (board_ms - stamp + MILLIS_WRAP / 2) % MILLIS_WRAP - MILLIS_WRAP / 2
        wanted = index + passed * 1e-3 * self.clock.sfreq
        return (wanted if index <= wanted <= latest else None), passed < -1.0
