"""POST /v1/ingest/neural-data: what is stored, where, and once only."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from django.db import connection

from ingest.models import Block, Gap, Ingestion, QualityWindow, Segment, Stream
from ingest.store import BlockWriter, Recording
from neurascale.core.chunk import Chunk
from sessions_app.models import Session
from tests.ingest.factories import make_device, make_stream
from tests.ingest.ingestions import (
    ARROW,
    NPY,
    PATH,
    START,
    accepted,
    arrow,
    message,
    npy,
    query,
    samples,
    stored,
)
from tests.ingest.rest import Program, error_of, fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def program() -> Program:
    return Program("operator")


@pytest.fixture
def session(program) -> Session:
    return program.make_session(make_device())


# --- What is stored ------------------------------------------------------------------------------


def test_samples_are_stored_to_the_last_bit_in_blocks_of_a_second(program, session):
    data = np.random.default_rng(1).normal(0, 30, (8, 700)).astype(np.float32)
    answer = accepted(program.post(PATH, message(session, data)))
    assert answer["samples"] == 700
    assert answer["first_sample"] == 0
    assert answer["session_id"] == session.public_id
    assert np.array_equal(stored(session), data)
    assert list(Block.objects.values_list("first_sample", "n_times", "sequence")) == [
        (0, 250, None),
        (250, 250, None),
        (500, 200, None),
    ]
    stream = Stream.objects.get()
    assert (stream.origin, stream.wanted, stream.scale_uv) == ("ingest", "stopped", None)
    assert stream.picks == list(range(8))


def test_the_time_of_the_first_sample_is_the_timestamp(program, session):
    accepted(program.post(PATH, message(session, samples(500))))
    times = list(Block.objects.values_list("time_ns", flat=True))
    start_ns = int(START.timestamp()) * 10**9
    assert times == [start_ns, start_ns + 10**9]


@pytest.mark.parametrize(
    ("media_type", "encode"), [(NPY, npy), (NPY, lambda d: npy(d.T)), (ARROW, arrow)]
)
def test_binary_bodies_are_stored_as_json_is(program, session, media_type, encode):
    data = samples(300)
    answer = accepted(
        program.post(
            query(session, metadata='{"task":"rest"}'), encode(data), content_type=media_type
        )
    )
    assert answer["samples"] == 300
    assert answer["metadata"] == {"task": "rest"}
    assert np.array_equal(stored(session), data)


def test_rows_may_be_samples(program, session):
    body = message(session, samples(300))
    body["data"]["eeg"] = samples(300).T.tolist()
    accepted(program.post(PATH, body))
    assert np.array_equal(stored(session), samples(300))


def test_a_stated_layout_settles_a_square(program, session):
    body = message(session, samples(8).T)
    body["data"]["layout"] = "samples_first"
    accepted(program.post(PATH, body))
    assert np.array_equal(stored(session), samples(8))


def test_the_first_samples_make_a_session_active(program, session):
    assert session.status == "created"
    accepted(program.post(PATH, message(session, samples())))
    session.refresh_from_db()
    assert session.status == "active"
    assert session.start_time is not None


def test_a_session_ends_when_it_has_all_it_wanted(program):
    session = program.make_session(make_device(), duration_minutes=2 / 60)
    accepted(program.post(PATH, message(session, samples())))
    session.refresh_from_db()
    assert session.status == "active"
    accepted(program.post(PATH, message(session, samples(first=250), seconds=1)))
    session.refresh_from_db()
    assert session.status == "completed"
    assert Recording.of(session).n_times == 500


def test_each_whole_second_is_judged_however_it_is_cut(program, session):
    noise = np.random.default_rng(2).normal(0, 5, (8, 600)).astype(np.float32)
    for first in range(0, 600, 100):
        part = noise[:, first : first + 100]
        accepted(program.post(PATH, message(session, part, seconds=first / 250)))
    windows = QualityWindow.objects.values_list("first_sample", "n_times", "verdicts")
    assert list(windows) == [(0, 250, ["excellent"] * 8), (250, 250, ["excellent"] * 8)]
    assert Recording.of(session).summary().signal_quality == "excellent"


def test_an_ingestion_can_be_looked_up(program, session):
    answer = accepted(program.post(PATH, message(session, samples(), metadata={"task": "rest"})))
    found = program.get(f"ingest/{answer['ingestion_id']}")
    assert found.status_code == 200
    assert found.json() == answer


# --- Where it belongs ----------------------------------------------------------------------------


def test_what_continues_is_appended(program, session):
    accepted(program.post(PATH, message(session, samples())))
    answer = accepted(program.post(PATH, message(session, samples(first=250), seconds=1)))
    assert answer["first_sample"] == 250
    assert np.array_equal(stored(session), samples(500))
    assert not Gap.objects.exists()
    assert Segment.objects.count() == 1


@pytest.mark.parametrize("jitter", [-0.0019, 0.0019])
def test_half_a_sample_of_jitter_is_no_gap(program, session, jitter):
    accepted(program.post(PATH, message(session, samples())))
    accepted(program.post(PATH, message(session, samples(first=250), seconds=1 + jitter)))
    assert Stream.objects.count() == 1
    assert not Gap.objects.exists()


def test_what_comes_later_leaves_a_gap(program, session):
    accepted(program.post(PATH, message(session, samples())))
    answer = accepted(program.post(PATH, message(session, samples(first=375), seconds=1.5)))
    assert answer["first_sample"] == 375
    assert Gap.objects.values_list("first_sample", "n_times", "reason").get() == (
        *(250, 125, "external"),
    )
    data = stored(session)
    assert np.isnan(data[:, 250:375]).all()
    assert np.array_equal(data[:, 375:], samples(first=375))
    assert Recording.of(session).summary().data_points == 500


def test_one_missing_sample_is_one_missing_sample(program, session):
    accepted(program.post(PATH, message(session, samples())))
    accepted(program.post(PATH, message(session, samples(), seconds=1.004)))
    assert Gap.objects.get().n_times == 1


def test_a_clock_that_was_set_back_begins_a_new_stream_in_the_same_session(program, session):
    accepted(program.post(PATH, message(session, samples(), seconds=10)))
    answer = accepted(program.post(PATH, message(session, samples(first=250))))
    assert answer["first_sample"] == 250
    assert answer["stream_sample"] == 0
    assert Stream.objects.count() == 2
    assert np.array_equal(stored(session), samples(500))
    accepted(program.post(PATH, message(session, samples(first=500), seconds=1)))
    assert Stream.objects.count() == 2
    assert np.array_equal(stored(session), samples(750))


def test_hours_without_samples_are_not_a_gap_of_hours(program, session):
    accepted(program.post(PATH, message(session, samples())))
    accepted(program.post(PATH, message(session, samples(first=250), seconds=7200)))
    assert not Gap.objects.exists()
    assert np.array_equal(stored(session), samples(500))


def recording_from_board(program: Program) -> tuple[Session, BlockWriter]:
    """Return a session that records from its board, and the board's writer."""
    stream = make_stream(
        state=Stream.State.RUNNING,
        lease_holder="me|1|1|1",
        picks=list(range(8)),
        ch_names=[f"EEG{n}" for n in range(1, 9)],
        scale_uv=[0.125] * 8,
    )
    session = program.make_session(stream.device, status=Session.Status.ACTIVE)
    Segment.objects.create(session=session, stream=stream, first_sample=0)
    return session, BlockWriter(stream, holder="me|1|1|1")


