"""The door: who gets in, what is taken, and how errors leave."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest
from django.contrib.auth.models import User
from django.test import Client as HttpClient

from devices.models import Device
from neurascale import graphql
from tests.graphql.asking import ask, post, refused
from tests.ingest.factories import make_device
from tests.ingest.rest import Program, error_of
from tests.machine import ROOT

pytestmark = pytest.mark.django_db

NAMES = "{ devices { nodes { name } } }"
REMOVE = "mutation($id: ID!) { removeDevice(id: $id) }"


@pytest.fixture
def program():
    return Program("admin")


def body(query, **variables):
    return orjson.dumps({"query": query, "variables": variables})


def test_whoever_is_not_known_gets_the_envelope_of_rest_before_anything_is_read():
    stranger = HttpClient(raise_request_exception=False)
    response = stranger.post("/graphql", b"{ not even JSON", content_type="application/json")
    assert error_of(response, 401, "NOT_AUTHENTICATED")
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["nonsense", "ns_abc_def", ""])
def test_a_token_that_does_not_hold_is_refused(token):
    headers = {"Authorization": f"Bearer {token}"}
    stranger = HttpClient(raise_request_exception=False, headers=headers)
    response = stranger.post("/graphql", body(NAMES), content_type="application/json")
    error_of(response, 401, "INVALID_TOKEN")


def test_a_token_in_the_url_is_refused(program):
    response = program.http.post("/graphql?token=x", body(NAMES), content_type="application/json")
    error_of(response, 401, "INVALID_TOKEN")


def test_only_post_runs_anything(program):
    device = make_device()
    query = {"query": f'mutation {{ removeDevice(id: "{device.public_id}") }}'}
    for method in ("get", "put", "patch", "delete"):
        response = getattr(program.http, method)("/graphql", query_params=query)
        assert error_of(response, 405, "METHOD_NOT_ALLOWED")
    assert Device.objects.filter(pk=device.pk).exists()


@pytest.mark.parametrize(
    "media_type",
    [
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/graphql",
    ],
)
def test_what_a_form_of_another_site_could_send_is_not_taken(program, media_type):
    response = program.http.post("/graphql", body(NAMES), content_type=media_type)
    error_of(response, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"{", "MALFORMED_JSON"),
        (b'{"query": "{ a }", "variables": {"a": NaN}}', "MALFORMED_JSON"),
        (b"[]", "VALIDATION_ERROR"),
        (b'[{"query": "{ __typename }"}]', "VALIDATION_ERROR"),
        (b"{}", "VALIDATION_ERROR"),
        (b'{"query": ["a"]}', "VALIDATION_ERROR"),
        (b'{"query": "{ __typename }", "variables": [1]}', "VALIDATION_ERROR"),
        (b'{"query": "{ __typename }", "operationName": {}}', "VALIDATION_ERROR"),
    ],
)
def test_a_body_that_is_no_operation_is_refused(program, sent, code):
    response = program.http.post("/graphql", sent, content_type="application/json")
    error_of(response, 400, code)


def test_a_body_that_is_too_large_is_refused(program):
    response = program.http.post(
        "/graphql", body("#" * (256 * 2**10)), content_type="application/json"
    )
    assert error_of(response, 413, "PAYLOAD_TOO_LARGE")["details"]["limit_bytes"] == 256 * 2**10


def test_the_portals_session_must_show_the_csrf_token():
    User.objects.create_superuser("ada", password="x")
    browser = HttpClient(enforce_csrf_checks=True, raise_request_exception=False)
    browser.login(username="ada", password="x")
    device = make_device()
    sent = body(REMOVE, id=device.public_id)
    response = browser.post("/graphql", sent, content_type="application/json")
    error_of(response, 403, "PERMISSION_DENIED")
    assert Device.objects.filter(pk=device.pk).exists()

    browser.get("/admin/")
    token = browser.cookies["csrftoken"].value
    response = browser.post(
        "/graphql", sent, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert response.json() == {"data": {"removeDevice": device.public_id}}


def test_a_token_needs_no_csrf_token(program):
    strict = HttpClient(enforce_csrf_checks=True)
    strict.defaults = program.http.defaults
    response = strict.post("/graphql", body(NAMES), content_type="application/json")
    assert response.json() == {"data": {"devices": {"nodes": []}}}


# --- errors --------------------------------------------------------------------------------------


def test_an_error_of_rest_has_its_code_details_and_request_id(program):
    error = refused(program, '{ device(id: "dev_999") { name } }', "INVALID_DEVICE_ID")
    assert error["message"] == "Device with ID 'dev_999' not found"
    assert error["path"] == ["device"]
    assert error["extensions"]["details"] == {
        "device_id": "dev_999",
        "suggestion": "Check device ID or register device first",
    }
    assert (
        error_of(program.get("devices/dev_999"), 404, "INVALID_DEVICE_ID")["details"]
        == (error["extensions"]["details"])
    )


def test_a_field_that_fails_does_not_take_its_siblings_along(program):
    make_device(name="Cyton")
    response = post(program, '{ device(id: "dev_x") { name } devices { nodes { name } } }')
    assert response.json()["data"] == {"device": None, "devices": {"nodes": [{"name": "Cyton"}]}}


def test_a_bug_is_told_without_its_trace_and_logged(program, monkeypatch, caplog):
    def fail(device_id):
        raise ZeroDivisionError("a secret of ours")

    monkeypatch.setattr("devices.services.get_device", fail)
    error = refused(program, '{ device(id: "dev_1") { name } }', "INTERNAL_ERROR")
    assert "secret" not in str(error)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error["extensions"]["requestId"] in record.message
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ devices { nodes { name } }", "MALFORMED_QUERY"),
        ("not a query", "MALFORMED_QUERY"),
        ('{ device(id: "a\\u0000b") { name } }', "MALFORMED_QUERY"),
        ('{ device(id: "a\\u{0}b") { name } }', "MALFORMED_QUERY"),
        ("{ nothing }", "VALIDATION_ERROR"),
        ("{ device { name } }", "VALIDATION_ERROR"),
        ("{ devices }", "VALIDATION_ERROR"),
        ("query A { __typename } query B { __typename }", "VALIDATION_ERROR"),
        ('subscription { deviceStatus(deviceId: "x") { event } }', "VALIDATION_ERROR"),
        ("fragment A on Query { __typename }", "VALIDATION_ERROR"),
        ("{ ...A } fragment A on Query { ...A }", "VALIDATION_ERROR"),
        ("query($a: Int) { devices(first: $b) { totalCount } }", "VALIDATION_ERROR"),
        ("query($a: Int!) { devices(first: $a) { totalCount } }", "VALIDATION_ERROR"),
    ],
)
def test_a_document_that_cannot_be_run_is_refused_whole(program, query, code):
    body = post(program, query).json()
    assert body["data"] is None
    assert {error["extensions"]["code"] for error in body["errors"]} == {code}


def test_a_client_that_wants_a_status_gets_one(program):
    media_type = "application/graphql-response+json"
    for query, status in (("{ nothing }", 400), ("{ __typename }", 200)):
        response = program.http.post(
            "/graphql", body(query), content_type="application/json", headers={"Accept": media_type}
        )
        assert (response.status_code, response["Content-Type"]) == (status, media_type)


def test_the_schema_is_there_for_whoever_is_known():
    nobody_special = Program("processing:run")
    data = ask(nobody_special, '{ __schema { types { name } } __type(name: "Device") { name } }')
    assert {"Device", "Session"} <= {kind["name"] for kind in data["__schema"]["types"]}


def test_the_usual_introspection_query_is_within_the_limits(program):
    from graphql import build_client_schema, get_introspection_query, print_schema

    data = ask(program, get_introspection_query())
    assert "type Device implements Node" in print_schema(build_client_schema(data))


# --- what it costs to have it ---------------------------------------------------------------------


@pytest.mark.parametrize("module", ["neurascale.urls", "neurascale.asgi", "neurascale.celery"])
def test_the_libraries_are_not_loaded_before_somebody_asks(module):
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'neurascale.settings'; "
        f"django.setup(); import {module}; from django.urls import reverse; reverse('graphql'); "
        "assert not {'strawberry', 'graphql'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_package_has_nothing_else_to_load():
    with pytest.raises(AttributeError):
        graphql.nothing  # noqa: B018
