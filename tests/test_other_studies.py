"""What belongs to another study is answered exactly like what does not exist, and as quickly.

The routes are found by introspection: every one with the id of something that a study owns.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse

from ingest.models import Ingestion
from neurascale.core.models import make_public_id
from sessions_app.models import Session
from sessions_app.services import create_client, find_subject
from tests.ingest.factories import make_device
from tests.ingest.ingestions import PATH, accepted, message, samples
from tests.ingest.rest import Program
from tests.routes import Route, api_routes, view_of

pytestmark = pytest.mark.django_db

# What a study owns, by its name in paths, bodies and filters.
OWNED = {
    "study_id": "study_",
    "session_id": "sess_",
    "subject_id": "subj_",
    "ingestion_id": "ing_",
    "client_id": "cli_",
}
PUBLIC = {"device_id"}  # devices belong to the lab
BODIES: dict[Route, dict[str, Any]] = {
    Route("POST", "sessions/<str:session_id>/events"): {"label": "cue"},
    Route("PATCH", "sessions/<str:session_id>"): {"metadata": {}},
    Route("PATCH", "studies/<str:study_id>"): {"name": "mine now"},
    Route("PATCH", "clients/<str:client_id>"): {"name": "mine now"},
    Route("POST", "studies/<str:study_id>/members"): {"client_id": "cli_nothing"},
}
OWNED_ROUTES = [route for route in api_routes() if any(f":{name}>" in route.path for name in OWNED)]


class Theirs:
    """A study with something of everything in it, and its ids."""

    def __init__(self) -> None:
        self.program = Program("admin")
        study = self.program.study
        create_client(name="member", scopes=["viewer"], study=study)
        subject = find_subject(study=study, code="S01")
        self.session = self.program.make_session(make_device(), subject=subject)
        accepted(self.program.post(PATH, message(self.session, samples())))
        self.ids = {
            "study_id": study.public_id,
            "session_id": self.session.public_id,
            "subject_id": subject.public_id,
            "ingestion_id": Ingestion.objects.get().public_id,
            "client_id": self.program.client.public_id,
        }


@pytest.fixture
def theirs() -> Theirs:
    return Theirs()


@pytest.fixture
def stranger() -> Program:
    """May do everything, in its own study."""
    return Program("admin")


@pytest.fixture
def unknown() -> dict[str, str]:
    return {name: make_public_id(prefix) for name, prefix in OWNED.items()}


def call(program: Program, route: Route, ids: dict[str, str]) -> HttpResponse:
    path = re.sub(r"<str:(\w+)>", lambda found: ids[found[1]], route.path)
    method = getattr(program.http, route.method.lower())
    body = () if route.method == "GET" else (BODIES.get(route, {}),)
    return method(f"/v1/{path}", *body, content_type="application/json")


# What differs between any two requests.
COUNTED = {"X-Request-ID", "X-RateLimit-Remaining", "X-RateLimit-Reset"}


def told(answer: HttpResponse, ids: dict[str, str]) -> tuple[Any, ...]:
    """Return all that an answer says, with the names of ids in their place."""
    text = answer.content.decode()
    for name, value in ids.items():
        text = text.replace(value, name)
    text = re.sub(r'"request_id":"[^"]*"', "", text)
    headers = {k: v for k, v in answer.headers.items() if k not in COUNTED}
    return answer.status_code, text, headers


@pytest.mark.parametrize("route", OWNED_ROUTES, ids=str)
def test_what_is_theirs_is_answered_as_what_is_not_there(theirs, stranger, unknown, route):
    foreign, missing = call(stranger, route, theirs.ids), call(stranger, route, unknown)
    assert told(foreign, theirs.ids) == told(missing, unknown)
    assert foreign.status_code == 404, foreign.content


def test_all_that_can_be_named_in_a_path_is_owned_or_public():
    """So that a new kind of thing cannot be forgotten here."""
    named = {name for route in api_routes() for name in re.findall(r":(\w+)>", route.path)}
    assert named == {*OWNED, *PUBLIC}


LISTS = [
    (route, name)
    for route in api_routes()
    if route.method == "GET" and not route.path.endswith(">")
    for name in getattr(view_of(route), "filter_fields", {})
    if name in {*OWNED, "object_id", "actor_id"}
]


@pytest.mark.parametrize(("route", "name"), LISTS, ids=str)
def test_a_filter_by_what_is_theirs_finds_what_is_not_there(theirs, stranger, unknown, route, name):
    known = name if name in OWNED else "client_id"
    answers = [stranger.get(route.path, **{name: ids[known]}) for ids in (theirs.ids, unknown)]
    texts = [answer.content for answer in answers]
    assert answers[0].status_code == 200
    assert texts[0] == texts[1]
    assert b'"total":0' in texts[0]


@pytest.mark.parametrize(
    "path", [r.path for r in api_routes() if r.method == "GET" and "<" not in r.path]
)
def test_no_list_or_search_knows_of_it(theirs, stranger, path, settings):
    settings.ANSWER_SECONDS = 0.05
    for query in ({}, *({"search": value} for value in theirs.ids.values())):
        body = stranger.get(path, **query).content.decode()
        for value in theirs.ids.values():
            shown = body.replace(query.get("search", " "), "")
            assert value not in shown


BODIES_WITH_IDS: dict[str, Callable[[Theirs, dict[str, str]], tuple[str, Any]]] = {
    "a session in their study": lambda t, ids: (
        "sessions",
        {"device_id": t.session.device.public_id, "study_id": ids["study_id"]},
    ),
    "a client in their study": lambda t, ids: (
        "clients",
        {"name": "spy", "scopes": ["viewer"], "study_id": ids["study_id"]},
    ),
    "samples into their session": lambda t, ids: (
        PATH,
        message(t.session, samples()) | {"session_id": ids["session_id"]},
    ),
}


@pytest.mark.parametrize("case", BODIES_WITH_IDS)
def test_an_id_in_a_body_is_answered_alike(theirs, stranger, unknown, case):
    answers = [stranger.post(*BODIES_WITH_IDS[case](theirs, ids)) for ids in (theirs.ids, unknown)]
    assert told(answers[0], theirs.ids) == told(answers[1], unknown)
    assert answers[0].status_code == 404


def test_a_device_does_not_name_the_session_of_another_study(theirs, stranger):
    Session.objects.update(status=Session.Status.ACTIVE)
    path = f"devices/{theirs.session.device.public_id}/status"
    assert stranger.get(path).json()["session_id"] is None
    assert theirs.program.get(path).json()["session_id"] == theirs.session.public_id


def test_the_subject_of_another_study_is_only_a_code_here(theirs, stranger):
    asked = {"device_id": make_device().public_id}
    codes = (theirs.ids["subject_id"], make_public_id("subj_"))
    subjects = [
        stranger.post("sessions", asked | {"subject_id": code}).json()["subject_id"]
        for code in codes
    ]
    assert len({*subjects, *codes}) == 4


@pytest.mark.parametrize("name", ["session_id", "study_id", "subject_id", "ingestion_id"])
def test_it_takes_the_same_time(theirs, stranger, unknown, name):
    """Taken in turns, so that whatever else the machine does comes to both alike."""
    paths = {
        "session_id": "sessions/{}",
        "study_id": "studies/{}",
        "subject_id": "subjects/{}",
        "ingestion_id": "ingest/{}",
    }
    asked = [paths[name].format(ids[name]) for ids in (theirs.ids, unknown)]
    took: list[list[float]] = [[], []]
    for turn in range(150):
        for which in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            stranger.get(asked[which])
            took[which].append(time.perf_counter() - began)
    foreign, missing = map(statistics.median, took)
    assert abs(foreign - missing) < 0.2 * missing
