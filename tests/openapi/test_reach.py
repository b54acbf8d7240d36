"""Every answer that the document declares is given: each operation, status, machine code and form.

An answer that `tests.openapi.drivers` does not know how to bring about fails here, so nothing is
declared that cannot happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.http import HttpResponse
from django.test import Client as HttpClient

from neurascale.celery import app
from neurascale.core.openapi.links import VARIABLE
from neurascale.core.openapi.schema import document
from tests.openapi.described import answers, check_as_said, check_response, operations, resolved
from tests.openapi.drivers import ALIKE, BAD, GOOD, GRAPHQL, TAKEN
from tests.openapi.room import JSON, Room
from tests.routes import METHODS


@pytest.fixture
def room(db, settings, tmp_path, monkeypatch) -> Iterator[Room]:
    """A lab whose worker does at once, in this thread, what it is asked."""
    settings.ANSWER_SECONDS = 0.05
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = settings.INGEST_MAX_BYTES = 50_000
    app.conf.update(task_always_eager=True)
    with ExitStack() as stack:
        made = Room()
        made.stack, made.folder, made.monkeypatch = stack, tmp_path, monkeypatch
        yield made
    app.conf.update(task_always_eager=False)


def is_alike(name: str, code: str) -> bool:
    """Tell whether an answer is brought about as for every other operation."""
    return code in ALIKE and (name, code) not in BAD


def drive(room: Room, name: str, status: int, form: str) -> HttpResponse:
    """Bring an answer about."""
    if status == 304:
        ids = room.ids_of(name)
        if name == "sessions_data":
            room.ingest()
        tag = room.ask(name, **ids)["ETag"]
        return room.ask(name, If_None_Match=tag, **ids)
    if status < 400:
        driver = GOOD.get((name, form)) or GOOD.get(name)
        return driver(room) if driver else with_form(room, name, form)
    if (name, form) in BAD:
        return BAD[name, form](room)
    if form.startswith("INVALID_") and form.endswith("_ID"):
        return room.ask(name, **{form.removeprefix("INVALID_").lower(): "nobody_knows"})
    return ALIKE[form](room, name)


def with_form(room: Room, name: str, form: str) -> HttpResponse:
    if name == "sessions_data":
        room.ingest()
    return room.ask(name, **({"Accept": form} if form else {}))


# What starts a worker starts it when the transaction is committed.
committed = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("name", "status", "form"),
    [
        pytest.param(*answer, marks=committed if answer[2] == "DEVICE_UNAVAILABLE" else ())
        for answer in answers()
        if not is_alike(answer[0], answer[2])
    ],
)
def test_a_declared_answer_is_given_as_declared(room, name, status, form):
    check(room, name, status, form)


@pytest.mark.parametrize("name", operations())
def test_what_all_operations_refuse_is_refused_as_declared(room, name):
    refusals = [told[1:] for told in answers() if told[0] == name and is_alike(name, told[2])]
    assert len(refusals) >= 6
    for status, code in refusals:
        check(room, name, status, code)


def check(room: Room, name: str, status: int, form: str) -> None:
    response = drive(room, name, status, form)
    assert response.status_code == status, (form, response.content)
    check_response(operations()[name], response)
    if status >= 400 and "/" not in form:
        assert response.json()["error"]["code"] == form
    elif form:
        assert response["Content-Type"].partition(";")[0] == form


@pytest.mark.parametrize("path", document()["paths"])
def test_methods_that_a_path_does_not_have_are_answered_as_declared(room, path):
    item = document()["paths"][path]
    url = path.format(**dict.fromkeys(VARIABLE.findall(path), "x"))
    (declared,) = item["x-other-methods"].values()
    http = HttpClient(headers={"Authorization": f"Bearer {room.token}"})
    others = {*METHODS, "trace", "brew"} - item.keys()
    for method in others:
        response = http.generic(method.upper(), url)
        assert response.status_code == 405, (method, response.content)
        check_as_said(resolved(declared), response)
        allowed = set(response["Allow"].lower().split(", "))
        assert allowed - {"head", "options"} == item.keys() & set(METHODS)
        assert response.json()["error"]["code"] == "METHOD_NOT_ALLOWED"


def test_a_repetition_is_answered_in_the_form_that_was_asked_for(room):
    for query, status in (("{ nothing }", 400), ("{ devices { nodes { deviceId } } }", 200)):
        for replayed in (None, "true"):
            response = room.ask(
                "graphql", {"query": query}, Accept=GRAPHQL, Idempotency_Key=f"once {status}"
            )
            assert (response.status_code, response.get("Idempotent-Replayed")) == (status, replayed)
            assert response["Content-Type"] == GRAPHQL
            check_response(operations()["graphql"], response)


def test_a_tag_that_holds_keeps_a_change_from_being_made(room):
    tag = room.ask("devices_retrieve")["ETag"]
    for name in ("devices_partial_update", "devices_destroy"):
        response = room.ask(name, {"name": "Other"}, If_None_Match=tag)
        assert response.status_code == 412
        check_response(operations()[name], response)
        assert response.json()["error"]["code"] == "PRECONDITION_FAILED"
    assert room.ask("devices_partial_update", {"name": "A"}, If_None_Match='"b"').status_code == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, described in operations().items()
        for kind in described.operation.get("requestBody", {}).get("content", {})
        if kind != JSON
    ],
)
def test_a_body_is_taken_in_every_declared_form(room, name, kind):
    response = TAKEN[kind](room, name)
    assert response.status_code < 300, response.content
    check_response(operations()[name], response)
