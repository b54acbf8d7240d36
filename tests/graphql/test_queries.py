"""What is read: the same as REST says of the same thing, and only of what one sees."""

from __future__ import annotations

import pytest
from django.utils import timezone

from devices.models import Device
from ingest.models import Gap, QualityWindow, Segment, Stream
from neurascale import graphql
from neurascale.core.graphql.things import KINDS
from neurascale.core.models import AuditEntry
from sessions_app.models import Event, Session, Study
from sessions_app.services import find_subject
from tests.graphql.asking import ask, in_rest_names, post, refused
from tests.ingest.factories import make_device, make_stream
from tests.ingest.rest import Program

pytestmark = pytest.mark.django_db


@pytest.fixture
def program():
    return Program("admin")


def plain_fields(type_name):
    """Return the fields of a type that need no selection and no argument."""
    from graphql import get_named_type, is_leaf_type

    fields = graphql.schema._schema.get_type(type_name).fields
    return [name for name, f in fields.items() if is_leaf_type(get_named_type(f.type))]


def everything(type_name):
    return " ".join(plain_fields(type_name))


def without_id(told):
    return {name: value for name, value in told.items() if name != "id"}


def record(program, device, *, n_times=500, lost=0, **fields):
    """Return a session with one recorded segment."""
    session = program.make_session(
        device, status=Session.Status.COMPLETED, start_time=timezone.now(), **fields
    )
    stream = make_stream(device, next_sample=n_times, wanted=Stream.Wanted.STOPPED)
    Segment.objects.create(session=session, stream=stream, first_sample=0, stop_sample=n_times)
    if lost:
        Gap.objects.create(stream=stream, first_sample=10, n_times=lost, reason="lost")
    QualityWindow.objects.create(
        stream=stream, first_sample=0, n_times=250, verdicts=["good", "poor"], has_artifact=True
    )
    QualityWindow.objects.create(
        stream=stream, first_sample=250, n_times=250, verdicts=["good", "good"], has_artifact=False
    )
    Event.objects.create(
        session=session, label="cue", time_ns=10**18, stream_id=stream.public_id, sample=7
    )
    return session


# --- the same as REST ----------------------------------------------------------------------------


def test_a_device_is_what_rest_says_of_it(program):
    device = make_device(host="lab-7")
    data = ask(program, f'{{ device(id: "{device.public_id}") {{ {everything("Device")} }} }}')
    rest = program.get(f"devices/{device.public_id}").json()
    assert data["device"]["id"] == device.public_id
    assert in_rest_names(without_id(data["device"])) == rest


def test_the_list_of_devices_is_that_of_rest(program):
    for name in ("b", "a", "c"):
        make_device(name=name)
    data = ask(program, f"{{ devices {{ totalCount nodes {{ {everything('Device')} }} }} }}")
    rest = program.get("devices").json()
    assert in_rest_names([without_id(n) for n in data["devices"]["nodes"]]) == rest["devices"]
    assert data["devices"]["totalCount"] == rest["pagination"]["total"] == 3


def test_a_device_whose_driver_is_gone_is_told_with_nulls(program):
    device = make_device(board="gone")
    data = ask(program, f'{{ device(id: "{device.public_id}") {{ type channels sampleRate }} }}')
    assert data["device"] == {"type": None, "channels": None, "sampleRate": None}


def test_the_status_of_a_device_is_that_of_rest(program):
    device = make_device(status=Device.Status.STREAMING, board_info={"firmware": "3.1.2"})
    stream = make_stream(device, state=Stream.State.RUNNING, picks=[0, 2])
    stream.quality = {"overall": "good", "channels": ["good", "poor"], "reasons": [None, "noise"]}
    stream.save()
    Gap.objects.create(stream=stream, first_sample=0, n_times=5, reason="lost")
    session = program.make_session(device, status=Session.Status.ACTIVE)
    query = f"""query($id: ID!) {{ device(id: $id) {{ currentStatus {{
        {everything("DeviceStatus")}
        signalQuality {{ overall channels {{ {everything("ChannelQuality")} }} }}
        stream {{ streamId channels chNames sampleRate filters startedAt samples }}
    }} }} }}"""
    told = ask(program, query, id=device.public_id)["device"]["currentStatus"]
    rest = program.get(f"devices/{device.public_id}/status").json()
    assert in_rest_names(told) | {"uptime_seconds": 0} == rest | {"uptime_seconds": 0}
    assert told["sessionId"] == session.public_id
    assert told["samplesLost"] == 5


