"""Every route that changes something leaves an entry in the audit log, in good order.

The routes are found by introspection. Whoever adds one says here how it is called with success;
if it changes nothing, `NO_CHANGE` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from ingest.models import Stream
from neurascale.celery import app as celery
from neurascale.core.audit import verify
from neurascale.core.auth import issue_tokens
from neurascale.core.models import AuditEntry, Client
from neurascale.core.portal import AuditedAdmin
from sessions_app.models import Session, Study, Subject, Withdrawal
from sessions_app.services import create_client, find_subject
from tests.ingest.factories import make_device, make_stream
from tests.ingest.ingestions import PATH, message, samples
from tests.ingest.rest import Program
from tests.lab.board import Board
from tests.routes import Route, api_routes, rooms, unsafe_routes

pytestmark = pytest.mark.django_db


class World:
    """A lab with something of everything, and a program that may do everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = Program("admin")
        self.study = self.api.study
        self.other = create_client(name="other", scopes=["viewer"], study=self.study)

    def device(self, **fields: Any) -> str:
        return f"devices/{make_device(**fields).public_id}"

    def streaming(self) -> Stream:
        device = make_device(status=Device.Status.STREAMING)
        return make_stream(device, state=Stream.State.RUNNING)

    def session(self, status: str = "created", *, streams: bool = False, **fields: Any) -> str:
        device = self.streaming().device if streams else make_device()
        return f"sessions/{self.api.make_session(device, status=status, **fields).public_id}"

    def token(self, name: str) -> str:
        return issue_tokens(self.other.client)[name]

    def own_secret(self) -> dict[str, str]:
        return {"client_id": self.other.client_id, "client_secret": self.other.client_secret}

    def connect(self) -> HttpResponse:
        """Connect to a virtual board; the task that opens its port runs here."""
        board = Board(self.folder / "board", self.folder / "truth")
        celery.conf.task_always_eager = True
        try:
            return self.api.post(f"{self.device(port=str(self.folder / 'board'))}/connect")
        finally:
            celery.conf.task_always_eager = False
            board.stop()

    def subject(self) -> Subject:
        return find_subject(study=self.study, code="S01")


CLIENT = "clients/{w.other.client_id}"
STUDY = "studies/{w.study.public_id}"
DEVICE = {"name": "Cyton", "type": "openbci", "port": "/dev/ttyUSB7"}
MEMBERS = "studies/<str:study_id>/members"

# How a route is called so that it changes something.
CHANGES: dict[Route, Callable[[World], HttpResponse]] = {
    Route("POST", "auth/token"): lambda w: w.api.post(
        "auth/token", {"grant_type": "client_credentials", **w.own_secret()}
    ),
    Route("POST", "auth/revoke"): lambda w: w.api.post(
        "auth/revoke", {"token": w.token("access_token"), **w.own_secret()}
    ),
    Route("POST", "clients"): lambda w: w.api.post(
        "clients", {"name": "new", "scopes": ["viewer"]}
    ),
    Route("PATCH", "clients/<str:client_id>"): lambda w: w.api.patch(
        CLIENT.format(w=w), {"name": "renamed"}
    ),
    Route("DELETE", "clients/<str:client_id>"): lambda w: w.api.delete(CLIENT.format(w=w)),
    Route("POST", "clients/<str:client_id>/rotate"): lambda w: w.api.post(
        CLIENT.format(w=w) + "/rotate"
    ),
    Route("POST", "clients/<str:client_id>/revoke"): lambda w: w.api.post(
        CLIENT.format(w=w) + "/revoke"
    ),
    Route("POST", "studies"): lambda w: w.api.post("studies", {"name": "sleep"}),
    Route("PATCH", "studies/<str:study_id>"): lambda w: w.api.patch(
        STUDY.format(w=w), {"name": "naps"}
    ),
    Route("POST", MEMBERS): lambda w: w.api.post(
        STUDY.format(w=w) + "/members", {"client_id": w.other.client_id}
    ),
    Route("DELETE", f"{MEMBERS}/<str:client_id>"): lambda w: w.api.delete(
        STUDY.format(w=w) + f"/members/{w.other.client_id}"
    ),
    Route("POST", "devices"): lambda w: w.api.post("devices", DEVICE),
    Route("PATCH", "devices/<str:device_id>"): lambda w: w.api.patch(w.device(), {"name": "new"}),
    Route("DELETE", "devices/<str:device_id>"): lambda w: w.api.delete(w.device()),
    Route("POST", "devices/<str:device_id>/connect"): World.connect,
    Route("POST", "devices/<str:device_id>/disconnect"): lambda w: w.api.post(
        w.device() + "/disconnect"
    ),
    Route("POST", "devices/<str:device_id>/stream/start"): lambda w: w.api.post(
        w.device() + "/stream/start", {}
    ),
    Route("POST", "devices/<str:device_id>/stream/stop"): lambda w: w.api.post(
        f"devices/{w.streaming().device.public_id}/stream/stop"
    ),
    Route("POST", "ingest/neural-data"): lambda w: w.api.post(
        PATH, message(w.api.make_session(make_device()), samples())
    ),
    Route("POST", "sessions"): lambda w: w.api.post(
        "sessions", {"device_id": w.streaming().device.public_id, "subject_id": "S01"}
    ),
    Route("PATCH", "sessions/<str:session_id>"): lambda w: w.api.patch(
        w.session(), {"experiment_type": "rest"}
    ),
    Route("DELETE", "sessions/<str:session_id>"): lambda w: w.api.delete(w.session()),
    Route("POST", "sessions/<str:session_id>/start"): lambda w: w.api.post(
        w.session(streams=True) + "/start"
    ),
    Route("POST", "sessions/<str:session_id>/pause"): lambda w: w.api.post(
        w.session("active") + "/pause"
    ),
    Route("POST", "sessions/<str:session_id>/resume"): lambda w: w.api.post(
        w.session("paused", streams=True) + "/resume"
    ),
    Route("POST", "sessions/<str:session_id>/stop"): lambda w: w.api.post(
        w.session("active") + "/stop"
    ),
    Route("POST", "sessions/<str:session_id>/events"): lambda w: w.api.post(
        w.session() + "/events", {"label": "cue"}
    ),
    Route("POST", "subjects/<str:subject_id>/withdraw"): lambda w: w.api.post(
        f"subjects/{w.subject().public_id}/withdraw"
    ),
}
# Unsafe by its method alone, and why.
NO_CHANGE: dict[Route, str] = {}
# A task that runs in the same process, as here, says that it is a worker's.
OWN_EDGE = Route("POST", "devices/<str:device_id>/connect")


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> World:
    settings.ANSWER_SECONDS = 0.05  # nobody serves streams here; see tests/lab
    return World(tmp_path)


