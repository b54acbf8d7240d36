"""The numbers of many recordings are those of each."""

import pytest

from ingest.models import Gap, QualityWindow, Segment
from ingest.store import Recording
from ingest.store.summaries import summaries
from tests.ingest.factories import make_device, make_session, make_stream

pytestmark = pytest.mark.django_db


def stream_with_everything(device):
    stream = make_stream(device, next_sample=1000, wanted="stopped")
    for first, n_times in ((0, 30), (95, 10), (400, 50), (990, 100)):
        Gap.objects.create(stream=stream, first_sample=first, n_times=n_times, reason="lost")
    for number in range(4):
        QualityWindow.objects.create(
            stream=stream,
            first_sample=250 * number,
            n_times=250,
            verdicts=["good", "poor" if number % 2 else "good"],
            has_artifact=bool(number % 2),
        )
    return stream


def record(session, *parts):
    for stream, first, stop in parts:
        Segment.objects.create(session=session, stream=stream, first_sample=first, stop_sample=stop)


def test_the_numbers_of_many_recordings_are_those_of_each(django_assert_num_queries):
    device = make_device()
    one, two = stream_with_everything(device), stream_with_everything(device)
    sessions = [make_session(device) for _ in range(6)]
    record(sessions[0], (one, 0, 1000))
    record(sessions[1], (one, 100, 420), (one, 500, 760), (two, 0, 251))
    record(sessions[2], (one, 700, None))
    record(sessions[3], (two, 990, 5000))
    record(sessions[4], (two, 600, 600))
    with django_assert_num_queries(3):
        found = summaries([session.pk for session in sessions])
    assert found == {session.pk: Recording.of(session).summary() for session in sessions}
    assert found[sessions[0].pk].data_points == 1000 - 30 - 10 - 50 - 10
    assert found[sessions[5].pk].signal_quality is None
