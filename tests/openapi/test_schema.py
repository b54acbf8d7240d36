"""The document itself: complete, valid, made without a warning, and of the views' own words."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import yaml
from django.test import Client as HttpClient
from django.urls import path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from ingest.consumers import CLOSE_CODES, TYPES
from neurascale.core.auth import HasScope, Scope
from neurascale.core.openapi.examples import seed_examples
from neurascale.core.openapi.schema import Generator, document
from neurascale.core.views import ResourceViewSet
from sessions_app.models import Study
from sessions_app.serializers import StudySerializer
from tests.machine import ROOT
from tests.openapi.described import check, operations, resolved
from tests.routes import paths

VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


def served() -> Iterator[tuple[str, str, Any]]:
    """Yield path, method and view class of everything that is served to programs."""
    for found in (*paths(), *paths("graphql")):
        route = "/" + VARIABLE.sub(r"{\1}", found.path)
        yield from ((route, method, found.view) for method in found.actions)


@pytest.mark.parametrize(("route", "method", "view"), list(served()), ids=str)
def test_whatever_is_served_is_described(route, method, view):
    operation = document()["paths"][route][method]
    assert operation["summary"].strip()
    assert "None" not in operation["summary"]
    assert operation["operationId"]
    assert operation["tags"]
    needs = HasScope in view.permission_classes
    asks = needs and any(view.required_scopes.values())
    assert bool(operation.get("x-required-scopes")) is asks
    assert set(operation.get("x-required-scopes", [])) <= set(Scope)
    assert any(operation["security"]) is needs
    good = [int(status) for status in operation["responses"] if int(status) < 300]
    assert len(good) == 1
    assert ("304" in operation["responses"]) is (method == "get")
    assert set(operation["tags"]) <= {tag["name"] for tag in document()["tags"]}
    for response in map(resolved, operation["responses"].values()):
        assert response["description"].strip()
        assert response["headers"]["X-Request-ID"]["required"]
        assert all(resolved(body["schema"]) for body in response.get("content", {}).values())
    if good != [204]:
        assert resolved(operation["responses"][str(good[0])])["content"]
    for parameter in operation["parameters"]:
        assert parameter["schema"]
        assert parameter["description"].strip(), parameter["name"]


def test_nothing_is_described_that_is_not_served():
    described = {(o.path, o.method.lower()) for o in operations().values()}
    assert described == {(route, method) for route, method, _ in served()}


def test_the_document_is_valid_and_made_without_a_warning():
    made = Generator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS, (GENERATOR_STATS._warn_cache, GENERATOR_STATS._error_cache)
    validate_schema(made)
    assert made["openapi"].startswith("3.1")
    assert b'"nullable"' not in orjson.dumps(made)  # of 3.0, and without a meaning in 3.1


@pytest.mark.parametrize("name", operations())
def test_examples_are_the_seeds_own_and_as_the_schema_says(name):
    printed = [value for e in seed_examples() for value in (e.request, e.response) if value]
    for body in bodies(operations()[name].operation):
        for code, example in body.get("examples", {}).items():
            if code == "seed":
                assert example["value"] in printed  # to the letter, nothing made up
                check(example["value"], without_required(body["schema"]))
            else:
                check(example["value"], body["schema"])


def without_required(schema: Any) -> Any:
    """Return a schema that takes a part of a body too, with what it refers to in it."""
    if isinstance(schema, list):
        return [without_required(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = resolved(schema)
    return {name: without_required(part) for name, part in whole.items() if name != "required"}


def bodies(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every body of an operation: of its request and of its answers."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for response in operation["responses"].values():
        yield from resolved(response).get("content", {}).values()


def test_every_request_that_the_seed_prints_is_an_example():
    shown = {
        (o.method, o.path.removeprefix("/v1"))
        for o in operations().values()
        for body in bodies(o.operation)
        if "seed" in body.get("examples", {})
    }
    printed = {(e.method, e.path) for e in seed_examples() if e.path and (e.request or e.response)}
    served_now = {(o.method, o.path.removeprefix("/v1")) for o in operations().values()}
    assert shown == printed & served_now
    assert len(shown) >= 7


def test_a_change_can_be_made_to_depend_on_what_is_there_in_both_ways():
    asked = [
        name
        for name, described in operations().items()
        if "If-Match" in {p["name"] for p in described.operation["parameters"]}
    ]
    assert {"devices_partial_update", "devices_destroy"} <= set(asked)
    for name in asked:
        named = {p["name"]: p["description"] for p in operations()[name].operation["parameters"]}
        assert "412" in named["If-None-Match"]
        assert "412" in operations()[name].operation["responses"]


def test_every_path_says_once_what_its_other_methods_answer():
    for item in document()["paths"].values():
        assert item["x-other-methods"].keys() == {"405"}
        told = resolved(item["x-other-methods"]["405"])
        assert told["headers"]["Allow"]["required"]
    assert not any("405" in o.operation["responses"] for o in operations().values())


def test_only_those_who_read_a_body_can_want_to_know_its_length():
    for described in operations().values():
        takes = "requestBody" in described.operation
        assert ("411" in described.operation["responses"]) is takes
        assert "501" not in described.operation["responses"]  # nothing gives it


def test_what_was_made_is_linked_to_what_can_be_done_with_it():
    links = operations()["sessions_create"].response(201)["links"]
    assert links["sessions_retrieve"] == {
        "operationId": "sessions_retrieve",
        "parameters": {"session_id": "$response.body#/session_id"},
    }
    assert links["ingest_neural_data"]["requestBody"].keys() == {"device_id", "session_id"}
    for described in operations().values():
        for response in described.operation["responses"].values():
            for link in resolved(response).get("links", {}).values():
                assert link["operationId"] in operations()


def test_the_websocket_is_described_as_it_is_spoken():
    said = document()["x-websocket"]
    assert said["client"].keys() == set(TYPES)
    assert {str(code) for code in CLOSE_CODES.values()} <= said["closeCodes"].keys()


# --- By construction -----------------------------------------------------------------------------


class PlainViewSet(ListModelMixin, RetrieveModelMixin, ResourceViewSet[Study]):
    """A resource that says nothing for the document."""

    plural = "plains"
    queryset = Study.objects.all()
    serializer_class = StudySerializer
    required_scopes = {"GET": Scope.SESSIONS_READ}
    filter_fields = {"name": "name"}


USUAL = ["limit", "cursor", "name", "X-Request-ID", "If-None-Match"]


def test_a_new_view_set_is_described_without_a_line():
    made = Generator(
        patterns=[
            path("v1/plains", PlainViewSet.as_view({"get": "list"})),
            path("v1/plains/<str:study_id>", PlainViewSet.as_view({"get": "retrieve"})),
        ]
    ).get_schema(request=None, public=True)
    assert not GENERATOR_STATS
    validate_schema(made)
    page = made["paths"]["/v1/plains"]["get"]
    assert page["summary"] == "List plains"
    assert page["x-required-scopes"] == ["sessions:read"]
    assert [p["name"] for p in page["parameters"]] == USUAL
    assert " ".join(page["responses"]) == "200 304 400 401 403 406 414 429 431 500"
    one = made["paths"]["/v1/plains/{study_id}"]["get"]
    assert "INVALID_STUDY_ID" in one["responses"]["404"]["$ref"]


@pytest.mark.django_db
def test_a_list_without_texts_or_orders_refuses_what_it_does_not_know(rf):
    view = PlainViewSet.as_view({"get": "list"}, authentication_classes=(), permission_classes=())
    Study.objects.create(name="a")
    assert orjson.loads(view(rf.get("/")).content)["pagination"]["total"] == 1
    for query in ("search=a", "ordering=name"):
        assert view(rf.get(f"/?{query}")).status_code == 400


# --- As it is served -----------------------------------------------------------------------------


def test_anybody_reads_the_document_as_json_and_as_yaml():
    http = HttpClient()
    as_json = http.get("/v1/schema")
    assert (as_json.status_code, as_json["Content-Type"]) == (200, "application/json")
    assert as_json.json() == orjson.loads(orjson.dumps(document()))
    for asked in (
        http.get("/v1/schema?output=yaml"),
        http.get("/v1/schema", headers={"Accept": "application/yaml"}),
    ):
        assert asked["Content-Type"].partition(";")[0] == "application/yaml"
        assert yaml.safe_load(asked.content) == as_json.json()
    assert http.get("/v1/schema?output=csv").status_code == 400
    assert http.get("/v1/schema?output=").status_code == 400
    assert http.get("/v1/schema", headers={"Authorization": "Bearer forged"}).status_code == 200


def test_the_document_is_made_once_and_not_before_it_is_asked_for():
    assert document() is document()
    made = """
import django; django.setup()
import neurascale.urls
from neurascale.core.openapi.schema import document
print(document.cache_info().currsize)
"""
    done = subprocess.run(
        [sys.executable, "-c", made], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "0\n"