def new_entries(after: int) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(sequence__gt=after).order_by("sequence"))


@pytest.mark.parametrize("route", unsafe_routes(), ids=str)
def test_a_change_over_the_api_leaves_an_entry(world, route):
    if route in NO_CHANGE:
        pytest.skip(NO_CHANGE[route])
    assert route in CHANGES, f"say in this file how {route} is called with success"
    n_before = AuditEntry.objects.count()
    with CaptureQueriesContext(connection) as queries:
        answer = CHANGES[route](world)
    assert 200 <= answer.status_code < 300, answer.content
    entries = new_entries(n_before)
    assert entries, f"{route} changed something and left no entry"
    assert all(entry.request_id and entry.address for entry in entries)
    if route != OWN_EDGE:
        actors = {entry.actor_id for entry in entries}
        assert actors <= {world.api.client.public_id, world.other.client_id}
    assert_log_is_written_last(queries)
    assert not verify().problems


def assert_log_is_written_last(queries: CaptureQueriesContext) -> None:
    """Fail if anything is done between the entries and the end of the outermost transaction.

    In a test that is a savepoint: the test itself is the transaction.
    """
    open_savepoints = 0
    is_writing = False
    for statement in (query["sql"] for query in queries):
        if is_writing and not statement.startswith("RELEASE SAVEPOINT"):
            assert "core_audit" in statement, "something is done after the end of the log is held"
        if statement.startswith("SAVEPOINT"):
            open_savepoints += 1
        elif statement.startswith(("RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")):
            open_savepoints -= statement.startswith("RELEASE")
            is_writing = False
        elif "UPDATE core_audithead" in statement:
            assert open_savepoints == 1, "entries are written in a transaction that goes on"
            is_writing = True
    assert not is_writing, "the log is written outside of a transaction"


def test_no_route_is_named_that_is_not_there():
    named = {*CHANGES, *NO_CHANGE}
    assert named <= set(unsafe_routes())


@pytest.mark.parametrize("output", ["json", "npy", "arrow"])
def test_an_export_leaves_an_entry(world, output):
    session = world.api.make_session(make_device())
    world.api.post(PATH, message(session, samples()))
    assert Route("GET", "sessions/<str:session_id>/data") in api_routes()
    n_before = AuditEntry.objects.count()
    answer = world.api.get(f"sessions/{session.public_id}/data", output=output, stop=100)
    assert answer.status_code == 200
    (entry,) = new_entries(n_before)
    assert (entry.verb, entry.object_id) == ("session.export", session.public_id)
    assert entry.study_id == world.study.public_id
    assert entry.details == {"form": output, "start": 0, "stop": 100}


def test_what_is_refused_leaves_no_entry(world):
    n_before = AuditEntry.objects.count()
    assert world.api.post("sessions/sess_nothing/stop").status_code == 404
    assert world.api.post(f"{world.session()}/stop").status_code == 409
    assert not new_entries(n_before)


# --- The portal ----------------------------------------------------------------------------------

