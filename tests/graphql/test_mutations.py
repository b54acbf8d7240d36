"""What is changed: by the same services as REST, with the same checks."""

from __future__ import annotations

import orjson
import pytest

from devices.models import Device
from ingest.models import Segment, Stream
from sessions_app.models import Event, Session
from tests.graphql.asking import ask, in_rest_names, refused
from tests.ingest.factories import make_device, make_stream
from tests.ingest.rest import Program, error_of

pytestmark = pytest.mark.django_db(transaction=True)

DEVICE = "deviceId name type board port host settings status channels sampleRate"
SESSION = "sessionId status deviceId studyId subjectId experimentType durationMinutes metadata"
REGISTER = f"mutation($input: NewDevice!) {{ registerDevice(input: $input) {{ {DEVICE} }} }}"
CHANGE = (
    f"mutation($id: ID!, $input: DeviceChange!) {{ changeDevice(id: $id, input: $input) "
    f"{{ {DEVICE} }} }}"
)
CREATE = f"mutation($input: NewSession!) {{ createSession(input: $input) {{ {SESSION} }} }}"
CHANGE_SESSION = (
    f"mutation($id: ID!, $input: SessionChange!) {{ changeSession(id: $id, input: $input) "
    f"{{ {SESSION} }} }}"
)
ADD = "mutation($id: ID!, $input: NewEvent!) { addEvent(sessionId: $id, input: $input) { %s } }"


@pytest.fixture
def program():
    return Program("admin")


def step(name):
    return f"mutation($id: ID!) {{ {name}Session(id: $id) {{ status }} }}"


def test_a_device_is_registered_changed_and_removed(program):
    wanted = {"name": "Cyton", "type": "openbci", "port": "/dev/ttyUSB0"}
    made = ask(program, REGISTER, input=wanted)["registerDevice"]
    device_id = made["deviceId"]
    rest = program.get(f"devices/{device_id}").json()
    assert rest.items() >= in_rest_names(made).items()
    changed = ask(program, CHANGE, id=device_id, input={"name": "New"})["changeDevice"]
    assert changed == made | {"name": "New"}
    removed = ask(program, "mutation($id: ID!) { removeDevice(id: $id) }", id=device_id)
    assert removed == {"removeDevice": device_id}
    error_of(program.get(f"devices/{device_id}"), 404, "INVALID_DEVICE_ID")


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "x", "port": "p", "type": "unheard of"},
        {"name": "x", "port": "p"},
        {"name": "", "port": "p", "type": "openbci"},
        {"name": "x" * 201, "port": "p", "type": "openbci"},
        {"name": "x", "port": "spy:///etc/passwd", "type": "openbci"},
        {"name": "x", "port": "p", "type": "openbci", "settings": {"unheard": 1}},
        {"name": "x", "port": "p", "type": "openbci", "settings": [1]},
    ],
)
def test_what_rest_refuses_is_refused_in_the_same_words(program, wanted):
    error = refused(program, REGISTER, "VALIDATION_ERROR", input=wanted)
    told = error_of(program.post("devices", wanted), 400, "VALIDATION_ERROR")
    assert (error["message"], error["extensions"]["details"]) == (told["message"], told["details"])
    assert not Device.objects.exists()


def test_what_is_not_known_is_refused(program):
    refused(
        program, REGISTER, "VALIDATION_ERROR", input={"name": "x", "port": "p", "colour": "red"}
    )
    refused(program, REGISTER, "VALIDATION_ERROR", input={"name": None, "port": "p"})
    refused(program, REGISTER, "VALIDATION_ERROR", input={"name": 7, "port": "p"})


def test_a_conflict_is_told_as_rest_tells_it(program):
    make_device(port="/dev/one", host="lab")
    wanted = {"name": "x", "port": "/dev/one", "host": "lab", "type": "openbci"}
    error = refused(program, REGISTER, "DEVICE_EXISTS", input=wanted)
    told = error_of(program.post("devices", wanted), 409, "DEVICE_EXISTS")
    assert error["extensions"]["details"] == told["details"]


def test_changes_of_one_request_are_made_one_after_the_other(program):
    device = make_device()
    query = """mutation($id: ID!) {
        a: changeDevice(id: $id, input: {name: "a"}) { name }
        bad: changeDevice(id: $id, input: {port: "spy://x"}) { name }
        b: changeDevice(id: $id, input: {name: "b"}) { name }
    }"""
    response = program.http.post(
        "/graphql",
        orjson.dumps({"query": query, "variables": {"id": device.public_id}}),
        content_type="application/json",
    ).json()
    assert response["data"] == {"a": {"name": "a"}, "bad": None, "b": {"name": "b"}}
    assert [error["path"] for error in response["errors"]] == [["bad"]]
    device.refresh_from_db()
    assert device.name == "b"


