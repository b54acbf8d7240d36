"""Ten minutes of stream in a second or two: the fitted time against the truth."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurascale.core.clock import StreamClock, wall_minus_monotonic

SFREQ = 250.0
SAMPLE_NS = 4_000_000
START_NS = 5_000_000_000_000
OFFSET_NS = 1_700_000_000_000_000_000
CHUNK = 10


def arrivals(*, ppm, seconds, jitter_ms=1.0, bursts_per_second=0.5, seed=0):
    """Return when chunks of ten samples were taken and when they arrived, in nanoseconds.

    Bursts hold everything back for up to 0.4 s and then let it go at once.
    """
    rng = np.random.default_rng(seed)
    last = np.arange(CHUNK - 1, int(seconds * SFREQ), CHUNK)
    taken = START_NS + last * (1e9 / SFREQ) * (1 + ppm * 1e-6)
    arrived = taken + rng.exponential(jitter_ms * 1e6, last.size)
    n_bursts = int(seconds * bursts_per_second * 2)
    begins = 2.0 + np.cumsum(rng.exponential(1 / bursts_per_second, n_bursts))
    for begin in START_NS + begins * 1e9:
        end = begin + rng.uniform(0, 0.4e9)
        held = (taken >= begin) & (taken < end)
        arrived[held] = np.maximum(arrived[held], end)
    return last, taken, np.maximum.accumulate(arrived)


def errors_ms(last, taken, arrived, *, board_ms=None, offset_ns=OFFSET_NS):
    """Return the error of the time given to each chunk's first sample, when it arrived."""
    clock = StreamClock(SFREQ, offset_ns=offset_ns)
    period = (taken[-1] - taken[0]) / (last[-1] - last[0])
    errors, told = [], []
    for i, index in enumerate(last.tolist()):
        clock.observe(index, int(arrived[i]), None if board_ms is None else float(board_ms[i]))
        time_ns = clock.time_ns(index - CHUNK + 1)
        told.append(time_ns)
        errors.append((time_ns - offset_ns - (taken[i] - (CHUNK - 1) * period)) * 1e-6)
    assert (np.diff(told) > 0).all()
    return np.array(errors)


@pytest.mark.parametrize("ppm", [20, -20, 5000, -5000])
def test_ten_minutes_with_bursts_and_drift_stay_within_a_millisecond(ppm):
    errors = np.abs(errors_ms(*arrivals(ppm=ppm, seconds=600)))
    chunks_a_second = int(SFREQ / CHUNK)
    assert errors[:chunks_a_second].max() < 6  # the very first arrivals may all be late
    assert errors[chunks_a_second : 10 * chunks_a_second].max() < 4  # one sample
    assert errors[10 * chunks_a_second :].max() < 1


def test_the_rate_is_found():
    last, _, arrived = arrivals(ppm=300, seconds=60)
    clock = StreamClock(SFREQ, offset_ns=0)
    for index, time_ns in zip(last.tolist(), arrived.tolist(), strict=True):
        clock.observe(index, int(time_ns))
    assert clock.sfreq == pytest.approx(SFREQ / (1 + 300e-6), rel=30e-6)


def test_a_board_clock_helps_while_arrivals_get_later_and_later():
    last = np.arange(CHUNK - 1, int(5 * SFREQ), CHUNK)
    taken = START_NS + last * (1e9 / SFREQ)
    seconds = last / SFREQ
    arrived = taken + np.clip((seconds - 1) / 4, 0, 1) * 40e6  # a queue that builds up
    board_ms = np.floor((taken - START_NS) * 1e-6)
    without = np.abs(errors_ms(last, taken, arrived)).max()
    beside = np.abs(errors_ms(last, taken, arrived, board_ms=board_ms)).max()
    assert beside < 5 < 20 < without


def test_a_board_clock_that_is_wrong_does_no_lasting_harm():
    last, taken, arrived = arrivals(ppm=0, seconds=120)
    board_ms = np.where(last % 7 == 0, 1e9, (taken - START_NS) * 1e-6 * 1.004)
    assert np.abs(errors_ms(last, taken, arrived, board_ms=board_ms))[2000:].max() < 1


