"""Who is nobody gets 401, who lacks the scope 403: on every route that Django knows of.

A route that is added later is swept too; one that lets everybody in has to be named in `OPEN`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission
from django.urls import NoReverseMatch, reverse

from neurascale.core.auth import Scope, issue_tokens
from neurascale.core.models import Client
from sessions_app.services import create_client
from tests.routes import Route, api_routes, rooms

OPEN = {
    Route("POST", "auth/token"): "here one gets a token",
    Route("POST", "auth/revoke"): "shows the client's secret in its body",
    Route("GET", "schema"): "what the API is, is no secret",
    Route("GET", "docs"): "likewise",
    Route("GET", "redoc"): "likewise",
}
GUARDED = [route for route in api_routes() if route not in OPEN]
UNKNOWN = "nothing"


@pytest.fixture
def program(db) -> Client:
    made = create_client(name="program", scopes=["devices:read"])
    return Client.objects.get(public_id=made.client_id)


@pytest.fixture(autouse=True)
def nobody_to_wait_for(settings):
    settings.ANSWER_SECONDS = 0.05


def call(client: Any, route: Route, **headers: str) -> Any:
    path = re.sub(r"<\w+:\w+>", UNKNOWN, route.path)
    return client.generic(
        route.method, f"/v1/{path}", b"{}", content_type="application/json", headers=headers
    )


def bearer(program: Client, scopes: list[str]) -> dict[str, str]:
    program.scopes = scopes
    program.save(update_fields=["scopes"])
    return {"Authorization": f"Bearer {issue_tokens(program)['access_token']}"}


def test_what_is_open_is_there():
    assert set(OPEN) <= set(api_routes())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x.y.z"}], ids=["none", "bad"])
@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_without_a_good_token_nothing_is_done(client, db, route, headers):
    answer = call(client, route, **headers)
    assert answer.status_code == 401, answer.content
    code = answer.json()["error"]["code"]
    assert code == ("INVALID_TOKEN" if headers else "NOT_AUTHENTICATED")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_each_route_needs_the_scopes_it_names_and_no_others(client, program, route):
    answer = call(client, route, **bearer(program, []))
    assert answer.status_code == 403, answer.content
    error = answer.json()["error"]
    assert error["code"] == "PERMISSION_DENIED"
    missing = error["details"]["missing"]
    assert missing
    assert set(missing) <= set(map(str, Scope))
    everything_else = [str(scope) for scope in Scope if scope not in {*missing, Scope.ADMIN}]
    assert call(client, route, **bearer(program, everything_else)).status_code == 403
    assert call(client, route, **bearer(program, missing)).status_code not in {401, 403}


def portal_urls() -> list[str]:
    """Return the address of every room of the portal that needs no row to be there."""
    found = [reverse("admin:index"), reverse("admin:password_change")]
    for model in rooms():
        meta = model._meta
        for view in ("changelist", "add"):
            try:
                found.append(reverse(f"admin:{meta.app_label}_{meta.model_name}_{view}"))
            except NoReverseMatch:
                continue
    return found


@pytest.mark.parametrize("url", portal_urls())
def test_the_portal_lets_in_nobody_who_is_not_of_the_staff(client, django_user_model, db, url):
    answer = client.get(url)
    assert (answer.status_code, answer.url.split("?")[0]) == (302, reverse("admin:login"))
    client.force_login(django_user_model.objects.create_user("visitor"))
    answer = client.get(url)
    assert (answer.status_code, answer.url.split("?")[0]) == (302, reverse("admin:login"))


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", rooms(), ids=lambda model: model._meta.label)
def test_whoever_may_only_look_is_offered_nothing_that_acts(rf, django_user_model, db, model):
    request = rf.get("/")
    request.user = django_user_model.objects.create_user("reader", is_staff=True)
    look = Permission.objects.filter(
        content_type__app_label=model._meta.app_label, codename=f"view_{model._meta.model_name}"
    )
    request.user.user_permissions.set(look)
    room = site.get_model_admin(model)
    assert room.has_view_permission(request)
    assert room.get_actions(request) == {}


URLS = ["/v1/devices", "/v1/nothing", "/", "/nothing", "/v1/docs", "/v1/schema", *portal_urls()]


@pytest.mark.parametrize("url", URLS)
def test_every_answer_tells_the_browser_to_be_careful(admin_client, url):
    answer = admin_client.get(url)
    policy = answer["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "object-src 'none'" in policy
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert "unsafe-inline" not in (scripts[1] if scripts else "")
    if not url.startswith("/admin"):
        assert "unsafe" not in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


def test_in_production_everything_is_https(client, settings, db):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 31_536_000
    answer = client.get("/v1/devices")
    assert (answer.status_code, answer["Location"]) == (301, "https://testserver/v1/devices")
    answer = client.get("/v1/devices", secure=True)
    assert answer["Strict-Transport-Security"].startswith("max-age=31536000")
