"""OPTIONS, and pages of other origins."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.core.test_representation import get
from tests.ingest.rest import Program
from tests.routes import paths

pytestmark = pytest.mark.django_db


@pytest.fixture
def program() -> Program:
    return Program("operator")


def test_options_says_what_can_be_done(program):
    answer = program.http.options("/v1/devices")
    assert answer.status_code == 200
    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"
    told = answer.json()
    assert told["methods"]["GET"] == {"scopes": ["devices:read"]}
    assert told["methods"]["POST"] == {
        "scopes": ["devices:control"],
        "accepts": ["application/json"],
        "limit_bytes": 2621440,
    }
    assert told["produces"] == ["application/json"]


def test_every_route_answers_options_with_its_methods(program):
    """HEAD too wherever there is GET."""
    program = Program("admin")
    for route in paths():
        url = "/" + re.sub(r"<[^>]*>", "x", route.path)
        answer = program.http.options(url)
        assert answer.status_code in {200, 204}, route
        allowed = set(answer["Allow"].split(", "))
        assert allowed >= route.methods | {"OPTIONS"}, route
        assert ("HEAD" in allowed) == ("GET" in allowed), route


@pytest.fixture
def app_origin(settings) -> str:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    return "https://app.example.org"


REFUSED = [
    ("devices?limit=1%00", {}, 400),
    ("devices?" + "&".join(f"a{n}=" for n in range(101)), {}, 400),
    ("devices?" + "&".join(f"a{n}=" for n in range(1100)), {}, 400),
    ("devices?search=" + "x" * 9000, {}, 414),
    ("devices", {"X-Much": "x" * 13_000}, 431),
]


@pytest.mark.parametrize(("path", "headers", "status"), REFUSED)
def test_a_page_can_read_why_a_request_was_not_looked_at(
    program, app_origin, path, headers, status
):
    remaining = int(get(program, "devices")["X-RateLimit-Remaining"])
    answer = program.http.get(f"/v1/{path}", headers={**headers, "Origin": app_origin})
    assert answer.status_code == status
    assert answer["Access-Control-Allow-Origin"] == app_origin
    assert int(answer["X-RateLimit-Remaining"]) == remaining - 1
    assert answer["X-Request-ID"] == answer.json()["error"]["request_id"]


def test_without_the_setting_no_other_origin_is_let_in(program):
    response = get(program, "devices", Origin="https://app.example.org")
    assert "Access-Control-Allow-Origin" not in response


def test_a_listed_origin_is_let_in_and_may_read_the_headers(program, app_origin):
    response = get(program, "devices", Origin=app_origin)
    assert response["Access-Control-Allow-Origin"] == app_origin
    exposed = response["Access-Control-Expose-Headers"]
    for name in ("ETag", "X-Request-ID", "X-RateLimit-Remaining", "Retry-After"):
        assert name in exposed
    assert "Access-Control-Allow-Credentials" not in response
    assert "origin" in response["Vary"].lower()
    other = get(program, "devices", Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in other


def test_errors_reach_a_page_of_another_origin_too(program, app_origin):
    for path in ("devices/dev_999", "nothing"):
        response = get(program, path, Origin=app_origin)
        assert response.status_code == 404
        assert response["Access-Control-Allow-Origin"] == app_origin


def test_a_preflight_needs_no_token(app_origin):
    asked = {
        "Origin": app_origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, if-match, idempotency-key",
    }
    response = Client().options("/v1/devices/dev_1", headers=asked)
    assert response.status_code == 200
    assert "PATCH" in response["Access-Control-Allow-Methods"]
    for name in ("authorization", "if-match", "idempotency-key", "content-encoding"):
        assert name in response["Access-Control-Allow-Headers"]
    assert response["X-Request-ID"]
    admin = Client().options("/admin/", headers=asked)
    assert "Access-Control-Allow-Origin" not in admin


def test_any_origin_never_means_with_cookies(program, settings):
    settings.CORS_ALLOW_ALL_ORIGINS = True
    response = get(program, "devices", Origin="https://anywhere.example")
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response
