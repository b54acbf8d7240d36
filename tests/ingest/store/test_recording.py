"""A session's segments read as one recording."""

import numpy as np
import pytest

from ingest.models import Block, QualityWindow, Segment, Stream
from ingest.quality import Window
from ingest.store import Missing, Recording, Summary
from neurascale.core.chunk import GapReason
from sessions_app.errors import SessionStateError
from tests.ingest.factories import make_session
from tests.ingest.store.conftest import START_NS

LOST, SILENT = GapReason.LOST, GapReason.SILENT
TEN = [(0, 10, LOST)] * 10  # a hundred samples without a gap


def record(session, *segments):
    """Let a session record stretches (stream, first_sample, stop_sample)."""
    for stream, first_sample, stop_sample in segments:
        Segment.objects.create(
            session=session, stream=stream, first_sample=first_sample, stop_sample=stop_sample
        )
    return Recording.of(session)


def judge(stream, first_sample, verdicts, has_artifact=False):
    QualityWindow.objects.create(
        stream=stream,
        first_sample=first_sample,
        n_times=10,
        verdicts=verdicts,
        has_artifact=has_artifact,
    )


def stored_in(part):
    """Count the samples of a part block by block, as slowly and surely as possible."""
    wanted = set(range(part.first_sample, part.stop_sample))
    blocks = Block.objects.filter(stream=part.stream).values_list("first_sample", "n_times")
    return sum(len(wanted & set(range(first, first + n))) for first, n in blocks)


@pytest.fixture
def given(written):
    return written(TEN)


@pytest.fixture
def session(given):
    return make_session(given.stream.device)


def test_a_session_that_recorded_nothing_is_empty(session):
    recording = Recording.of(session)
    assert (recording.n_times, recording.picks, recording.ch_names) == (0, [], [])
    assert recording.summary() == Summary(0, 0.0, None, None)
    with pytest.raises(SessionStateError, match="not recorded anything"):
        recording.read(0, 10)


def test_a_segment_is_its_stretch_of_the_stream(given, session):
    recording = record(session, (given.stream, 13, 57))
    reading = recording.read(0, 1000)
    assert recording.n_times == 44
    assert (recording.sfreq, recording.picks) == (250.0, [0, 1, 2])
    assert recording.ch_names == ["EEG1", "EEG2", "EEG3"]
    assert np.array_equal(reading.data, given.data[:, 13:57])
    assert np.array_equal(reading.aux, given.aux[:, 13:57], equal_nan=True)
    assert (reading.first_sample, reading.time_ns) == (0, START_NS + 13 * 4_000_000)


def test_an_open_segment_ends_with_what_is_stored(given, session):
    assert record(session, (given.stream, 80, None)).n_times == 20


def test_a_segment_that_begins_with_samples_still_to_come_is_empty(given, session):
    recording = record(session, (given.stream, 105, None))
    assert recording.n_times == 0
    assert recording.summary().data_points == 0
    assert recording.read(0, 10).data.shape == (3, 0)


def test_a_closed_segment_holds_no_more_than_is_stored(given, session):
    assert record(session, (given.stream, 80, 130)).n_times == 20


def test_a_pause_takes_no_place_on_the_timeline(given, session):
    recording = record(session, (given.stream, 5, 25), (given.stream, 60, 90))
    assert recording.n_times == 50
    expected = np.concatenate([given.data[:, 5:25], given.data[:, 60:90]], axis=1)
    assert np.array_equal(recording.read(0, 50).data, expected)
    across = recording.read(15, 30, picks=[1])
    assert np.array_equal(across.data, expected[[1], 15:30])
    assert (across.first_sample, across.time_ns) == (15, START_NS + 20 * 4_000_000)
    assert recording.read(22, 30).time_ns == START_NS + 62 * 4_000_000


def test_gaps_are_told_on_the_timeline_and_cut_to_the_segments(written):
    given = written([(0, 20, LOST), (10, 20, SILENT), (30, 20, LOST)])
    session = make_session(given.stream.device)
    recording = record(session, (given.stream, 10, 25), (given.stream, 40, 90))
    assert recording.read(0, 65).gaps == (Missing(10, 5, "silent"), Missing(25, 30, "lost"))
    assert recording.read(12, 30).gaps == (Missing(12, 3, "silent"), Missing(25, 5, "lost"))
    assert recording.summary().data_points == 30