def test_a_board_that_records_meanwhile_loses_nothing_and_nothing_moves(program):
    session, board = recording_from_board(program)
    start_ns = int(START.timestamp()) * 10**9

    def record(first: int) -> None:
        board.append(Chunk(samples(10, first=first), 250.0, first, start_ns + first * 4_000_000))

    record(0)
    first = accepted(program.post(PATH, message(session, samples(20, first=1000))))
    record(10)
    second = accepted(program.post(PATH, message(session, samples(20, first=1020), seconds=0.08)))
    record(20)
    assert (first["first_sample"], second["first_sample"]) == (10, 40)
    expected = [samples(10), samples(20, first=1000), samples(10, first=10)]
    expected += [samples(20, first=1020), samples(10, first=20)]
    assert np.array_equal(stored(session), np.concatenate(expected, axis=1))
    assert program.get(f"ingest/{first['ingestion_id']}").json() == first
    assert Segment.objects.filter(stop_sample__isnull=True).get().stream == board.stream


# --- Once ----------------------------------------------------------------------------------------


def test_the_same_key_and_body_stores_once_and_answers_the_same(program, session):
    body = message(session, samples())
    first = accepted(program.post(PATH, body, Idempotency_Key="a"))
    again = accepted(program.post(PATH, body, Idempotency_Key="a"))
    assert again == first
    assert Block.objects.count() == 1
    other = accepted(
        program.post(PATH, message(session, samples(), seconds=1), Idempotency_Key="b")
    )
    assert other["ingestion_id"] != first["ingestion_id"]
    assert Block.objects.count() == 2


def test_a_repetition_is_answered_even_when_the_session_is_over(program, session):
    body = message(session, samples())
    first = accepted(program.post(PATH, body, Idempotency_Key="a"))
    assert program.post(f"sessions/{session.public_id}/stop").status_code == 200
    assert accepted(program.post(PATH, body, Idempotency_Key="a")) == first


