"""Every pattern of losses and bursts must give exact indices; a restart must not look like one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.unwrap import CounterUnwrapper
from neurascale.core.clock import StreamClock

SFREQ = 250.0
START_NS = 7_000_000_000_000
NAN = float("nan")


@dataclass
class Line:
    """A board, its losses and its bursts, as the host sees them."""

    seconds: float = 30.0
    ppm: float = 0.0
    losses: tuple[tuple[float, float], ...] = ()  # (when, how long) in seconds
    holds: tuple[tuple[float, float], ...] = ()  # nothing is delivered, then all at once
    frames_a_read: int = 1
    jitter_ms: float = 0.3
    has_board_clock: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        n_times = int(self.seconds * SFREQ)
        self.taken = START_NS + np.arange(n_times) * (1e9 / SFREQ) * (1 + self.ppm * 1e-6)
        seconds = np.arange(n_times) / SFREQ
        last = np.minimum(
            np.arange(n_times) // self.frames_a_read * self.frames_a_read + self.frames_a_read,
            n_times,
        )
        arrives = self.taken[last - 1]
        jitter = np.random.default_rng(self.seed).exponential(self.jitter_ms * 1e6, n_times)
        arrives = arrives + jitter[last - 1]
        for when, length in self.holds:
            held = (seconds >= when) & (seconds < when + length)
            arrives[held] = np.maximum(arrives[held], START_NS + (when + length) * 1e9)
        self.arrives = np.maximum.accumulate(arrives).astype(np.int64)
        self.is_lost = np.zeros(n_times, bool)
        for when, length in self.losses:
            self.is_lost |= (seconds >= when) & (seconds < when + length)
        self.board_ms = np.floor((self.taken - START_NS) * 1e-6 * 1.00003) + 5000.0

    def reads(self, start: int = 0):
        """Yield (indices, arrival) of frames that arrive together."""
        indices = np.flatnonzero(~self.is_lost)
        indices = indices[indices >= start]
        cuts = np.flatnonzero(np.diff(self.arrives[indices])) + 1
        for together in np.split(indices, cuts):
            if together.size:
                yield together, int(self.arrives[together[0]])

    def stamps(self, indices):
        return self.board_ms[indices] if self.has_board_clock else np.full(indices.size, NAN)


def fresh() -> CounterUnwrapper:
    unwrapper = CounterUnwrapper(StreamClock(SFREQ, offset_ns=0), modulus=256)
    unwrapper.begin(START_NS)
    return unwrapper


def follow(line: Line, unwrapper: CounterUnwrapper) -> tuple[list[int], list[int]]:
    """Return the indices given and the true ones."""
    given_indices: list[int] = []
    true_indices: list[int] = []
    for indices, arrival in line.reads():
        placed = unwrapper.place(indices % 256, arrival, line.stamps(indices))
        assert not placed.is_restart
        given_indices += placed.index.tolist()
        true_indices += indices.tolist()
    return given_indices, true_indices


def follow_truth(line: Line) -> list[int]:
    return np.flatnonzero(~line.is_lost).tolist()


def grown_up(seconds: float = 10.0) -> CounterUnwrapper:
    """Return an unwrapper that has followed a faultless board for a while."""
    unwrapper = fresh()
    follow(Line(seconds=seconds), unwrapper)
    return unwrapper


def at(index: float, *, late_ms: float = 0.0) -> int:
    return START_NS + round(index * 4e6 + late_ms * 1e6)


def place(unwrapper: CounterUnwrapper, counters: list[int], arrival: int, stamps=None):
    board_ms = np.full(len(counters), NAN) if stamps is None else np.array(stamps, float)
    return unwrapper.place(np.array(counters, np.int64) % 256, arrival, board_ms)


spans = st.tuples(st.floats(1.0, 20.0), st.floats(0.004, 8.0))
bursts = st.tuples(st.floats(0.0, 20.0), st.floats(0.01, 0.4))


@settings(deadline=None, max_examples=25)
@given(
    losses=st.lists(spans, max_size=5),
    holds=st.lists(bursts, max_size=5),
    ppm=st.floats(-50, 50),
    frames_a_read=st.sampled_from([1, 2, 4, 10]),
    has_board_clock=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_pattern_of_losses_bursts_and_drift_gives_exact_indices(
    losses, holds, ppm, frames_a_read, has_board_clock, seed
):
    apart: list[tuple[float, float]] = []  # bursts that meet would be a longer one
    for when, length in sorted(holds):
        if not apart or when > sum(apart[-1]):
            apart.append((when, length))
    line = Line(
        seconds=25,
        ppm=ppm,
        losses=tuple(losses),
        holds=tuple(apart),
        frames_a_read=frames_a_read,
        has_board_clock=has_board_clock,
        seed=seed,
    )
    unwrapper = fresh()
    found, true = follow(line, unwrapper)
    assert found == true == follow_truth(line)
    assert unwrapper.n_rejected == 0


@pytest.mark.parametrize("ppm", [5000, -5000])
def test_a_converter_half_a_percent_off_is_followed_through_losses(ppm):
    losses = ((0.5, 3.0), (6.0, 5.0), (15.0, 8.0))
    line = Line(seconds=26, ppm=ppm, losses=losses, frames_a_read=4)
    assert follow(line, fresh())[0] == follow_truth(line)


@pytest.mark.parametrize("n_lost", [1, 255, 256, 257, 512, 2560])
def test_losses_around_whole_turns_of_the_counter_are_counted(n_lost):
    unwrapper = grown_up()
    index = 2500 + n_lost
    assert place(unwrapper, [index], at(index)).index.tolist() == [index]
    assert unwrapper.n_rejected == 0


def test_frames_lost_before_the_first_arrival_are_counted():
    unwrapper = fresh()
    assert place(unwrapper, [5], at(5)).index.tolist() == [5]


def test_a_counter_that_does_not_begin_at_zero_is_counted_from_where_it_is():
    unwrapper = fresh()
    assert place(unwrapper, [200, 201], at(2)).index.tolist() == [0, 1]
    assert place(unwrapper, [202], at(3)).index.tolist() == [2]


@pytest.mark.parametrize("wrong", [0, 3, 77, 200, 255])
def test_a_corrupt_counter_costs_that_frame_only(wrong):
    unwrapper = grown_up()
    assert place(unwrapper, [2500 + 128 + wrong], at(2500)).index.size == 0
    assert place(unwrapper, [2501], at(2501)).index.tolist() == [2501]
    assert unwrapper.n_rejected == 1


@pytest.mark.parametrize("column", range(10))
def test_a_corrupt_counter_among_others_costs_that_frame_only(column):
    unwrapper = grown_up()
    counters = list(range(2500, 2510))
    counters[column] += 99
    found = place(unwrapper, counters, at(2509))
    true = [index for index in range(2500, 2510) if index != 2500 + column]
    assert found.index.tolist() == true
    assert found.keep.tolist() == [index - 2500 for index in true]
    assert place(unwrapper, [2510], at(2510)).index.tolist() == [2510]


def test_a_computer_that_stood_still_for_seconds_has_lost_nothing():
    unwrapper = grown_up()
    for begin in range(2500, 3750, 125):  # all delivered five seconds late, in pieces
        counters = list(range(begin, begin + 125))
        found = place(unwrapper, counters, at(3750, late_ms=(begin - 2500) / 500))
        assert found.index.tolist() == counters
    assert place(unwrapper, [3750], at(3751)).index.tolist() == [3750]


def test_a_buffer_that_ran_over_meanwhile_is_a_loss_where_it_ran_over():
    unwrapper = grown_up()
    kept = [*range(2500, 3000), *range(4000, 4010)]
    assert place(unwrapper, kept, at(4010)).index.tolist() == kept


def test_a_restart_is_told_from_a_loss():
    unwrapper = grown_up()
    # Reset after 2500 samples, streaming again 3 s later: 0 instead of 3250 % 256 = 178. As a loss
    # the frame would have been taken at sample 3072 and be 0.7 s late.
    first = place(unwrapper, [0], at(3250))
    second = place(unwrapper, [1], at(3251))
    assert first.index.size == 0  # one frame alone may be corrupt
    assert second.is_restart
    assert second.index.tolist() == pytest.approx([3251], abs=1)
    assert unwrapper.phase == (second.index[0] - 1) % 256
    assert place(unwrapper, [2], at(3252)).index.tolist() == [second.index[0] + 1]


def test_a_restart_that_was_asked_for_is_placed_by_the_clock_at_once():
    unwrapper = grown_up()
    unwrapper.renew()
    found = place(unwrapper, [0, 1, 2], at(2700))
    assert found.is_restart
    assert found.index.tolist() == pytest.approx([2698, 2699, 2700], abs=1)


def test_where_a_restart_is_likely_a_loss_has_to_fit_closely():
    unwrapper = grown_up()
    unwrapper.suspect_restart()
    late = 3300  # the counter allows 3329, which is a tenth of a second in the future
    found = place(unwrapper, [0, 1], at(late))
    assert found.is_restart
    assert found.index.tolist() == pytest.approx([late - 1, late], abs=1)


def test_a_board_that_only_was_out_of_range_did_not_restart():
    unwrapper = grown_up()
    unwrapper.suspect_restart()
    found = place(unwrapper, [3300, 3301], at(3301))
    assert not found.is_restart
    assert found.index.tolist() == [3300, 3301]


def test_a_board_clock_that_ran_back_is_a_restart():
    unwrapper = fresh()
    follow(Line(seconds=10, has_board_clock=True), unwrapper)
    found = place(unwrapper, [0, 1], at(2817), stamps=[120.0, 124.0])  # 2816 is a whole turn
    assert found.is_restart


def test_a_board_clock_tells_a_long_delay_from_a_loss():
    line = Line(seconds=10, has_board_clock=True)
    unwrapper = fresh()
    follow(line, unwrapper)
    taken = [15000.0 + 4 * i for i in range(3)]
    found = place(unwrapper, [2500, 2501, 2502], at(2502, late_ms=1500), stamps=taken)
    assert found.index.tolist() == [2500, 2501, 2502]


@pytest.mark.parametrize("down_seconds", [0.1, 1.0, 10.0, 60.0])
def test_a_running_stream_is_taken_over_exactly(down_seconds):
    clock = StreamClock(SFREQ, offset_ns=0)
    clock.seed(2490, at(2490), now_ns=at(2490 + down_seconds * 250))
    unwrapper = CounterUnwrapper(clock, modulus=256, phase=17, next_index=2500)
    index = 2500 + round(down_seconds * 250)
    found = place(unwrapper, [index - 17], at(index, late_ms=5))
    assert found.index.tolist() == [index]


def test_whatever_the_counters_say_a_stream_does_not_stall():
    rng = np.random.default_rng(1)
    unwrapper = grown_up()
    placed = 0
    for i in range(2500, 5000):
        placed += place(unwrapper, [int(rng.integers(256))], at(i)).index.size
    assert placed > 0
    before = unwrapper.next_index
    for i in range(5000, 6000):
        place(unwrapper, [i], at(i))
    assert unwrapper.next_index - before > 500
