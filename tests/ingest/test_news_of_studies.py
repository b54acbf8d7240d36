"""All may watch a device; which session records from it is its study's matter."""

from __future__ import annotations

import json

import pytest
from websockets.sync.client import connect

from ingest.broadcast import Broadcaster, announce
from ingest.models import Stream
from neurascale.core.auth import issue_tokens
from sessions_app.services import create_client
from tests.ingest.factories import make_device, make_session, make_stream

SECONDS = 30


@pytest.fixture
def watch(asgi_server):
    opened = []

    def open_one(client, device_id):
        bearer = {"Authorization": f"Bearer {issue_tokens(client)['access_token']}"}
        socket = connect(asgi_server.ws_url, additional_headers=bearer, legacy=True)
        opened.append(socket)
        socket.send(json.dumps({"type": "subscribe", "device_id": device_id}))
        assert hear(socket)["type"] == "subscribed"
        return socket

    yield open_one
    for socket in opened:
        socket.close()


def hear(socket):
    return json.loads(socket.recv(timeout=SECONDS))


def test_news_name_a_session_only_to_who_sees_its_study(watch):
    device_id = make_device().public_id
    member = create_client(name="member", scopes=["viewer"]).client
    stranger = create_client(name="stranger", scopes=["all"]).client
    study_id = member.studies.get().public_id
    sockets = [watch(client, device_id) for client in (member, stranger)]

    told = {"session_id": "sess_1", "status": "active"}
    announce(device_id, "recording_started", told, study_id=study_id)
    assert [hear(socket)["data"] for socket in sockets] == [told, {"status": "active"}]

    broadcaster = Broadcaster(device_id)
    marker = {"sample": 3, "label": "board", "session_id": "sess_1", "event_id": "evt_1"}
    broadcaster.marker(marker, study_id=study_id)
    ids = [{"session_id", "event_id"} & hear(socket).keys() for socket in sockets]
    assert ids == [{"session_id", "event_id"}, set()]

    # Who forgets to say whose news it is tells nobody.
    announce(device_id, "recording_stopped", {"session_id": "sess_1"})
    broadcaster.close()
    assert [hear(socket)["data"] for socket in sockets] == [{}, {}]


def test_a_marker_of_a_session_is_told_to_who_sees_its_study(watch):
    stream = make_stream(state=Stream.State.RUNNING)
    device_id = stream.device.public_id
    member = create_client(name="member", scopes=["operator"]).client
    stranger = create_client(name="stranger", scopes=["all"]).client
    colleague = create_client(
        name="colleague", scopes=["viewer"], study=member.studies.get()
    ).client
    session = make_session(stream.device, study=member.studies.get(), status="active")
    stream.segments.create(session=session, first_sample=0)
    marking, hearing, deaf = (watch(who, device_id) for who in (member, colleague, stranger))
    said = {"type": "marker", "device_id": device_id, "value": "S001"}
    marking.send(json.dumps({**said, "label": "of the study"}))
    assert hear(marking)["session_id"] == session.public_id
    told = hear(hearing)
    assert (told["label"], told["session_id"]) == ("of the study", session.public_id)
    # Of no session that the stranger sees: a mark on the device, for all.
    deaf.send(json.dumps({**said, "label": "of the device"}))
    assert hear(deaf)["label"] == "of the device"
    for socket in (marking, hearing):
        assert hear(socket)["label"] == "of the device"