@settings(deadline=None, max_examples=40)
@given(
    late_ms=st.lists(st.floats(0, 400), min_size=5, max_size=300),
    ppm=st.floats(-5000, 5000),
)
def test_times_never_go_backwards_however_late_samples_arrive(late_ms, ppm):
    clock = StreamClock(SFREQ, offset_ns=OFFSET_NS)
    told = []
    for i, late in enumerate(late_ms):
        taken = START_NS + round(i * SAMPLE_NS * (1 + ppm * 1e-6))
        clock.observe(i, taken + round(late * 1e6))
        told.append(clock.time_ns(i))
    assert (np.diff(told) > 0).all()


def test_an_earlier_sample_never_gets_a_later_time():
    clock = StreamClock(SFREQ, offset_ns=0)
    clock.observe(0, START_NS + 300_000_000)
    later = clock.time_ns(10)
    clock.observe(11, START_NS + 11 * SAMPLE_NS)
    assert clock.time_ns(9) < later <= clock.time_ns(10)


def test_the_wall_clock_is_asked_once_so_that_ntp_cannot_bend_a_stream():
    last, taken, arrived = arrivals(ppm=0, seconds=30)
    one = errors_ms(last, taken, arrived, offset_ns=OFFSET_NS)
    other = errors_ms(last, taken, arrived, offset_ns=OFFSET_NS + 3_600_000_000_000)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_index_at_is_the_inverse_of_time_ns():
    clock = StreamClock(SFREQ, offset_ns=OFFSET_NS)
    for i in range(0, 1000, 10):
        clock.observe(i, START_NS + i * SAMPLE_NS)
    when = clock.time_ns(700) - OFFSET_NS
    assert clock.index_at(when) == pytest.approx(700, abs=1e-3)


def test_a_clock_that_saw_nothing_says_so():
    clock = StreamClock(SFREQ, offset_ns=0)
    assert clock.is_empty
    with pytest.raises(RuntimeError, match="observed no sample"):
        clock.index_at(START_NS)
    with pytest.raises(RuntimeError, match="observed no sample"):
        clock.time_ns(0)


def test_a_seeded_clock_goes_on_where_the_earlier_one_was():
    clock = StreamClock(SFREQ, offset_ns=OFFSET_NS)
    stored_ns = OFFSET_NS + START_NS
    clock.seed(1000, stored_ns, now_ns=START_NS + 10_000_000_000)
    index = 1000 + 2500
    clock.observe(index, START_NS + 2500 * SAMPLE_NS + 1_000_000)
    assert abs(clock.time_ns(index) - (stored_ns + 2500 * SAMPLE_NS)) < SAMPLE_NS
    assert clock.index_at(START_NS + 2500 * SAMPLE_NS) == pytest.approx(index, abs=1)


def test_a_wall_clock_that_was_set_back_puts_nothing_before_what_is_stored():
    clock = StreamClock(SFREQ, offset_ns=OFFSET_NS)
    future_ns = OFFSET_NS + START_NS + 60_000_000_000
    clock.seed(1000, future_ns, now_ns=START_NS)
    clock.observe(1010, START_NS + 10 * SAMPLE_NS)
    assert clock.index_at(START_NS + 10 * SAMPLE_NS) == pytest.approx(1010, abs=1)
    assert clock.time_ns(1010) > future_ns


def test_a_restart_keeps_the_rate_and_moves_the_line():
    clock = StreamClock(SFREQ, offset_ns=0)
    for i in range(0, 5000, 10):
        clock.observe(i, START_NS + round(i * SAMPLE_NS * 1.003))
    rate = clock.sfreq
    clock.restart()
    assert clock.index_at(START_NS + round(6000 * SAMPLE_NS * 1.003)) == pytest.approx(6000, abs=1)
    clock.observe(6100, START_NS + round(6000 * SAMPLE_NS * 1.003))
    assert clock.sfreq == rate
    assert clock.index_at(START_NS + round(6000 * SAMPLE_NS * 1.003)) == pytest.approx(6100)


def test_the_offset_is_what_both_clocks_say_now():
    before = time.time_ns() - time.monotonic_ns()
    assert abs(wall_minus_monotonic() - before) < 1_000_000_000
