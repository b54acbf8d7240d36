"""A subject withdraws: its samples are gone from everywhere, others' stay bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from devices.models import Device
from ingest.models import Block, Gap, Ingestion, QualityWindow, Segment, Stream
from ingest.services.recordings import create_session
from ingest.store import BlockWriter, Missing, Recording, erase, iter_chunks, prune, read, without
from neurascale.core.chunk import GapReason
from neurascale.core.models import AuditEntry, KeptAnswer
from sessions_app.models import Event, Session, Subject, Withdrawal
from sessions_app.services import change_study, find_subject
from tests.ingest.factories import make_chunk, make_device, make_stream
from tests.ingest.ingestions import PATH, accepted, message, samples, stored
from tests.ingest.rest import Program, error_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def program() -> Program:
    return Program("operator")


def record(stream: Stream, program: Program, first: int, stop: int, code: str | None) -> Session:
    """Return a session that recorded samples of a stream."""
    subject = find_subject(study=program.study, code=code) if code else None
    session = program.make_session(stream.device, subject=subject, status=Session.Status.COMPLETED)
    Segment.objects.create(session=session, stream=stream, first_sample=first, stop_sample=stop)
    return session


@pytest.fixture
def stream() -> Stream:
    """Return 1000 samples in blocks of 10, with a gap at 500, and a verdict for every 50."""
    stream = make_stream()
    writer = BlockWriter(stream, holder="")
    for first in range(0, 1000, 10):
        if not 500 <= first < 550:
            writer.append(make_chunk(first))
    for first in range(0, 1000, 50):
        QualityWindow.objects.create(
            stream=stream, first_sample=first, n_times=50, verdicts=[], has_artifact=False
        )
    stream.refresh_from_db()
    return stream


def withdraw(program: Program, session: Session) -> dict[str, Any]:
    answer = program.post(f"subjects/{session.subject.public_id}/withdraw")
    assert answer.status_code == 200, answer.content
    return answer.json()


# --- What goes and what stays --------------------------------------------------------------------


def test_a_withdrawn_recording_is_gone_with_all_that_belongs_to_it(program, stream):
    session = record(stream, program, 203, 407, "S01")
    Event.objects.create(session=session, label="cue", time_ns=0)
    before = read(stream, 0, 1000).data
    told = withdraw(program, session)
    assert (told["sessions"], told["data_points"]) == (1, 204)
    assert not Session.objects.exists()
    assert not Event.objects.exists()
    assert not Segment.objects.exists()
    after = read(stream, 0, 1000)
    assert np.isnan(after.data[:, 203:407]).all()
    assert np.array_equal(after.data[:, :203], before[:, :203])
    assert np.array_equal(after.data[:, 407:], before[:, 407:], equal_nan=True)
    assert Missing(203, 204, "withdrawn") in after.gaps
    assert after.time_ns == make_chunk(0).time_ns
    assert not QualityWindow.objects.filter(first_sample__gt=150, first_sample__lt=407).exists()


def test_no_byte_of_what_was_withdrawn_is_in_a_row(program, stream):
    record(stream, program, 203, 407, None)
    session = record(stream, program, 203, 407, "S01")
    Session.objects.exclude(pk=session.pk).delete()
    withdraw(program, session)
    for block in Block.objects.filter(stream=stream):
        assert block.first_sample + block.n_times <= 203 or block.first_sample >= 407


def test_what_another_session_recorded_too_stays_and_its_numbers_with_it(program, stream):
    mine = record(stream, program, 100, 700, "S01")
    theirs = record(stream, program, 400, 600, "S02")
    before, summary = Recording.of(theirs).read(0, 200), Recording.of(theirs).summary()
    told = withdraw(program, mine)
    assert told["data_points"] == 300 + 100
    after = Recording.of(theirs).read(0, 200)
    assert np.array_equal(after.data, before.data, equal_nan=True)
    assert after.gaps == before.gaps
    assert Recording.of(theirs).summary() == summary
    assert read(stream, 100, 700).gaps == (
        Missing(100, 300, "withdrawn"),
        Missing(500, 50, "lost"),
        Missing(600, 100, "withdrawn"),
    )


def test_what_is_missing_for_another_reason_becomes_part_of_what_was_withdrawn(program, stream):
    withdraw(program, record(stream, program, 520, 600, "S01"))
    assert read(stream, 480, 620).gaps == (
        Missing(500, 20, "lost"),
        Missing(520, 80, "withdrawn"),
    )


def test_pruning_forgets_the_rest_but_not_why_that_is_missing(program, stream):
    withdraw(program, record(stream, program, 203, 407, "S01"))
    prune(older_than_seconds=0)
    assert not Block.objects.filter(stream=stream).exists()
    assert [gap.reason for gap in Gap.objects.all()] == ["withdrawn"]
    assert Missing(203, 204, "withdrawn") in read(stream, 0, 1000).gaps


def test_a_stream_with_a_hole_is_still_read_and_written(program, stream):
    withdraw(program, record(stream, program, 203, 407, "S01"))
    chunks = list(iter_chunks(stream))
    assert [c.gap for _, c in chunks if c.first_sample == 407] == [GapReason.WITHDRAWN]
    sequences = [sequence for sequence, _ in chunks]
    assert len(set(sequences)) == len(sequences)
    BlockWriter(stream, holder="").append(make_chunk(1000))
    assert not np.isnan(read(stream, 990, 1010).data).any()


def test_a_recording_shorter_than_a_block_leaves_both_ends_of_it(program, stream):
    before = read(stream, 200, 210).data
    withdraw(program, record(stream, program, 203, 206, "S01"))
    after = read(stream, 200, 210).data
    assert np.isnan(after[:, 3:6]).all()
    assert np.array_equal(after[:, [0, 1, 2, 6, 7, 8, 9]], before[:, [0, 1, 2, 6, 7, 8, 9]])


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5),
)
def test_what_is_left_of_stretches_is_what_sets_say(some, others):
    stretches = [(min(s), max(s)) for s in some]
    kept = [(min(s), max(s)) for s in others]
    left = [n for start, stop in without(stretches, kept) for n in range(start, stop)]
    numbers = [set().union(*(range(*s) for s in group)) for group in (stretches, kept)]
    assert left == sorted(numbers[0] - numbers[1])


def test_samples_that_are_not_stored_yet_are_not_spoken_of(stream):
    assert erase(stream, 990, 5000) == 10
    assert Gap.objects.get(reason="withdrawn").n_times == 10


# --- What programs ingested ----------------------------------------------------------------------


def test_an_ingested_recording_goes_with_its_stream(program):
    session = program.make_session(make_device())
    metadata = {"task": "rest", "subject_id": "S01"}
    accepted(program.post(PATH, message(session, samples(), metadata=metadata)))
    session.refresh_from_db()
    assert session.subject is not None  # a session that was nobody's becomes the subject's
    program.post(f"sessions/{session.public_id}/stop")
    assert withdraw(program, session)["data_points"] == 250
    for model in (Stream, Block, Gap, Ingestion, Segment, QualityWindow, Session):
        assert not model.objects.exists(), model


def test_what_was_ingested_in_its_name_into_the_session_of_another_goes_and_the_rest_stays(
    program,
):
    session = program.make_session(make_device())
    for second, code in enumerate(["S01", "S02", "S01"]):
        sent = samples(first=250 * second)
        body = message(session, sent, seconds=second, metadata={"subject_id": code})
        accepted(program.post(PATH, body))
    other = Subject.objects.exclude(pk=Session.objects.get().subject_id).get()
    answer = program.post(f"subjects/{other.public_id}/withdraw")
    assert answer.json()["data_points"] == 250
    data = stored(session)
    assert np.array_equal(data[:, :250], samples())
    assert np.isnan(data[:, 250:500]).all()
    assert np.array_equal(data[:, 500:], samples(first=500))
    assert Ingestion.objects.count() == 2


def test_the_code_of_a_subject_is_in_no_row(program):
    session = program.make_session(make_device())
    body = message(session, samples(), metadata={"subject_id": "encrypted_id"})
    accepted(program.post(PATH, body))
    program.post("sessions", {"device_id": make_device().public_id, "subject_id": "encrypted_id"})
    program.patch(f"sessions/{session.public_id}", {"metadata": {"subject_id": "encrypted_id"}})
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            assert "encrypted_id" not in str(cursor.fetchall()), table
    assert Subject.objects.count() == 1


# --- The record that stays -----------------------------------------------------------------------


def test_no_answer_that_was_kept_for_a_key_shows_what_was_withdrawn_or_deleted(program):
    device = make_device()
    asked = {"device_id": device.public_id, "subject_id": "S001"}
    kept, gone, dropped = (
        program.post(
            "sessions", {**asked, **more, "metadata": {"note": note}}, Idempotency_Key=note
        )
        for note, more in {
            "another": {"subject_id": "S002"},
            "diagnosis": {},
            "mistake": {"subject_id": "S003"},
        }.items()
    )
    subject = gone.json()["subject_id"]
    assert program.post(f"subjects/{subject}/withdraw").status_code == 200
    assert program.delete(f"sessions/{dropped.json()['session_id']}").status_code == 204
    bodies = [bytes(answer.body) for answer in KeptAnswer.objects.all()]
    assert sorted(bodies) == [b"", b"", kept.content]
    for note, code in {"diagnosis": "S001", "mistake": "S003"}.items():
        again = {"device_id": device.public_id, "subject_id": code, "metadata": {"note": note}}
        answer = program.post("sessions", again, Idempotency_Key=note)
        error_of(answer, 409, "IDEMPOTENCY_CONFLICT")


def test_a_record_stays_and_who_comes_back_is_somebody_new(program, stream):
    session = record(stream, program, 200, 400, "S01")
    pseudonym = session.subject.public_id
    told = withdraw(program, session)
    withdrawal = Withdrawal.objects.get()
    assert told["withdrawal_id"] == withdrawal.public_id
    assert (withdrawal.subject_id, withdrawal.study) == (pseudonym, program.study)
    assert withdrawal.withdrawn_by == program.client.public_id
    subject = Subject.objects.get()
    assert (subject.code_hash, subject.code) == (None, "")
    assert find_subject(study=program.study, code="S01") != subject
    assert withdraw(program, session) == told  # asking again changes nothing
    entry = AuditEntry.objects.filter(verb="subject.withdraw").get()
    assert (entry.object_id, entry.study_id) == (pseudonym, program.study.public_id)
    assert entry.details == {"sessions": 1, "samples": 200}


def test_nothing_more_is_recorded_of_who_has_withdrawn(program, stream):
    session = record(stream, program, 200, 400, "S01")
    withdraw(program, session)
    asked = {"device_id": make_device().public_id, "subject_id": session.subject.public_id}
    error_of(program.post("sessions", asked), 409, "SUBJECT_WITHDRAWN")


@pytest.mark.parametrize("status", [Session.Status.ACTIVE, Session.Status.PAUSED])
def test_who_is_being_recorded_is_told_to_stop_first(program, stream, status):
    session = record(stream, program, 200, 400, "S01")
    Session.objects.update(status=status)
    answer = program.post(f"subjects/{session.subject.public_id}/withdraw")
    error = error_of(answer, 409, "SUBJECT_IS_RECORDING")
    assert error["details"]["sessions"] == [session.public_id]
    assert Session.objects.exists()
    assert not Gap.objects.filter(reason="withdrawn").exists()


def test_withdrawing_needs_a_scope_and_ones_own_study(program, stream):
    session = record(stream, program, 200, 400, "S01")
    path = f"subjects/{session.subject.public_id}/withdraw"
    error_of(Program("viewer").post(path), 403, "PERMISSION_DENIED")
    error_of(Program("operator").post(path), 404, "INVALID_SUBJECT_ID")
    assert Session.objects.exists()


# --- Subjects ------------------------------------------------------------------------------------


def create(program: Program, code: str, device: Device) -> Session:
    return create_session(principal=program.client, device=device, subject_code=code)


def test_subjects_are_listed_without_their_codes_unless_the_study_keeps_them(program):
    device = make_device()
    create(program, "S01", device)
    (told,) = program.get("subjects").json()["subjects"]
    assert (told["code"], told["sessions"]) == (None, 1)
    change_study(study=program.study, keeps_subject_codes=True)
    create(program, "S01", device)
    create(program, "S02", device)
    told = program.get("subjects").json()["subjects"]
    assert [(s["code"], s["sessions"]) for s in told] == [("S01", 2), ("S02", 1)]
    one = program.get(f"subjects/{told[0]['subject_id']}").json()
    assert one == told[0]
    change_study(study=program.study, keeps_subject_codes=False)
    assert {s["code"] for s in program.get("subjects").json()["subjects"]} == {None}


def test_the_portal_asks_before_it_withdraws(admin_client, program, stream):
    session = record(stream, program, 200, 400, "S01")
    asked = {"action": "withdraw", "_selected_action": session.subject.pk}
    page = admin_client.post("/admin/sessions_app/subject/", asked)
    assert session.subject.public_id.encode() in page.content
    assert b"1 session" in page.content
    assert Session.objects.exists()
    answer = admin_client.post("/admin/sessions_app/subject/", asked | {"confirmed": "yes"})
    assert answer.status_code == 302
    assert not Session.objects.exists()
    assert Withdrawal.objects.get().withdrawn_by == "admin"
    page = admin_client.get("/admin/sessions_app/withdrawal/")
    assert session.subject.public_id.encode() in page.content