def test_a_session_is_created_changed_and_deleted(program):
    device = make_device()
    wanted = {
        "deviceId": device.public_id,
        "subjectId": "S01",
        "experimentType": "motor_imagery",
        "durationMinutes": 30,
        "metadata": {"hand": "left"},
    }
    made = ask(program, CREATE, input=wanted)["createSession"]
    session_id = made["sessionId"]
    rest = program.get(f"sessions/{session_id}").json()
    assert rest.items() >= in_rest_names(made).items()
    assert made["status"] == "created"
    assert made["subjectId"].startswith("subj_")
    again = ask(program, CREATE, input=wanted)["createSession"]
    assert again["subjectId"] == made["subjectId"]

    change = {"durationMinutes": None, "metadata": {}}
    changed = ask(program, CHANGE_SESSION, id=session_id, input=change)["changeSession"]
    assert changed == made | {"durationMinutes": None, "metadata": {}}
    ask(program, "mutation($id: ID!) { deleteSession(id: $id) }", id=session_id)
    assert not Session.objects.filter(public_id=session_id).exists()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"deviceId": "dev_999"}, "INVALID_DEVICE_ID"),
        ({"studyId": "study_999"}, "INVALID_STUDY_ID"),
        ({"durationMinutes": -1}, "VALIDATION_ERROR"),
        ({"durationMinutes": 1e9}, "VALIDATION_ERROR"),
        ({"metadata": [1]}, "VALIDATION_ERROR"),
    ],
)
def test_a_session_that_rest_would_not_create_is_not_created(program, wrong, code):
    refused(program, CREATE, code, input={"deviceId": make_device().public_id, **wrong})
    assert not Session.objects.exists()


def test_another_studys_session_cannot_be_told_from_none(program):
    session = Program("admin").make_session(make_device())
    changes = [
        *(step(name) for name in ("start", "pause", "resume", "stop")),
        "mutation($id: ID!) { deleteSession(id: $id) }",
        'mutation($id: ID!) { changeSession(id: $id, input: {experimentType: "x"}) { status } }',
        'mutation($id: ID!) { addEvent(sessionId: $id, input: {label: "x"}) { label } }',
    ]
    for change in changes:
        told = []
        for session_id in (session.public_id, "sess_aaaaaaaaaaaaaaaa"):
            error = refused(program, change, "INVALID_SESSION_ID", id=session_id)
            error["extensions"].pop("requestId")
            told.append(str(error).replace(session_id, "…"))
        assert told[0] == told[1]
    session.refresh_from_db()
    assert (session.status, session.experiment_type) == ("created", "")
    assert not Event.objects.exists()


def test_a_session_goes_through_its_life(program):
    device = make_device()
    stream = make_stream(device, state=Stream.State.RUNNING, next_sample=100)
    session_id = ask(program, CREATE, input={"deviceId": device.public_id})["createSession"][
        "sessionId"
    ]
    assert Session.objects.get().status == "active"
    refused(program, step("start"), "INVALID_SESSION_STATE", id=session_id)
    Segment.objects.update(stop_sample=100)  # nobody serves the stream, so nothing is to be settled
    assert ask(program, step("pause"), id=session_id) == {"pauseSession": {"status": "paused"}}
    assert ask(program, step("resume"), id=session_id) == {"resumeSession": {"status": "active"}}
    Segment.objects.update(stop_sample=100)
    assert ask(program, step("stop"), id=session_id) == {"stopSession": {"status": "completed"}}
    error = refused(program, step("resume"), "INVALID_SESSION_STATE", id=session_id)
    told = error_of(program.post(f"sessions/{session_id}/resume"), 409, "INVALID_SESSION_STATE")
    assert error["extensions"]["details"] == told["details"]
    assert stream.segments.count() == 2


def test_an_event_is_added_at_a_sample_at_a_moment_or_now(program):
    session = program.make_session(make_device())
    stream = make_stream(session.device, next_sample=100)
    Segment.objects.create(session=session, stream=stream, first_sample=0, stop_sample=100)
    moment = "2025-07-26T10:30:00.000001Z"
    add = ADD % "eventId label value timestamp source"
    for given in ({"timestamp": moment, "value": {"a": 1}}, {}):
        told = ask(program, add, id=session.public_id, input={"label": "cue", **given})["addEvent"]
        events = program.get(f"sessions/{session.public_id}/events").json()["events"]
        (rest,) = [event for event in events if event["event_id"] == told["eventId"]]
        assert rest.items() >= in_rest_names(told).items()
        assert told["source"] == "api"
    for wrong in ({"timestamp": "yesterday"}, {"timestamp": moment, "sample": 1}, {"sample": -1}):
        refused(
            program,
            ADD % "label",
            "VALIDATION_ERROR",
            id=session.public_id,
            input={"label": "cue", **wrong},
        )


def test_a_stream_is_refused_as_rest_refuses_it(program):
    device = make_device()
    query = """mutation($id: ID!, $input: StreamSettings) {
        startStream(deviceId: $id, input: $input) { streamId } }"""
    for wrong in (
        {"channels": [99]},
        {"channels": [1, 1]},
        {"sampleRate": 500},
        {"filters": {"notch": 1e6}},
        {"filters": {"unheard": 1}},
    ):
        error = refused(program, query, "VALIDATION_ERROR", id=device.public_id, input=wrong)
        rest = {("sample_rate" if name == "sampleRate" else name): v for name, v in wrong.items()}
        told = program.post(f"devices/{device.public_id}/stream/start", rest)
        assert error["message"] == error_of(told, 400, "VALIDATION_ERROR")["message"]
    stopped = ask(
        program,
        "mutation($id: ID!) { stopStream(deviceId: $id) { streaming status } }",
        id=device.public_id,
    )
    assert stopped == {"stopStream": {"streaming": False, "status": "disconnected"}}
