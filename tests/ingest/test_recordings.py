"""Sessions as recordings: what a start, a pause and a stop leave in the tables."""

import itertools
import time
from datetime import timedelta

import pytest
import time_machine
from django.db.models import F
from django.utils import timezone

from ingest import segments
from ingest.errors import DeviceNotStreamingError, NoSuchSampleError
from ingest.markers import record_board_marker
from ingest.models import Block, Stream
from ingest.reconcile import end_due_sessions, unserved_streams
from ingest.services import recordings
from ingest.services.streams import stop_stream
from ingest.store import BlockWriter, Recording, time_of
from ingest.store.summaries import summaries
from neurascale.core.chunk import Chunk, Marker
from neurascale.core.host import boot_id
from sessions_app.errors import SessionStateError
from sessions_app.models import Event, Session, Study
from tests.ingest.factories import make_chunk, make_device, make_session, make_stream

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_waits(settings):
    settings.ANSWER_SECONDS = 0.0


def running_stream(n_chunks: int = 10, *, lag_seconds: float = 0.0, **fields) -> Stream:
    """Return a stream that has samples up to this moment, or to a moment ago."""
    stream = make_stream(state=Stream.State.RUNNING, lease_holder="me|1|1|1", **fields)
    writer = BlockWriter(stream, holder="me|1|1|1")
    began = time.time_ns() - n_chunks * 40_000_000 - round(lag_seconds * 1e9)
    for k in range(n_chunks):
        chunk = make_chunk(10 * k)
        writer.append(Chunk(chunk.data, 250.0, chunk.first_sample, time_ns=began + k * 40_000_000))
    stream.refresh_from_db()
    return stream


def more(stream: Stream, n_chunks: int) -> None:
    """Store what the board has sent since."""
    stream.refresh_from_db()
    writer = BlockWriter(stream, holder=stream.lease_holder)
    last = Block.objects.filter(stream=stream).latest("first_sample")
    for k in range(1, n_chunks + 1):
        chunk = make_chunk(last.first_sample + 10 * k)
        time_ns = last.time_ns + k * 40_000_000
        writer.append(Chunk(chunk.data, 250.0, chunk.first_sample, time_ns=time_ns))


def test_a_session_created_on_a_streaming_device_records_from_this_moment(admin_user):
    stream = running_stream()
    study = Study.objects.create(name="ours")
    session = recordings.create_session(principal=admin_user, device=stream.device, study=study)
    segment = session.segments.get()
    assert session.status == Session.Status.ACTIVE
    assert stream.next_sample <= segment.first_sample <= stream.next_sample + 250


def test_what_was_taken_before_the_start_belongs_to_no_session_however_late_it_comes():
    stream = running_stream(lag_seconds=4.0)
    session = make_session(stream.device)
    recordings.start_session(session=session)
    first = session.segments.get().first_sample
    assert first >= stream.next_sample + 1000
    more(stream, 100)  # what was on its way then
    assert Recording.of(session).n_times == 0
    assert summaries([session.pk])[session.pk].data_points == 0
    more(stream, 100)
    stream.refresh_from_db()
    assert Recording.of(session).n_times == stream.next_sample - first > 0


def test_what_was_taken_before_the_stop_is_waited_for_as_long_as_any_comes(monkeypatch):
    stream = running_stream(lag_seconds=4.0)
    session = make_session(stream.device)
    recordings.start_session(session=session)
    more(stream, 110)
    Block.objects.filter(stream=stream).update(time_ns=F("time_ns") - 3_000_000_000)  # it lags
    clock = itertools.count(step=segments.PATIENCE_SECONDS / 2)

    def arrive(_: float) -> None:
        next(clock)
        more(stream, 5)

    monkeypatch.setattr(segments.time, "sleep", arrive)
    monkeypatch.setattr(segments.time, "monotonic", lambda: next(clock))
    stop_ns = time.time_ns()
    recordings.stop_session(session=session)
    segment = session.segments.get()
    assert abs(time_of(stream, segment.stop_sample) - stop_ns) < 500_000_000
    assert Recording.of(session).n_times == segment.stop_sample - segment.first_sample > 700


def test_a_stop_before_anything_came_leaves_an_empty_recording():
    stream = running_stream(lag_seconds=4.0)
    session = make_session(stream.device)
    recordings.start_session(session=session)
    session = recordings.stop_session(session=session)
    assert session.status == Session.Status.COMPLETED
    assert Recording.of(session).n_times == 0
    segment = session.segments.get()
    assert segment.stop_sample == segment.first_sample


def test_a_board_marks_the_session_that_has_the_sample():
    stream = running_stream(lag_seconds=4.0)
    session = make_session(stream.device)
    recordings.start_session(session=session)
    segment = session.segments.get()
    first, stop = segment.first_sample, segment.first_sample + 50
    segments.end(segment, at=stop)
    chunk = make_chunk(first - 1, 60)
    marked = [(first - 1, False), (first, True), (stop - 1, True), (stop, False)]
    for sample, is_recorded in marked:
        told, study = record_board_marker(stream, chunk, Marker(sample, 7))
        assert told["session_id"] == (session.public_id if is_recorded else None)
        assert study == (session.study.public_id if is_recorded else "")
    assert [event.sample for event in session.events.all()] == [first, stop - 1]


def test_a_session_on_a_silent_device_waits(admin_user):
    study = Study.objects.create(name="ours")
    session = recordings.create_session(principal=admin_user, device=make_device(), study=study)
    assert session.status == Session.Status.CREATED
    assert not session.segments.exists()


