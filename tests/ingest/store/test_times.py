"""From a sample to its time and back."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ingest.store import BlockWriter, sample_at, time_of
from tests.ingest.factories import make_chunk, make_stream

pytestmark = pytest.mark.django_db
T0 = 1_700_000_000_000_000_000
MS = 1_000_000


def make_timed_stream(*blocks, **fields):
    """Return a stream of blocks (first_sample, n_times, time_ns) at 250 Hz."""
    stream = make_stream(**fields)
    writer = BlockWriter(stream, holder="")
    for first_sample, n_times, time_ns in blocks:
        writer.append(make_chunk(first_sample, n_times, time_ns=time_ns))
    stream.refresh_from_db()
    return stream


def test_inside_a_block_time_runs_at_the_nominal_rate():
    stream = make_timed_stream((0, 10, T0), (10, 10, T0 + 41 * MS))
    assert time_of(stream, 0) == T0
    assert time_of(stream, 9) == T0 + 36 * MS
    assert time_of(stream, 10) == T0 + 41 * MS


def test_in_a_gap_time_is_interpolated():
    stream = make_timed_stream((0, 10, T0), (100, 10, T0 + 500 * MS))
    assert time_of(stream, 50) == T0 + 250 * MS


def test_outside_the_blocks_time_is_extrapolated():
    stream = make_timed_stream((100, 10, T0))
    assert time_of(stream, 0) == T0 - 400 * MS
    assert time_of(stream, 350) == T0 + 1000 * MS


def test_a_stream_without_samples_has_no_times():
    stream = make_stream()
    assert sample_at(stream, T0) is None
    with pytest.raises(LookupError, match="has no samples"):
        time_of(stream, 0)


def test_a_moment_falls_on_the_nearest_sample():
    stream = make_timed_stream((0, 10, T0))
    assert [sample_at(stream, T0 + int(ms * MS)) for ms in (0, 1.9, 2.1, 36)] == [0, 0, 1, 9]


def test_a_moment_after_the_newest_block_is_a_sample_to_come_while_the_stream_runs():
    stream = make_timed_stream((0, 10, T0))
    assert sample_at(stream, T0 + 1000 * MS) == 250


def test_a_moment_after_the_end_of_a_stream_has_no_sample():
    stream = make_timed_stream((0, 10, T0), stopped_at=datetime.now(UTC))
    assert sample_at(stream, T0 + 36 * MS) == 9
    assert sample_at(stream, T0 + 1000 * MS) is None


def test_a_moment_before_the_first_sample_has_none():
    stream = make_timed_stream((0, 10, T0), (10, 10, T0 + 40 * MS))
    assert sample_at(stream, T0 - 1 * MS) == 0
    assert sample_at(stream, T0 - 100 * MS) is None


def test_a_moment_in_what_was_pruned_has_the_sample_it_had():
    stream = make_timed_stream((100, 10, T0), (110, 10, T0 + 40 * MS))
    assert sample_at(stream, T0 - 200 * MS) == 50


@pytest.mark.parametrize("seed", range(3))
def test_every_sample_is_found_by_its_time_through_drift_gaps_and_jumps(seed):
    rng = np.random.default_rng(seed)
    blocks, sample, time_ns = [], 0, T0
    for _ in range(60):
        n_times = int(rng.integers(1, 20))
        blocks.append((sample, n_times, time_ns))
        lost = int(rng.integers(0, 200)) if rng.random() < 0.1 else 0
        # 5 % of drift, and gaps whose length in samples is an estimate that is 30 % off.
        time_ns += int((n_times * 4 * rng.uniform(1, 1.05) + lost * 4 * rng.uniform(1, 1.3)) * MS)
        sample += n_times + lost
    stream = make_timed_stream(*blocks)
    for sample in range(0, blocks[-1][0] + blocks[-1][1], 3):
        assert sample_at(stream, time_of(stream, sample)) == sample


def test_finding_a_moment_takes_few_queries(django_assert_max_num_queries):
    stream = make_timed_stream(
        *((10 * k, 10, T0 + int(k * 40.0008 * MS)) for k in range(500) if k % 97)
    )
    with django_assert_max_num_queries(8):
        assert sample_at(stream, T0 + int(250.5 * 40.0008 * MS)) == 2505


def test_times_out_of_order_end_the_search_too():
    times = [T0, T0 + 5000 * MS, T0 + 1000 * MS, T0 + 900 * MS, T0 + 9000 * MS]
    stream = make_timed_stream(*((10 * k, 10, time) for k, time in enumerate(times)))
    for ms in range(0, 9500, 250):
        assert 0 <= sample_at(stream, T0 + ms * MS) <= 175
