"""Every mutation of the schema leaves an entry in the audit log, as the route of REST does.

The mutations are found by introspection. Whoever adds one says here how it is sent with success.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from neurascale import graphql
from neurascale.celery import app as celery
from neurascale.core.audit import verify
from neurascale.core.models import AuditEntry
from tests.graphql.asking import post
from tests.ingest.factories import make_device
from tests.lab.board import Board
from tests.test_everything_is_audited import World, assert_log_is_written_last, new_entries

pytestmark = pytest.mark.django_db

MUTATIONS = sorted(graphql.schema._schema.mutation_type.fields)
INPUTS = {
    "NewDevice": {"name": "Cyton", "type": "openbci", "port": "/dev/ttyUSB7"},
    "DeviceChange": {"name": "new"},
    "NewStudy": {"name": "sleep"},
    "StudyChange": {"name": "naps"},
    "NewClient": {"name": "new", "scopes": ["viewer"]},
    "ClientChange": {"name": "renamed"},
    "NewEvent": {"label": "cue"},
    "SessionChange": {"experimentType": "rest"},
}
# What a mutation is about, made so that there is something to change.
Subject = Callable[[World], str | dict[str, Any]]


def id_in(path: str) -> str:
    return path.rpartition("/")[2]


def a_device(world: World) -> str:
    return make_device().public_id


def a_session(status: str = "created", *, streams: bool = False) -> Subject:
    return lambda world: id_in(world.session(status, streams=streams))


def the_other(world: World) -> str:
    return world.other.client_id


def the_study(world: World) -> str:
    return world.study.public_id


def a_member(world: World) -> dict[str, Any]:
    return {"studyId": world.study.public_id, "clientId": world.other.client_id}


CHANGES: dict[str, Subject] = {
    "registerDevice": lambda w: {},
    "changeDevice": a_device,
    "removeDevice": a_device,
    "connectDevice": lambda w: make_device(port=str(w.folder / "board")).public_id,
    "disconnectDevice": a_device,
    "startStream": lambda w: {"deviceId": a_device(w)},
    "stopStream": lambda w: {"deviceId": w.streaming().device.public_id},
    "createStudy": lambda w: {},
    "changeStudy": the_study,
    "addMember": a_member,
    "removeMember": a_member,
    "createClient": lambda w: {},
    "changeClient": the_other,
    "rotateClient": the_other,
    "revokeClient": the_other,
    "deleteClient": the_other,
    "createSession": lambda w: {"input": {"deviceId": w.streaming().device.public_id}},
    "changeSession": a_session(),
    "deleteSession": a_session(),
    "startSession": a_session(streams=True),
    "pauseSession": a_session("active"),
    "resumeSession": a_session("paused", streams=True),
    "stopSession": a_session("active"),
    "addEvent": lambda w: {"sessionId": a_session()(w)},
    "withdrawSubject": lambda w: w.subject().public_id,
}
# A task that runs in the same process, as here, says that it is a worker's.
OWN_EDGE = "connectDevice"


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> World:
    settings.ANSWER_SECONDS = 0.05  # nobody serves streams here; see tests/lab
    return World(tmp_path)


@pytest.fixture
def board(tmp_path: Path) -> Any:
    """Plug in a virtual board; the task that opens its port runs here."""
    plugged_in = Board(tmp_path / "board", tmp_path / "truth")
    celery.conf.task_always_eager = True
    yield plugged_in
    celery.conf.task_always_eager = False
    plugged_in.stop()


def send(world: World, name: str) -> Any:
    """Send a mutation with success, and return the response."""
    known = graphql.schema._schema.mutation_type.fields[name]
    about = CHANGES[name](world)
    given = {"id": about} if isinstance(about, str) else about
    kind = str(known.args["input"].type).rstrip("!") if "input" in known.args else ""
    if kind in INPUTS:
        given = {"input": INPUTS[kind], **given}
    declared = ", ".join(f"${key}: {known.args[key].type}" for key in given)
    passed = ", ".join(f"{key}: ${key}" for key in given)
    selected = "" if str(known.type) == "ID" else "{ __typename }"
    head, arguments = (f"({declared})", f"({passed})") if given else ("", "")
    return post(world.api, f"mutation{head} {{ {name}{arguments} {selected} }}", **given)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_over_graphql_leaves_an_entry(world, name, request):
    assert name in CHANGES, f"say in this file how {name} is sent with success"
    if name == OWN_EDGE:
        request.getfixturevalue("board")
    n_before = AuditEntry.objects.count()
    with CaptureQueriesContext(connection) as queries:
        answer = send(world, name)
    assert "errors" not in answer.json(), answer.content
    entries = new_entries(n_before)
    assert entries, f"{name} changed something and left no entry"
    if name != OWN_EDGE:
        for entry in entries:
            assert (entry.actor_kind, entry.actor_id) == ("client", world.api.client.public_id)
            assert (entry.address, entry.request_id) == ("127.0.0.1", answer["X-Request-ID"])
    assert_log_is_written_last(queries)
    assert not verify().problems


def test_no_mutation_is_named_that_is_not_there():
    assert set(CHANGES) <= set(MUTATIONS)


def test_what_is_refused_leaves_no_entry(world):
    n_before = AuditEntry.objects.count()
    answer = post(world.api, 'mutation { stopSession(id: "sess_nothing") { status } }')
    assert answer.json()["errors"]
    assert not new_entries(n_before)