THINGS: dict[type[Model], Callable[[World], Model]] = {
    User: lambda w: User.objects.create_user("ada"),
    Group: lambda w: Group.objects.create(name="operator"),
    Client: lambda w: w.other.client,
    AuditEntry: lambda w: AuditEntry.objects.first(),
    Device: lambda w: make_device(),
    Study: lambda w: Study.objects.create(name="sleep"),
    Subject: World.subject,
    Withdrawal: lambda w: Withdrawal.objects.create(
        study=w.study,
        subject_id="subj_1",
        withdrawn_at=w.study.created_at,
        n_sessions=1,
        n_samples=1,
    ),
    Session: lambda w: w.api.make_session(make_device()),
    Stream: lambda w: w.streaming(),
}
PASSWORD = "difference engine"
NEW: dict[type[Model], dict[str, Any]] = {
    User: {
        "username": "grace",
        "password1": PASSWORD,
        "password2": PASSWORD,
        "usable_password": "true",
    },
    Group: {"name": "choir"},
    Device: {
        "name": "C",
        "board": "cyton",
        "port": "/dev/ttyUSB8",
        "host": "lab",
        "settings": "{}",
    },
    Study: {"name": "naps"},
}
ROOMS = rooms()


def url_of(model: type[Model], *parts: Any) -> str:
    return "/".join(["/admin", model._meta.app_label, model._meta.model_name, *map(str, parts), ""])


def filled_in(page: HttpResponse) -> dict[str, Any]:
    """Return what a browser would post of a form that nobody touched."""
    formsets = [inline.formset for inline in page.context["inline_admin_formsets"]]
    forms = [page.context["adminform"].form]
    forms += [form for formset in formsets for form in (formset.management_form, *formset.forms)]
    return dict(pair for form in forms for field in form for pair in values_of(field))


def values_of(field: Any) -> Iterator[tuple[str, Any]]:
    value, widget = field.value(), field.field.widget
    widget = getattr(widget, "widget", widget)
    if hasattr(widget, "decompress"):
        for place, part in enumerate(widget.decompress(value)):
            yield f"{field.html_name}_{place}", "" if part is None else part
    elif value is not None and value is not False:
        yield field.html_name, value


@pytest.mark.parametrize("model", ROOMS, ids=lambda model: model._meta.label)
def test_every_room_of_the_portal_keeps_the_log(world, admin_client, rf, admin_user, model):
    room = admin.site._registry[model]
    assert isinstance(room, AuditedAdmin)
    assert model in THINGS, f"say in this file how a {model._meta.label} is made"
    request = rf.get("/")
    request.user = admin_user

    def assert_noted(verb: str, data: dict[str, Any], *parts: Any) -> None:
        n_before = AuditEntry.objects.count()
        with CaptureQueriesContext(connection) as queries:
            answer = admin_client.post(url_of(model, *parts), data)
        assert answer.status_code == 302, errors_of(answer)
        (entry,) = new_entries(n_before)
        assert (entry.verb, entry.actor_id) == (f"{model._meta.model_name}.{verb}", "admin")
        assert_log_is_written_last(queries)

    thing = THINGS[model](world)
    if room.has_add_permission(request):
        assert_noted("create", NEW[model], "add")
    if room.has_change_permission(request, thing):
        data = filled_in(admin_client.get(url_of(model, thing.pk, "change")))
        assert_noted("change", data, thing.pk, "change")
    if room.has_delete_permission(request, thing):
        assert_noted("delete", {"post": "yes"}, thing.pk, "delete")
        thing = THINGS[model](World(world.folder))
        selected = {"action": "delete_selected", "_selected_action": thing.pk, "post": "yes"}
        assert_noted("delete", selected)
    assert not verify().problems


def errors_of(answer: HttpResponse) -> Any:
    context = answer.context or {}
    return context["adminform"].form.errors if "adminform" in context else answer.content[:500]


def test_coming_going_and_passwords_are_noted(world):
    user = User.objects.create_superuser("ada", password=PASSWORD)
    browser = Browser()
    n_before = AuditEntry.objects.count()
    browser.post("/admin/login/", {"username": "ada", "password": PASSWORD})
    new = {"new_password1": "analytical engine", "new_password2": "analytical engine"}
    browser.post("/admin/password_change/", {"old_password": PASSWORD, **new})
    other = User.objects.create_user("grace")
    set_password = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    browser.post(f"/admin/auth/user/{other.pk}/password/", set_password)
    browser.post("/admin/logout/")
    told = [(e.verb, e.actor_id, e.object_id) for e in new_entries(n_before)]
    assert told == [
        ("user.login", "ada", "ada"),
        ("user.change", "ada", "ada"),
        ("user.change", "ada", "grace"),
        ("user.logout", "ada", "ada"),
    ]
    user.refresh_from_db()
    assert user.check_password("analytical engine")