def test_the_same_key_with_another_body_is_refused(program, session):
    first = accepted(program.post(PATH, message(session, samples()), Idempotency_Key="a"))
    response = program.post(PATH, message(session, samples(), seconds=1), Idempotency_Key="a")
    error = error_of(response, 409, "IDEMPOTENCY_CONFLICT")
    assert error["details"]["ingestion_id"] == first["ingestion_id"]
    assert Block.objects.count() == 1


def test_a_refusal_is_given_again_until_the_key_is_a_fresh_one(program, session):
    body = message(session, samples(), device_id="dev_aaaaaaaaaaaaaaaa")
    first = program.post(PATH, body, Idempotency_Key="a")
    error = error_of(first, 404, "INVALID_DEVICE_ID")
    again = program.post(PATH, body, Idempotency_Key="a")
    assert error_of(again, 404, "INVALID_DEVICE_ID") == error  # its request id, too
    assert again["Idempotent-Replayed"] == "true"
    right = message(session, samples())
    error_of(program.post(PATH, right, Idempotency_Key="a"), 409, "IDEMPOTENCY_CONFLICT")
    assert not Ingestion.objects.exists()
    accepted(program.post(PATH, right, Idempotency_Key="b"))


def test_a_conflict_does_not_take_the_place_of_the_first_answer(program, session):
    body, other = message(session, samples()), message(session, samples(), seconds=1)
    first = accepted(program.post(PATH, body, Idempotency_Key="a"))
    error_of(program.post(PATH, other, Idempotency_Key="a"), 409, "IDEMPOTENCY_CONFLICT")
    assert accepted(program.post(PATH, body, Idempotency_Key="a")) == first


def test_a_key_that_was_used_on_another_path_is_refused(program, session):
    label = {"label": "cue"}
    path = f"sessions/{session.public_id}/events"
    assert program.post(path, label, Idempotency_Key="a").status_code == 201
    refused = program.post(PATH, message(session, samples()), Idempotency_Key="a")
    error_of(refused, 409, "IDEMPOTENCY_CONFLICT")
    assert not Ingestion.objects.exists()


def test_the_same_body_with_another_query_is_another_request(program, session):
    accepted(program.post(query(session), npy(samples()), NPY, Idempotency_Key="a"))
    response = program.post(query(session, seconds=1), npy(samples()), NPY, Idempotency_Key="a")
    error_of(response, 409, "IDEMPOTENCY_CONFLICT")


def test_a_key_belongs_to_its_client(program, session):
    other = Program("operator")
    accepted(program.post(PATH, message(session, samples()), Idempotency_Key="a"))
    theirs = other.make_session(make_device())
    accepted(other.post(PATH, message(theirs, samples()), Idempotency_Key="a"))
    assert Ingestion.objects.count() == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_has_to_be_one(program, session, key):
    response = program.post(PATH, message(session, samples()), Idempotency_Key=key)
    assert "Idempotency-Key" in fields_of(response)


def at_once(requests: list) -> list:
    """Run requests in threads that begin together, and return their answers."""
    answers: list = [None] * len(requests)
    ready = threading.Barrier(len(requests))

    def run(place: int) -> None:
        ready.wait(30)
        try:
            answers[place] = requests[place]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


@pytest.mark.django_db(transaction=True)
def test_the_same_request_many_times_at_once_stores_once(program, session):
    body = message(session, samples())
    answers = at_once([lambda: program.post(PATH, body, Idempotency_Key="a")] * 6)
    assert len({accepted(answer)["ingestion_id"] for answer in answers}) == 1
    assert Block.objects.count() == 1
    assert Ingestion.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_key_for_two_sessions_at_once_is_a_conflict_for_one(program, session):
    other = program.make_session(make_device())
    bodies = [message(session, samples()), message(other, samples())]
    answers = at_once(
        [lambda body=body: program.post(PATH, body, Idempotency_Key="a") for body in bodies]
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert Block.objects.count() == 1
    assert Segment.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_session_wait_for_each_other(program, session):
    parts = [message(session, samples(50, first=50 * k), seconds=0.2 * k) for k in range(6)]
    accepted(program.post(PATH, parts[0]))
    answers = at_once([lambda part=part: program.post(PATH, part) for part in parts[1:]])
    ends = sorted(
        (answer["first_sample"], answer["first_sample"] + answer["samples"])
        for answer in map(accepted, answers)
    )
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(ends))
    data = stored(session)
    present = data[0][~np.isnan(data[0])]
    assert sorted(present.tolist()) == list(range(300))