def test_several_streams_follow_each_other(written):
    one, other = written(TEN, seed=1), written(TEN, seed=2)
    session = make_session(one.stream.device)
    recording = record(session, (one.stream, 90, 100), (other.stream, 0, 15))
    expected = np.concatenate([one.data[:, 90:], other.data[:, :15]], axis=1)
    assert np.array_equal(recording.read(0, 25).data, expected)


def test_a_channel_that_only_one_stream_has_is_nan_in_the_other(written):
    one = written(TEN, picks=[0, 2, 5], ch_names=["Fp1", "C3", "O1"])
    other = written(TEN, seed=2, picks=[0, 5, 7], ch_names=["Fp1", "O1", "O2"], aux_names=[])
    session = make_session(one.stream.device)
    recording = record(session, (one.stream, 0, 10), (other.stream, 0, 10))
    assert recording.picks == [0, 2, 5, 7]
    assert recording.ch_names == ["Fp1", "C3", "O1", "O2"]
    reading = recording.read(0, 20, picks=[3, 0, 1])
    absent = np.full((1, 10), np.nan, dtype=np.float32)
    first = np.concatenate([absent, one.data[:2, :10]])
    second = np.concatenate([other.data[[2, 0], :10], absent])
    assert np.array_equal(reading.data, np.concatenate([first, second], axis=1), equal_nan=True)
    assert (reading.gaps, reading.aux) == ((), None)


def test_segments_of_different_rates_have_numbers_but_make_no_array(written):
    one, other = written(TEN), written(TEN)
    Stream.objects.filter(pk=other.stream.pk).update(sfreq=125)
    session = make_session(one.stream.device)
    recording = record(session, (one.stream, 0, 100), (other.stream, 0, 100))
    assert recording.summary().duration_seconds == pytest.approx(100 / 250 + 100 / 125)
    with pytest.raises(SessionStateError, match="at 125 and 250 Hz"):
        recording.read(0, 10)


def test_a_place_in_a_stream_has_its_place_on_the_timeline(written):
    one, other = written(TEN), written(TEN)
    session = make_session(one.stream.device)
    recording = record(session, (one.stream, 5, 25), (one.stream, 60, 90), (other.stream, 10, None))
    for stream, sample, expected in [
        (one, 5, 0),
        (one, 24, 19),
        (one, 25, None),
        (one, 60, 20),
        (one, 95, None),
        (other, 10, 50),
        (other, 9, None),
    ]:
        assert recording.sample_of(stream.stream.public_id, sample) == expected
    assert recording.sample_of("strm_unknown", 5) is None


@pytest.mark.parametrize("seed", range(3))
def test_data_points_are_the_samples_in_the_blocks(written, seed):
    given = written(seed=seed)
    middle = given.n_times // 2
    recording = record(
        make_session(given.stream.device),
        (given.stream, 7, middle),
        (given.stream, middle + 33, None),
    )
    summary = recording.summary()
    assert summary.data_points == sum(stored_in(part) for part in recording.parts)
    assert summary.data_points < recording.n_times
    assert summary.duration_seconds == pytest.approx(recording.n_times / 250)


def test_artefacts_are_counted_in_the_seconds_wholly_inside(given, session):
    judge(given.stream, 0, ["bad", "bad", "bad"], has_artifact=True)  # before
    judge(given.stream, 10, ["good", "good", "excellent"])
    judge(given.stream, 20, ["good", "good", "fair"], has_artifact=True)
    judge(given.stream, 30, ["good", "good", "excellent"])
    judge(given.stream, 40, ["excellent", "excellent", "good"])
    judge(given.stream, 50, ["bad", "bad", "bad"], has_artifact=True)  # half
    summary = record(session, (given.stream, 10, 55)).summary()
    assert (summary.artifact_percentage, summary.signal_quality) == (25.0, "good")


def test_what_was_not_judged_has_no_quality(given, session):
    summary = record(session, (given.stream, 0, 100)).summary()
    assert (summary.artifact_percentage, summary.signal_quality) == (None, None)


def test_verdicts_of_the_writer_are_those_of_the_summary(given, session):
    window = Window(100, 10, ("poor", "bad", "bad"), has_artifact=True)
    late = given.chunks[0]
    given.writer.append(
        type(late)(data=late.data, sfreq=250.0, first_sample=100, time_ns=late.time_ns),
        windows=[window],
    )
    summary = record(session, (given.stream, 0, None)).summary()
    assert (summary.artifact_percentage, summary.signal_quality) == (100.0, "bad")
