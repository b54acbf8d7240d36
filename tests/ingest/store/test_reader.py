"""What was written comes back, from wherever it is asked for."""

import numpy as np
import pytest

from ingest.models import Block, Stream
from ingest.store import PRUNED, Missing, iter_chunks, read
from neurascale.core.chunk import GapReason
from tests.ingest.store.conftest import START_NS

LOST = GapReason.LOST


def holes(data):
    """Return (first_sample, n_times) of every run of NaN columns."""
    missing = np.concatenate([[False], np.isnan(data).all(axis=0), [False]])
    edges = np.flatnonzero(missing[1:] != missing[:-1])
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_the_whole_stream_comes_back_bit_by_bit(written):
    given = written(seed=1)
    reading = read(given.stream, 0, given.n_times)
    assert np.array_equal(reading.data, given.data, equal_nan=True)
    assert np.array_equal(reading.aux, given.aux, equal_nan=True)
    assert reading.gaps == tuple(Missing(*gap) for gap in given.gaps)
    assert (reading.first_sample, reading.time_ns, reading.sfreq) == (0, START_NS, 250.0)


@pytest.mark.parametrize("seed", range(3))
def test_any_stretch_comes_back_with_its_gaps(written, seed):
    given = written(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(25):
        start, stop = sorted(int(edge) for edge in rng.integers(0, given.n_times + 1, 2))
        reading = read(given.stream, start, stop)
        assert np.array_equal(reading.data, given.data[:, start:stop], equal_nan=True)
        assert np.array_equal(reading.aux, given.aux[:, start:stop], equal_nan=True)
        told = [(gap.first_sample - start, gap.n_times) for gap in reading.gaps]
        assert merged(told) == holes(reading.data)
        reasons = {first: reason for first, _, reason in given.gaps}
        for gap in reading.gaps[1:]:
            assert gap.reason == reasons[gap.first_sample]


def merged(runs):
    """Join runs that touch."""
    joined = []
    for first, length in runs:
        if joined and sum(joined[-1]) == first:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((first, length))
    return joined


def test_picks_choose_rows_in_their_order(written):
    given = written()
    reading = read(given.stream, 5, 100, picks=[2, 0])
    assert np.array_equal(reading.data, given.data[[2, 0], 5:100], equal_nan=True)
    assert read(given.stream, 5, 100, picks=[]).data.shape == (0, 95)
    with pytest.raises(IndexError):
        read(given.stream, 5, 100, picks=[3])


def test_what_lies_outside_the_stream_is_left_out(written):
    given = written([(0, 10, LOST), (0, 10, LOST)])
    reading = read(given.stream, -5, 1000)
    assert (reading.first_sample, reading.data.shape) == (0, (3, 20))
    assert read(given.stream, 50, 60).data.shape == (3, 0)
    assert read(given.stream, 15, 5).data.shape == (3, 0)


def test_where_the_stream_ends_is_looked_up_afresh(written):
    given = written([(0, 10, LOST)])
    stale = Stream(pk=given.stream.pk, sfreq=250, ch_names=["a", "b", "c"])
    stale.scale_uv = given.stream.scale_uv
    assert read(stale, 0, 10).data.shape == (3, 10)


def test_an_empty_stream_has_nothing_to_read(written):
    given = written([(0, 10, LOST)])
    Block.objects.all().delete()
    Stream.objects.update(next_sample=0)
    reading = read(given.stream, 0, 100)
    assert (reading.data.shape, reading.time_ns, reading.gaps) == ((3, 0), None, ())


def test_what_was_pruned_is_a_gap_that_says_so(written):
    given = written([(0, 10, LOST), (5, 10, GapReason.SILENT), (0, 10, LOST)])
    Block.objects.filter(first_sample__lt=15).delete()
    Stream.objects.update(kept_from_sample=15)
    reading = read(given.stream, 2, 30)
    assert reading.gaps == (Missing(2, 8, PRUNED), Missing(10, 5, "silent"))
    assert np.isnan(reading.data[:, :13]).all()
    assert np.array_equal(reading.data[:, 13:], given.data[:, 15:30])


def test_without_aux_names_there_is_no_aux(written):
    assert read(written(aux_names=[]).stream, 0, 10).aux is None


def test_other_streams_do_not_leak_in(written):
    one, other = written(seed=1), written(seed=2)
    assert np.array_equal(read(one.stream, 0, 50).data, one.data[:, :50], equal_nan=True)
    assert np.array_equal(read(other.stream, 0, 50).data, other.data[:, :50], equal_nan=True)


# --- chunk by chunk ------------------------------------------------------------------------------


def same(chunk, other):
    """Tell whether two chunks hold the same."""
    assert np.array_equal(chunk.data, other.data)
    assert np.array_equal(chunk.aux, other.aux, equal_nan=True)
    return (chunk.sfreq, chunk.first_sample, chunk.time_ns, chunk.gap) == (
        other.sfreq,
        other.first_sample,
        other.time_ns,
        other.gap,
    )


def test_every_chunk_comes_back_as_it_was_appended(written):
    given = written(seed=3)
    given_back = list(iter_chunks(given.stream))
    assert [sequence for sequence, _ in given_back] == list(range(80))
    assert all(same(a, b) for (_, a), b in zip(given_back, given.chunks, strict=True))


def test_a_stream_longer_than_a_batch_comes_back_too(written):
    given = written([(0, 1, LOST)] * 700)
    assert [chunk.first_sample for _, chunk in iter_chunks(given.stream)] == list(range(700))


@pytest.mark.parametrize("after", [-1, 0, 41, 78, 79, 500])
def test_it_goes_on_after_a_packet_number(written, after):
    given = written(seed=4)
    sequences = [sequence for sequence, _ in iter_chunks(given.stream, after_sequence=after)]
    assert sequences == list(range(after + 1, 80))


def test_it_begins_with_the_block_that_holds_the_sample(written):
    given = written([(0, 10, LOST), (5, 10, LOST), (0, 10, LOST)])
    for sample, begin in [(0, 0), (9, 0), (10, 15), (14, 15), (15, 15), (24, 15), (25, 25)]:
        first = next(iter_chunks(given.stream, from_sample=sample))[1]
        assert first.first_sample == begin
    assert list(iter_chunks(given.stream, from_sample=35)) == []


def test_the_first_chunk_too_says_what_is_missing_before_it(written):
    given = written([(0, 10, LOST), (5, 10, GapReason.SILENT)])
    assert next(iter_chunks(given.stream, after_sequence=0))[1].gap == GapReason.SILENT


@pytest.mark.parametrize("limit", [0, 1, 64, 65, 79, 80, 1000])
def test_it_gives_no_more_than_the_limit(written, limit):
    given = written(seed=5)
    assert len(list(iter_chunks(given.stream, limit=limit))) == min(limit, 80)


def test_chunks_that_arrive_meanwhile_are_given_too(written):
    given = written([(0, 10, LOST)] * 64)
    going = iter_chunks(given.stream)
    next(going)
    late = given.chunks[0]
    given.writer.append(
        type(late)(data=late.data, sfreq=250.0, first_sample=640, time_ns=late.time_ns)
    )
    assert [sequence for sequence, _ in going] == list(range(1, 65))