def test_a_study_and_a_session_are_what_rest_says_of_them(program):
    session = record(program, make_device(), lost=20, metadata={"a": [1, {"bC": 2}]})
    query = f"""query($session: ID!, $study: ID!) {{
        session(id: $session) {{
            {everything("Session")} qualityMetrics {{ artifactPercentage signalQuality }}
        }}
        study(id: $study) {{ {everything("Study")} }}
    }}"""
    data = ask(program, query, session=session.public_id, study=session.study.public_id)
    told = without_id(data["session"])
    assert told.pop("metadata") == session.metadata
    rest = program.get(f"sessions/{session.public_id}").json()
    del rest["metadata"]
    assert in_rest_names(told) == rest
    assert rest["data_points"] == 480
    assert rest["quality_metrics"]["artifact_percentage"] == 50
    study = program.get(f"studies/{session.study.public_id}").json()
    assert in_rest_names(without_id(data["study"])) == study


def test_the_events_of_a_session_are_those_of_rest(program):
    session = record(program, make_device())
    Event.objects.create(session=session, label="never", time_ns=5, value={"x": None})
    query = f"""query($id: ID!) {{ session(id: $id) {{
        events {{ nodes {{ {everything("Event")} }} }} }} }}"""
    nodes = ask(program, query, id=session.public_id)["session"]["events"]["nodes"]
    rest = program.get(f"sessions/{session.public_id}/events").json()["events"]
    everywhere = ask(program, "{ events { nodes { eventId } } }")["events"]["nodes"]
    assert {node["eventId"] for node in everywhere} == {event["event_id"] for event in rest}
    assert ask(Program("admin"), "{ events { totalCount } }")["events"]["totalCount"] == 0
    assert in_rest_names([without_id(node) for node in nodes]) == rest
    assert [event["sample"] for event in rest] == [None, 7]


def test_a_stream_says_where_samples_are_missing(program):
    stream = make_stream(next_sample=100)
    for first in (10, 30, 50):
        Gap.objects.create(stream=stream, first_sample=first, n_times=3, reason="lost")
    query = """query($id: ID!, $after: String) { stream(id: $id) { chNames device { name }
        gaps(first: 2, after: $after) {
            totalCount pageInfo { hasNextPage endCursor } nodes { firstSample nSamples reason }
        } } }"""
    gaps = ask(program, query, id=stream.public_id)["stream"]["gaps"]
    assert gaps["nodes"] == [
        {"firstSample": first, "nSamples": 3, "reason": "lost"} for first in (10, 30)
    ]
    assert (gaps["totalCount"], gaps["pageInfo"]["hasNextPage"]) == (3, True)
    rest = ask(program, query, id=stream.public_id, after=gaps["pageInfo"]["endCursor"])
    assert [gap["firstSample"] for gap in rest["stream"]["gaps"]["nodes"]] == [50]


# --- any thing by its id -------------------------------------------------------------------------


def test_a_node_is_whatever_its_id_names(program):
    session = record(program, make_device())
    ids = {
        "Device": session.device.public_id,
        "Stream": session.segments.get().stream.public_id,
        "Session": session.public_id,
        "Study": session.study.public_id,
        "Event": session.events.get().public_id,
        "Subject": find_subject(study=session.study, code="S01").public_id,
        "Client": program.client.public_id,
        "AuditEntry": AuditEntry.objects.first().public_id,
    }
    assert {kind.name for kind in KINDS.values()} == set(ids)
    for name, public_id in ids.items():
        query = "query($id: ID!) { node(id: $id) { __typename id ... on Session { status } } }"
        node = ask(program, query, id=public_id)["node"]
        assert (node["__typename"], node["id"]) == (name, public_id)