def test_what_was_taken_before_the_stop_belongs_to_the_session():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    segment = session.segments.get()
    more(stream, 100)  # stored up to four seconds from now: nothing is in flight
    session = recordings.stop_session(session=session)
    segment.refresh_from_db()
    stream.refresh_from_db()
    assert segment.stop_sample == stream.next_sample
    assert session.status == Session.Status.COMPLETED


def test_a_pause_leaves_out_what_comes():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    more(stream, 100)
    recordings.pause_session(session=session)
    recorded = Recording.of(session).n_times
    more(stream, 10)
    assert Recording.of(session).n_times == recorded
    session.refresh_from_db()
    recordings.resume_session(session=session)
    more(stream, 10)
    assert session.segments.count() == 2
    assert Recording.of(session).n_times == recorded + 100


def test_only_the_steps_of_the_life_cycle_are_taken():
    stream = running_stream()
    session = make_session(stream.device)
    with pytest.raises(SessionStateError, match="is created and cannot become paused"):
        recordings.pause_session(session=session)
    with pytest.raises(SessionStateError, match="is created and cannot become completed"):
        recordings.stop_session(session=session)
    with pytest.raises(SessionStateError):
        recordings.resume_session(session=session)


def test_a_session_ends_on_the_sample_where_its_duration_is_reached():
    stream = running_stream()
    session = make_session(stream.device, duration_minutes=0.01)  # 150 samples
    recordings.start_session(session=session)
    more(stream, 14)
    assert end_due_sessions() == 0
    more(stream, 100)
    assert end_due_sessions() == 1
    session.refresh_from_db()
    assert session.status == Session.Status.COMPLETED
    assert Recording.of(session).n_times == 150
    (part,) = Recording.of(session).parts
    ended = time_of(stream, part.stop_sample) / 1e9  # not when somebody noticed
    assert session.end_time.timestamp() == pytest.approx(ended, abs=1e-3)


def test_stopping_the_stream_completes_the_session():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    more(stream, 100)
    stop_stream(device=stream.device)
    session.refresh_from_db()
    stream.refresh_from_db()
    assert session.status == Session.Status.COMPLETED
    assert (stream.wanted, stream.state) == ("stopped", "stopped")


def test_an_event_falls_on_the_sample_that_was_taken_then():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    more(stream, 100)
    block = Block.objects.filter(stream=stream).latest("first_sample")
    event = recordings.add_event(session=session, label="cue", time_ns=block.time_ns + 8_000_000)
    assert event.sample == block.first_sample + 2
    assert event.stream_id == stream.public_id


def test_an_event_of_this_moment_has_the_sample_that_is_being_taken():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    event = recordings.add_event(session=session, label="cue")
    place = Recording.of(session).sample_of(event.stream_id, event.sample)
    assert place == event.sample - session.segments.get().first_sample >= 0
    assert event.sample > stream.next_sample - 1  # it is not stored yet


@pytest.mark.parametrize("seconds", [0.0, -3600.0, 3600.0])
def test_a_time_that_was_given_is_kept_as_it_was(seconds):
    offset_ns = time.time_ns() - time.monotonic_ns()
    stream = running_stream(clock_offset_ns=offset_ns, boot_id=boot_id())
    session = make_session(stream.device)
    recordings.start_session(session=session)
    given = time.time_ns() + round(seconds * 1e9)
    event = recordings.add_event(session=session, label="cue", time_ns=given)
    assert event.time_ns == given


def test_a_time_is_put_on_the_streams_clock_where_the_wall_clock_was_set_since():
    offset_ns = time.time_ns() - time.monotonic_ns() - 5_000_000_000
    stream = running_stream(clock_offset_ns=offset_ns, boot_id=boot_id())
    given = time.time_ns()
    moved = segments.stream_time_ns(stream, given) - given
    assert moved == pytest.approx(-5_000_000_000, abs=segments.CLOCK_NOISE_NS)


def test_an_event_can_be_placed_on_the_timeline():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    more(stream, 100)
    event = recordings.add_event(session=session, label="cue", sample=7)
    assert event.sample == session.segments.get().first_sample + 7
    with pytest.raises(NoSuchSampleError, match="has recorded samples 0 to"):
        recordings.add_event(session=session, label="cue", sample=10**6)


def test_a_marker_without_a_stream_is_refused():
    with pytest.raises(DeviceNotStreamingError, match="falls on no sample"):
        recordings.place_marker(
            principal=None, device=make_device(), label="x", source=Event.Source.WEBSOCKET
        )


def test_a_stream_that_nobody_served_for_long_is_succeeded_and_its_session_is_over():
    stream = running_stream()
    session = make_session(stream.device)
    recordings.start_session(session=session)
    more(stream, 5)
    Stream.objects.update(lease_holder="", lease_until=timezone.now() - timedelta(seconds=1))
    assert unserved_streams() == [stream]
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        (successor,) = unserved_streams()
    assert successor.pk != stream.pk
    assert successor.next_sequence == Stream.objects.get(pk=stream.pk).next_sequence
    session.refresh_from_db()
    assert session.status == Session.Status.COMPLETED
    assert session.segments.get().stop_sample is not None
    stream.refresh_from_db()
    alone_since = time_of(stream, stream.next_sample) / 1e9
    ended_at = max(alone_since, session.start_time.timestamp())
    assert session.end_time.timestamp() == pytest.approx(ended_at, abs=1e-3)
