"""POST /v1/ingest/neural-data: what is refused, in which words, and that nothing of it stays."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.models import Block, Stream
from ingest.store import BlockWriter
from neurascale.core.chunk import Chunk
from sessions_app.models import Session
from tests.ingest.factories import make_device, make_session
from tests.ingest.ingestions import (
    ARROW,
    NPY,
    PATH,
    accepted,
    arrow,
    message,
    npy,
    query,
    samples,
)
from tests.ingest.rest import Program, error_of, fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def program() -> Program:
    return Program("operator")


@pytest.fixture
def session(program) -> Session:
    return program.make_session(make_device())


def changed(session: Session, **changes) -> dict:
    body = message(session, samples(10))
    for name, value in changes.items():
        target = body["data"] if name in {"eeg", "sample_rate", "channels", "layout"} else body
        target[name] = value
    return body


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("data.eeg", {"eeg": []}),
        ("data.eeg", {"eeg": [[], [], [], [], [], [], [], []]}),
        ("data.eeg", {"eeg": None}),
        ("data.eeg", {"eeg": [[1.0, 2.0]] * 7 + [[1.0]]}),
        ("data.eeg", {"eeg": [[1.0, None]] * 8}),
        ("data.eeg", {"eeg": [["1.0"]] * 8}),
        ("data.eeg", {"eeg": [[1e300]] * 8}),
        ("data.eeg", {"eeg": [[1.0] * 10] * 4}),
        ("data.channels", {"channels": 0}),
        ("data.channels", {"channels": "8"}),
        ("data.channels", {"channels": True}),
        ("data.sample_rate", {"sample_rate": 0}),
        ("data.sample_rate", {"sample_rate": -250}),
        ("data.sample_rate", {"sample_rate": "250"}),
        ("data.sample_rate", {"sample_rate": 1e9}),
        ("data.sample_rate", {"sample_rate": 5e-324}),
        ("timestamp", {"timestamp": "2199-12-31T23:59:59Z", "sample_rate": 1e-3}),
        ("data.layout", {"layout": "sideways"}),
        ("timestamp", {"timestamp": "2025-07-26T10:30:00"}),
        ("timestamp", {"timestamp": "yesterday"}),
        ("timestamp", {"timestamp": 1627394400000}),
        ("timestamp", {"timestamp": "0001-01-01T00:00:00+23:59"}),
        ("timestamp", {"timestamp": "9999-12-31T23:59:59Z"}),
        ("metadata", {"metadata": [1]}),
        ("device_id", {"device_id": 5}),
        ("session_id", {"session_id": ""}),
        ("data", {"data": [1]}),
        ("unit", {"unit": "V"}),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(program, session, field, change):
    assert field in fields_of(program.post(PATH, changed(session, **change)))
    assert not Stream.objects.exists()
    session.refresh_from_db()
    assert session.status == "created"


def test_everything_that_is_missing_is_named_at_once(program):
    response = program.post(PATH, {"data": {}})
    assert set(fields_of(response)) == {
        *("device_id", "session_id", "timestamp", "data.sample_rate", "data.channels"),
    }
    response = program.post(PATH, npy(samples()), NPY)
    assert set(fields_of(response)) == {
        *("device_id", "session_id", "timestamp", "sample_rate", "channels"),
    }


@pytest.mark.parametrize("body", [b"", b"{", b'{"data": {"eeg": [[NaN]]}}', b"[]", b"null"])
def test_what_is_no_json_object_is_refused(program, body):
    assert program.post(PATH, body).status_code == 400


def test_nan_in_a_binary_body_is_refused(program, session):
    bad = samples()
    bad[3, 7] = np.nan
    for encode, media_type in ((npy, NPY), (arrow, ARROW)):
        response = program.post(query(session), encode(bad), media_type)
        assert "channel 4, sample 7" in fields_of(response)["body"][0]


def test_the_number_of_channels_is_the_devices(program, session):
    body = changed(session, eeg=samples(10)[:4].tolist(), channels=4)
    response = program.post(PATH, body)
    assert fields_of(response)["channels"] == ["Must be 8."]
    assert "4 were sent" in response.json()["error"]["message"]
    assert not Stream.objects.exists()


def test_the_sampling_frequency_of_a_session_stays(program, session):
    accepted(program.post(PATH, message(session, samples())))
    response = program.post(PATH, changed(session, sample_rate=500))
    assert fields_of(response)["sample_rate"] == ["Must be 250 in this session."]
    assert Block.objects.count() == 1


def test_a_device_that_is_not_the_sessions_is_named_beside_the_one_that_is(program, session):
    other = make_device(name="Another")
    response = program.post(PATH, changed(session, device_id=other.public_id))
    assert fields_of(response)["device_id"] == [f"Must be {session.device.public_id}."]
    assert other.public_id in response.json()["error"]["message"]


def test_a_device_that_nobody_knows_is_not_found(program, session):
    response = program.post(PATH, changed(session, device_id="dev_999"))
    error = error_of(response, 404, "INVALID_DEVICE_ID")
    assert error["message"] == "Device with ID 'dev_999' not found"


def test_another_studys_session_is_as_good_as_none(program):
    theirs = make_session(make_device())
    unknown = program.post(PATH, changed(theirs, session_id="sess_999"))
    hidden = program.post(PATH, message(theirs, samples()))
    told = error_of(hidden, 404, "INVALID_SESSION_ID")
    assert told["message"] == f"Session with ID '{theirs.public_id}' not found"
    assert set(told["details"]) == set(error_of(unknown, 404, "INVALID_SESSION_ID")["details"])
    assert not Stream.objects.exists()


def test_another_studys_ingestion_is_as_good_as_none(program, session):
    answer = accepted(program.post(PATH, message(session, samples())))
    path = f"ingest/{answer['ingestion_id']}"
    error_of(Program("operator").get(path), 404, "INVALID_INGESTION_ID")
    error_of(program.get("ingest/ing_999"), 404, "INVALID_INGESTION_ID")


@pytest.mark.parametrize("status", ["paused", "completed", "failed"])
def test_a_session_that_does_not_record_takes_no_samples(program, status):
    session = program.make_session(make_device(), status=status)
    error = error_of(program.post(PATH, message(session, samples())), 409, "INVALID_SESSION_STATE")
    assert status in error["message"]


def test_a_device_records_one_session_at_a_time(program, session):
    program.make_session(session.device, status=Session.Status.ACTIVE)
    error_of(program.post(PATH, message(session, samples())), 409, "DEVICE_BUSY")
    assert not Stream.objects.exists()


def test_a_body_that_is_too_large_is_told_the_limit(program, session, settings):
    settings.INGEST_MAX_BYTES = 10_000
    response = program.post(PATH, message(session, samples()))
    error = error_of(response, 413, "PAYLOAD_TOO_LARGE")
    assert error["details"]["limit_bytes"] == 10_000
    accepted(program.post(PATH, message(session, samples(10))))


def test_json_has_a_limit_of_its_own(program, session, settings):
    settings.INGEST_MAX_JSON_BYTES = 5_000
    response = program.post(PATH, message(session, samples()))
    assert error_of(response, 413, "PAYLOAD_TOO_LARGE")["details"]["limit_bytes"] == 5_000
    accepted(program.post(query(session), npy(samples()), NPY))


def test_a_media_type_that_is_not_known_is_told_those_that_are(program):
    error = error_of(program.post(PATH, b"1,2", "text/csv"), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert set(error["details"]["supported"]) == {"application/json", NPY, ARROW}


def test_the_media_type_may_have_parameters(program, session):
    body = message(session, samples())
    accepted(program.post(PATH, body, content_type="application/json; charset=utf-8"))


def test_it_takes_the_scope(session):
    reader = Program("viewer")
    error = error_of(reader.post(PATH, message(session, samples())), 403, "PERMISSION_DENIED")
    assert error["details"]["missing"] == ["ingest:write"]


def test_a_failure_in_the_middle_leaves_nothing_behind(program, session, monkeypatch):
    class Full(Exception):
        pass

    original = BlockWriter.append

    def append(self: BlockWriter, chunk: Chunk, **keywords):
        if chunk.first_sample:
            raise Full("the disk is full")
        return original(self, chunk, **keywords)

    monkeypatch.setattr(BlockWriter, "append", append)
    error_of(program.post(PATH, message(session, samples(500))), 500, "INTERNAL_ERROR")
    assert not Block.objects.exists()
    assert not Stream.objects.exists()
    session.refresh_from_db()
    assert session.status == "created"
