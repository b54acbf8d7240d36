"""Where samples belong: thought out before anything is locked, and remembered by the process."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.models import Gap, Segment, Stream
from ingest.services import ingestions, placing
from ingest.services.placing import Samples
from ingest.store import receipts
from sessions_app.models import Session
from tests.ingest.factories import make_device
from tests.ingest.ingestions import PATH, accepted, message, samples, stored
from tests.ingest.rest import Program, error_of

pytestmark = pytest.mark.django_db

LATE = (0.0, 0.0011, 0.5, 7.0, 4000.0, -100.0)  # seconds: in time, within jitter, gaps, anew


@pytest.fixture
def program() -> Program:
    return Program("operator")


@pytest.fixture
def session(program) -> Session:
    return program.make_session(make_device())


def end_of(session: Session) -> tuple[receipts.End, receipts.End]:
    """Return how the session's last stream ends: as it is remembered, and as it is stored."""
    last = receipts.pieces_of(session)[-1]
    return receipts._left[last.stream_name], receipts.read_end(last.stream)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_remembered_is_what_is_stored(
    program, session, seed, django_capture_on_commit_callbacks
):
    rng = np.random.default_rng(seed)
    seconds = 0.0
    for _ in range(8):
        n_times = int(rng.choice([1, 50, 250, 333, 600]))
        seconds += float(rng.choice(LATE, p=[0.5, *[0.1] * (len(LATE) - 1)]))
        with django_capture_on_commit_callbacks(execute=True):
            accepted(program.post(PATH, message(session, samples(n_times), seconds=seconds)))
        remembered, read = end_of(session)
        assert remembered[1:] == read[1:]
        for field in ("pk", "public_id", "next_sequence", "sfreq", "picks"):
            assert getattr(remembered.stream, field) == getattr(read.stream, field)
        seconds += n_times / 250


def test_a_stream_that_is_remembered_is_not_asked_for(
    program, session, django_capture_on_commit_callbacks, monkeypatch
):
    with django_capture_on_commit_callbacks(execute=True):
        accepted(program.post(PATH, message(session, samples())))
    monkeypatch.setattr(receipts, "read_end", lambda stream: pytest.fail("It was asked for"))
    accepted(program.post(PATH, message(session, samples(first=250), seconds=1)))
    assert np.array_equal(stored(session), samples(500))


def test_what_was_rolled_back_is_not_remembered(
    program, session, django_capture_on_commit_callbacks, monkeypatch
):
    with django_capture_on_commit_callbacks(execute=True):
        accepted(program.post(PATH, message(session, samples())))
    with monkeypatch.context() as patch, django_capture_on_commit_callbacks(execute=True):
        patch.setattr(receipts, "insert", lambda ingestion: 1 / 0)
        failed = program.post(PATH, message(session, samples(first=1000), seconds=1))
        assert failed.status_code == 500
    remembered, read = end_of(session)
    assert remembered.next_sample == read.next_sample == 250
    accepted(program.post(PATH, message(session, samples(first=250), seconds=1)))
    assert np.array_equal(stored(session), samples(500))


def test_so_many_streams_are_remembered_and_no_more(
    program, session, django_capture_on_commit_callbacks, monkeypatch
):
    monkeypatch.setattr(receipts, "_left", {})
    monkeypatch.setattr(receipts, "MAX_LEFT", 2)
    for number in range(4):
        with django_capture_on_commit_callbacks(execute=True):
            accepted(program.post(PATH, message(session, samples(), seconds=-100 * number)))
    last_two = list(Stream.objects.order_by("pk").values_list("public_id", flat=True))[-2:]
    assert list(receipts._left) == last_two


def test_another_process_that_went_on_is_noticed(program, session):
    accepted(program.post(PATH, message(session, samples())))
    last = receipts.pieces_of(session)[-1]
    stale = receipts.read_end(last.stream)
    accepted(program.post(PATH, message(session, samples(first=250), seconds=1)))
    receipts._left[last.stream_name] = stale
    accepted(program.post(PATH, message(session, samples(first=500), seconds=2)))
    assert np.array_equal(stored(session), samples(750))
    assert not Gap.objects.exists()


def lock_after(monkeypatch, act) -> None:
    """Let something happen between the moment a plan is made and the lock."""
    lock = ingestions.lock_session
    waiting = [act]

    def lock_session(*args):
        if waiting:
            waiting.pop()()
        return lock(*args)

    monkeypatch.setattr(ingestions, "lock_session", lock_session)
    monkeypatch.setattr(ingestions, "is_taken", lambda: True)


def test_samples_that_came_in_between_are_not_written_over(program, session, monkeypatch):
    accepted(program.post(PATH, message(session, samples())))
    other = message(session, samples(first=250), seconds=1)
    lock_after(monkeypatch, lambda: accepted(program.post(PATH, other)))
    answer = accepted(program.post(PATH, message(session, samples(first=500), seconds=2)))
    assert answer["first_sample"] == 500
    assert np.array_equal(stored(session), samples(750))
    assert Segment.objects.count() == 1
    assert not Gap.objects.exists()


def test_the_first_samples_of_two_programs_make_one_stream(program, session, monkeypatch):
    first = message(session, samples())
    lock_after(monkeypatch, lambda: accepted(program.post(PATH, first)))
    accepted(program.post(PATH, message(session, samples(first=250), seconds=1)))
    assert Stream.objects.count() == 1
    assert np.array_equal(stored(session), samples(500))


def test_a_session_that_was_stopped_in_between_takes_nothing(program, session, monkeypatch):
    accepted(program.post(PATH, message(session, samples())))
    lock_after(monkeypatch, lambda: Session.objects.update(status="completed"))
    answer = program.post(PATH, message(session, samples(first=250), seconds=1))
    error_of(answer, 409, "INVALID_SESSION_STATE")
    assert np.array_equal(stored(session), samples())


def test_a_plan_writes_nothing(program, session):
    accepted(program.post(PATH, message(session, samples())))
    sent = Samples(samples(first=500), 250.0, 0)
    before = list(Stream.objects.values_list("pk", "next_sample"))
    assert placing.plan(session, sent).end is None  # half a century before
    assert list(Stream.objects.values_list("pk", "next_sample")) == before