def test_a_node_asks_for_the_scope_of_its_kind():
    device = make_device()
    watcher = Program("sessions:read")
    query = "query($id: ID!) { node(id: $id) { id } }"
    error = refused(watcher, query, "PERMISSION_DENIED", id=device.public_id)
    assert error["extensions"]["details"]["missing"] == ["devices:read"]


def test_no_prefix_of_an_id_begins_with_another(program):
    ask(program, "{ __typename }")
    for prefix in KINDS:
        assert [other for other in KINDS if other.startswith(prefix)] == [prefix]


# --- other studies -------------------------------------------------------------------------------


def test_what_belongs_to_another_study_is_answered_like_what_there_is_not(program):
    mine, theirs = Program("admin"), program
    session = record(theirs, make_device())
    ids = {
        "session": (session.public_id, "sess_aaaaaaaaaaaaaaaa"),
        "study": (session.study.public_id, "study_aaaaaaaaaaaaaaaa"),
        "event": (session.events.get().public_id, "evt_aaaaaaaaaaaaaaaa"),
    }
    for name, (known, unknown) in ids.items():
        for query in (
            f"query($id: ID!) {{ {name}(id: $id) {{ id }} }}",
            "query($id: ID!) { node(id: $id) { id } }",
        ):
            answers = []
            for public_id in (known, unknown):
                body = post(mine, query, id=public_id).json()
                (error,) = body["errors"]
                error["extensions"].pop("requestId")
                answers.append(str(body).replace(public_id, "…"))
            assert answers[0] == answers[1]
            assert ask(theirs, query, id=known)


def test_lists_counts_and_searches_leave_out_other_studies(program):
    device = make_device()
    theirs = record(program, device, experiment_type="secret")
    mine = Program("admin")
    query = """{
        sessions { totalCount nodes { id } }
        search: sessions(search: "secret") { totalCount }
        filtered: sessions(filter: {experimentType: "secret"}) { totalCount nodes { id } }
        studies { totalCount }
        devices { nodes { sessions { totalCount nodes { id } pageInfo { hasNextPage } } } }
    }"""
    data = ask(mine, query)
    assert data["sessions"] == {"totalCount": 0, "nodes": []}
    assert data["search"]["totalCount"] == data["filtered"]["totalCount"] == 0
    assert data["studies"]["totalCount"] == 1
    assert data["devices"]["nodes"][0]["sessions"]["totalCount"] == 0
    assert theirs.public_id not in str(data)


def test_the_status_of_a_device_does_not_speak_of_another_studys_session(program):
    device = make_device()
    session = program.make_session(device, status=Session.Status.ACTIVE)
    query = "query($id: ID!) { device(id: $id) { currentStatus { sessionId } } }"
    told = ask(Program("admin"), query, id=device.public_id)["device"]["currentStatus"]
    assert told["sessionId"] is None
    told = ask(program, query, id=device.public_id)["device"]["currentStatus"]
    assert told["sessionId"] == session.public_id


def test_a_stream_that_a_program_sent_is_seen_by_its_study_only(program):
    session = record(program, make_device())
    stream = session.segments.get().stream
    stream.origin = Stream.Origin.INGEST
    stream.save()
    query = "query($id: ID!) { stream(id: $id) { gaps { totalCount } } }"
    assert ask(program, query, id=stream.public_id)
    refused(Program("admin"), query, "INVALID_STREAM_ID", id=stream.public_id)


def test_staff_of_the_portal_sees_all_studies(program, admin_client):
    record(program, make_device())
    response = admin_client.post(
        "/graphql", {"query": "{ sessions { totalCount } }"}, content_type="application/json"
    )
    assert response.json() == {"data": {"sessions": {"totalCount": 1}}}


def test_a_client_of_two_studies_gets_every_session_once(program):
    device = make_device()
    record(program, device)
    other = Study.objects.create(name="other")
    other.members.add(program.client)
    Session.objects.create(study=other, device=device)
    query = "{ sessions { totalCount nodes { study { name sessions { totalCount } } } } }"
    sessions = ask(program, query)["sessions"]
    assert (sessions["totalCount"], len(sessions["nodes"])) == (2, 2)
    assert {node["study"]["sessions"]["totalCount"] for node in sessions["nodes"]} == {1}
