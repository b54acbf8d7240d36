"""What no session recorded is forgotten after a while; all else stays."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from ingest.models import Block, Gap, QualityWindow, Segment, Stream
from ingest.store import PRUNED, BlockWriter, Missing, iter_chunks, prune, pruning, read
from neurascale.core.chunk import GapReason
from tests.ingest.factories import make_chunk, make_device, make_session, make_stream

pytestmark = pytest.mark.django_db
HOUR = 3600.0


@pytest.fixture
def stream():
    """Return a stream of two hours, a block of 100 s every 100 s, that ends now."""
    stream = make_stream(sfreq=1.0, chunk_ms=100_000)
    fill(stream)
    return stream


def fill(stream, *, ended_seconds_ago=0.0):
    writer = BlockWriter(stream, holder="")
    begin = time.time() - ended_seconds_ago - 2 * HOUR
    for k in range(72):
        if k in {10, 50}:
            continue  # a gap
        chunk = make_chunk(100 * k, 100, sfreq=1.0, time_ns=int((begin + 100 * k) * 1e9))
        writer.append(chunk)
        QualityWindow.objects.create(
            stream=stream, first_sample=100 * k, n_times=50, verdicts=[], has_artifact=False
        )
    stream.refresh_from_db()


def firsts(model):
    return list(model.objects.order_by("first_sample").values_list("first_sample", flat=True))


def hundreds(*ranges):
    return [100 * k for begin, end in ranges for k in range(begin, end) if k not in {10, 50}]


def record(stream, first_sample, stop_sample):
    session = make_session(make_device())
    return Segment.objects.create(
        session=session, stream=stream, first_sample=first_sample, stop_sample=stop_sample
    )


def test_what_is_older_goes_and_what_is_younger_stays(stream):
    # The moment lies inside block 35 or at the edge of 36, as the clock goes on while we test.
    assert prune(older_than_seconds=HOUR + 80) == 34
    assert firsts(Block) == hundreds((35, 72))
    assert firsts(QualityWindow) == hundreds((35, 72))
    assert firsts(Gap) == [5000]


def test_a_read_says_that_it_was_pruned(stream):
    before = read(stream, 0, 7200).data
    prune(older_than_seconds=HOUR + 80)
    stream.refresh_from_db()
    assert 3500 <= stream.kept_from_sample < 3600
    reading = read(stream, 3000, 5200)
    assert reading.gaps == (Missing(3000, 500, PRUNED), Missing(5000, 100, "lost"))
    assert np.isnan(reading.data[:, :500]).all()
    assert np.array_equal(reading.data[:, 500:], before[:, 3500:5200], equal_nan=True)
    assert next(iter_chunks(stream))[1].first_sample == 3500


def test_twice_is_once(stream):
    prune(older_than_seconds=HOUR + 80)
    assert prune(older_than_seconds=HOUR + 80) == 0


def test_what_a_session_recorded_stays_with_its_gaps_and_verdicts(stream):
    record(stream, 450, 1220)
    prune(older_than_seconds=HOUR + 80)
    assert firsts(Block) == hundreds((4, 13), (35, 72))
    assert firsts(Gap) == [1000, 5000]
    assert 400 not in firsts(QualityWindow)  # it ended where the segment begins
    assert set(hundreds((5, 13))) < set(firsts(QualityWindow))


def test_what_a_session_is_recording_stays(stream):
    record(stream, 450, None)
    prune(older_than_seconds=HOUR + 80)
    assert firsts(Block) == hundreds((4, 72))


def test_segments_that_overlap_protect_what_either_holds(stream):
    record(stream, 200, 2000)
    record(stream, 300, 400)
    prune(older_than_seconds=HOUR + 80)
    assert firsts(Block) == hundreds((2, 20), (35, 72))


def test_what_a_deleted_session_had_recorded_goes_with_the_next_pruning(stream):
    segment = record(stream, 400, 1200)
    prune(older_than_seconds=HOUR + 80)
    segment.session.delete()
    assert prune(older_than_seconds=HOUR + 80) == 7
    assert firsts(Block) == hundreds((35, 72))


def test_a_stream_that_ended_long_ago_is_forgotten_altogether():
    stream = make_stream(sfreq=1.0, stopped_at=datetime.now(UTC))
    fill(stream, ended_seconds_ago=2 * HOUR)
    assert prune(older_than_seconds=HOUR) == 70
    stream.refresh_from_db()
    assert (firsts(Block), firsts(Gap), firsts(QualityWindow)) == ([], [], [])
    assert stream.kept_from_sample == stream.next_sample
    assert read(stream, 0, 7200).gaps == (Missing(0, 7200, PRUNED),)


def test_a_stream_whose_board_has_been_silent_for_hours_goes_on_afterwards():
    stream = make_stream(sfreq=1.0)
    fill(stream, ended_seconds_ago=2 * HOUR)
    assert prune(older_than_seconds=HOUR) == 70
    stream.refresh_from_db()
    late = make_chunk(14_400, 10, sfreq=1.0, time_ns=time.time_ns(), gap=GapReason.UNPLUGGED)
    BlockWriter(stream, holder="").append(late)
    assert read(stream, 0, 14_410).gaps == (
        Missing(0, 7200, PRUNED),
        Missing(7200, 7200, "unplugged"),
    )


def test_what_programs_ingested_is_never_pruned():
    stream = make_stream(sfreq=1.0, origin=Stream.Origin.INGEST)
    fill(stream, ended_seconds_ago=2 * HOUR)
    assert prune(older_than_seconds=0) == 0


def test_a_young_stream_is_left_alone(stream):
    assert prune(older_than_seconds=3 * HOUR) == 0
    stream.refresh_from_db()
    assert stream.kept_from_sample == 0


def test_more_than_a_batch_goes_batch_by_batch(stream, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH", 5)
    assert prune(older_than_seconds=HOUR + 80) == 34
    assert firsts(Block) == hundreds((35, 72))


def test_every_stream_is_pruned_by_itself(stream):
    other = make_stream(sfreq=1.0)
    fill(other, ended_seconds_ago=HOUR)
    record(other, 0, 500)
    assert prune(older_than_seconds=HOUR + 80) == 34 + 64
    assert Block.objects.filter(stream=other).count() == 5 + 1
