"""Tokens: how they are got, what they are good for, and every way they are refused."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client as Browser
from django.utils import timezone

from neurascale.core import services
from neurascale.core.auth import (
    EVERYTHING,
    NOTHING,
    ROLES,
    AccessToken,
    InvalidTokenError,
    Scope,
    authenticate_token,
    expand_scopes,
    issue_tokens,
    scopes_of,
)
from neurascale.core.errors import InvalidError
from neurascale.core.models import AuditEntry, Client, RevokedToken
from sessions_app.services import NewClient, create_client

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.core.urls")]

TOKEN = "/v1/auth/token"
DEVICES = "/v1/devices"


@pytest.fixture
def new() -> NewClient:
    return create_client(name="trial", scopes=["viewer"])


def ask(**fields: Any) -> HttpResponse:
    return Browser().post(TOKEN, fields, content_type="application/json")


def ask_with_secret(new: NewClient, **fields: Any) -> HttpResponse:
    asked = {"client_id": new.client_id, "client_secret": new.client_secret}
    return ask(grant_type="client_credentials", **{**asked, **fields})


def get_devices(token: str) -> HttpResponse:
    return Browser().get(DEVICES, headers={"Authorization": f"Bearer {token}"})


def code_of(response: HttpResponse) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- Getting one ---------------------------------------------------------------------------------


def test_the_seed_documents_request_gives_a_token_that_works(new):
    answer = ask_with_secret(new)
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "refresh_token", "scope"]
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 1800)
    assert body["scope"].split() == sorted(ROLES["viewer"])
    assert answer["Cache-Control"] == "no-store"
    assert get_devices(body["access_token"]).status_code == 200


def test_a_form_does_as_well_as_json(new):
    form = (
        f"grant_type=client_credentials&client_id={new.client_id}&client_secret={new.client_secret}"
    )
    answer = Browser().post(TOKEN, form, content_type="application/x-www-form-urlencoded")
    assert get_devices(answer.json()["access_token"]).status_code == 200


def test_an_api_key_stands_for_id_and_secret(new):
    assert new.api_key.startswith("ns_")
    assert get_devices(ask(api_key=new.api_key).json()["access_token"]).status_code == 200


def test_an_unknown_client_is_answered_exactly_as_a_wrong_secret(new):
    wrong_secret = ask_with_secret(new, client_secret="x" * 43)
    unknown = ask_with_secret(new, client_id="cli_nobody")
    assert code_of(wrong_secret) == (401, "INVALID_CLIENT")
    bodies = [answer.json()["error"] for answer in (wrong_secret, unknown)]
    assert bodies[0] | {"request_id": ""} == bodies[1] | {"request_id": ""}
    assert wrong_secret["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("key", ["ns_", "ns_x", "ns__", "cli_a_b", "ns_nobody_secret"])
def test_a_malformed_api_key_belongs_to_nobody(new, key):
    assert code_of(ask(api_key=key)) == (401, "INVALID_CLIENT")


def test_a_client_that_is_switched_off_gets_nothing(new):
    token = ask_with_secret(new).json()["access_token"]
    Client.objects.update(is_active=False)
    assert code_of(ask_with_secret(new)) == (401, "INVALID_CLIENT")
    assert code_of(get_devices(token)) == (401, "INVALID_TOKEN")


@pytest.mark.parametrize(
    ("asked", "blamed"),
    [
        ({}, "grant_type"),
        ({"grant_type": "password"}, "grant_type"),
        ({"grant_type": "client_credentials"}, "client_id"),
        ({"grant_type": "client_credentials", "client_id": "a"}, "client_secret"),
        ({"grant_type": "client_credentials", "client_id": {"a": 1}}, "client_id"),
        ({"grant_type": "client_credentials", "client_id": ""}, "client_id"),
        ({"grant_type": "refresh_token"}, "refresh_token"),
        ({"api_key": "x" * 5000}, "api_key"),
    ],
)
def test_a_request_without_what_its_grant_needs_is_told_what(asked, blamed):
    answer = ask(**asked)
    assert code_of(answer) == (400, "VALIDATION_ERROR")
    assert blamed in answer.json()["error"]["details"]["fields"]


def test_a_request_that_is_no_object_is_told_so():
    answer = Browser().post(TOKEN, "[1]", content_type="application/json")
    assert code_of(answer) == (400, "VALIDATION_ERROR")


def test_secrets_are_kept_as_keyed_hashes_only(new):
    row = Client.objects.get()
    assert new.client_secret not in json.dumps(row.__dict__, default=str)
    assert len(row.secret_hash) == 64


def test_a_rotated_secret_ends_the_old_one_and_its_tokens(new):
    token = ask_with_secret(new).json()["access_token"]
    secret = services.rotate_secret(client=new.client)
    assert code_of(ask_with_secret(new)) == (401, "INVALID_CLIENT")
    assert code_of(get_devices(token)) == (401, "INVALID_TOKEN")
    fresh = ask_with_secret(new, client_secret=secret).json()["access_token"]
    assert get_devices(fresh).status_code == 200


# --- Refreshing ----------------------------------------------------------------------------------


def test_a_refresh_token_is_good_once(new):
    first = ask_with_secret(new).json()["refresh_token"]
    answer = ask(grant_type="refresh_token", refresh_token=first)
    assert get_devices(answer.json()["access_token"]).status_code == 200
    second = answer.json()["refresh_token"]
    assert ask(grant_type="refresh_token", refresh_token=second).status_code == 200
    again = ask(grant_type="refresh_token", refresh_token=first)
    assert code_of(again) == (401, "INVALID_TOKEN")


def test_a_refresh_token_in_two_hands_ends_all_that_descends_from_its_grant(new):
    """Whoever stole it, the thief or its owner is left with nothing (RFC 9700, 4.14.2)."""
    other = ask_with_secret(new).json()
    first = ask_with_secret(new).json()
    second = ask(grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    third = ask(grant_type="refresh_token", refresh_token=second["refresh_token"]).json()
    ask(grant_type="refresh_token", refresh_token=first["refresh_token"])
    for tokens in (first, second, third):
        assert code_of(get_devices(tokens["access_token"])) == (401, "INVALID_TOKEN")
    again = ask(grant_type="refresh_token", refresh_token=third["refresh_token"])
    assert code_of(again) == (401, "INVALID_TOKEN")
    assert get_devices(other["access_token"]).status_code == 200
    assert AuditEntry.objects.filter(verb="token.reuse").count() == 1


def test_an_access_token_does_not_refresh_and_a_refresh_token_does_not_open(new):
    tokens = ask_with_secret(new).json()
    answer = ask(grant_type="refresh_token", refresh_token=tokens["access_token"])
    assert code_of(answer) == (401, "INVALID_TOKEN")
    assert code_of(get_devices(tokens["refresh_token"])) == (401, "INVALID_TOKEN")


def test_used_refresh_tokens_are_forgotten_when_they_have_expired(new):
    used = ask_with_secret(new).json()["refresh_token"]
    ask(grant_type="refresh_token", refresh_token=used)
    with time_machine.travel(timezone.now() + timedelta(days=8), tick=False):
        fresh = ask_with_secret(new).json()["refresh_token"]
        ask(grant_type="refresh_token", refresh_token=fresh)
        assert code_of(ask(grant_type="refresh_token", refresh_token=used))[0] == 401
    assert RevokedToken.objects.count() == 1


def test_withdrawn_tokens_do_not_refresh(new):
    refresh = ask_with_secret(new).json()["refresh_token"]
    services.revoke_tokens(client=new.client)
    answer = ask(grant_type="refresh_token", refresh_token=refresh)
    assert code_of(answer) == (401, "INVALID_TOKEN")


# --- Being refused -------------------------------------------------------------------------------


def test_nobody_is_asked_for_a_token(db):
    answer = Browser().get(DEVICES)
    assert code_of(answer) == (401, "NOT_AUTHENTICATED")
    assert answer["WWW-Authenticate"] == 'Bearer realm="NeuraScale"'
    assert "/v1/auth/token" in answer.json()["error"]["details"]["suggestion"]


def resigned(token: str, key: Any = "guessed" * 8, algorithm: str = "HS256", **claims: Any) -> str:
    payload = jwt.decode(token, options={"verify_signature": False}) | claims
    return jwt.encode(payload, key, algorithm=algorithm)


def unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def our_key() -> Any:
    return AccessToken().get_token_backend().signing_key


def test_our_own_signature_is_what_the_forgeries_lack(new):
    """Else the next tests would pass for another reason."""
    token = issue_tokens(new.client)["access_token"]
    assert get_devices(resigned(token, our_key())).status_code == 200


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: "",
        lambda token: "not.a.token",
        lambda token: "a b",
        lambda token: token + "x",
        lambda token: token[:-10],
        unsigned,
        resigned,
        lambda token: resigned(token, settings.SECRET_KEY),
        lambda token: resigned(token, our_key() * 2, "HS512"),
        lambda token: resigned(token, our_key(), aud="another-service"),
        lambda token: resigned(token, our_key(), iss="another-service"),
        lambda token: resigned(token, our_key(), sub="cli_nobody"),
        lambda token: resigned(token, our_key(), exp=1),
        lambda token: resigned(token, our_key(), token_type="refresh"),
        lambda token: resigned(token, our_key(), iat=4102444800),
    ],
)
def test_a_forged_token_is_refused(new, forge):
    token = issue_tokens(new.client)["access_token"]
    answer = get_devices(forge(token))
    assert code_of(answer) == (401, "INVALID_TOKEN")
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]


def test_a_token_expires_after_half_an_hour(new):
    token = issue_tokens(new.client)["access_token"]
    now = timezone.now()
    with time_machine.travel(now + timedelta(minutes=29, seconds=50)):
        assert get_devices(token).status_code == 200
    with time_machine.travel(now + timedelta(minutes=30, seconds=10)):
        assert "expired" in get_devices(token).json()["error"]["message"]


def test_withdrawing_ends_every_token_there_is_and_none_that_comes(new):
    before = issue_tokens(new.client)["access_token"]
    services.revoke_tokens(client=new.client)
    after = issue_tokens(new.client)["access_token"]
    assert code_of(get_devices(before)) == (401, "INVALID_TOKEN")
    assert get_devices(after).status_code == 200


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_in_the_url_is_refused_even_beside_a_good_header(new, name):
    token = issue_tokens(new.client)["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    answer = Browser().get(f"{DEVICES}?{name}={token}", headers=bearer)
    assert code_of(answer) == (401, "INVALID_TOKEN")
    assert "URL" in answer.json()["error"]["message"]


def test_an_api_key_in_the_place_of_a_token_is_told_where_to_go(new):
    answer = get_devices(new.api_key)
    assert code_of(answer) == (401, "INVALID_TOKEN")
    assert "/v1/auth/token" in answer.json()["error"]["details"]["suggestion"]


def test_another_scheme_is_no_token(new):
    answer = Browser().get(DEVICES, headers={"Authorization": "Basic YTpi"})
    assert code_of(answer) == (401, "NOT_AUTHENTICATED")


def test_a_websocket_gets_the_client_behind_a_token_and_until_when(new):
    tokens = issue_tokens(new.client)
    client = authenticate_token(tokens["access_token"])
    assert client == new.client
    assert client.claims["exp"] > timezone.now().timestamp() + 1700
    with pytest.raises(InvalidTokenError):
        authenticate_token(tokens["refresh_token"])


# --- Scopes --------------------------------------------------------------------------------------


def test_a_missing_scope_is_named(new):
    token = issue_tokens(new.client)["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    answer = Browser().post(DEVICES, {}, content_type="application/json", headers=bearer)
    assert code_of(answer) == (403, "PERMISSION_DENIED")
    details = answer.json()["error"]["details"]
    assert details["missing"] == ["devices:control"]
    assert "devices:read" in details["granted"]


def test_a_scope_that_is_taken_away_is_gone_at_once(new):
    token = issue_tokens(new.client)["access_token"]
    Client.objects.update(scopes=["sessions:read"])
    assert code_of(get_devices(token)) == (403, "PERMISSION_DENIED")


def test_a_scope_that_is_given_later_needs_a_new_token(new):
    token = issue_tokens(new.client)["access_token"]
    Client.objects.update(scopes=["admin"])
    assert scopes_of(authenticate_token(token)) == ROLES["viewer"]


def test_a_token_can_be_asked_for_with_less(new):
    body = ask_with_secret(new, scope="sessions:read").json()
    assert body["scope"] == "sessions:read"
    assert code_of(get_devices(body["access_token"])) == (403, "PERMISSION_DENIED")
    refreshed = ask(grant_type="refresh_token", refresh_token=body["refresh_token"]).json()
    assert refreshed["scope"] == "sessions:read"
    beyond = ask(
        grant_type="refresh_token", refresh_token=refreshed["refresh_token"], scope="devices:read"
    )
    assert code_of(beyond) == (400, "VALIDATION_ERROR")


def test_a_token_cannot_be_asked_for_with_more(new):
    answer = ask_with_secret(new, scope="devices:control")
    assert code_of(answer) == (400, "VALIDATION_ERROR")
    assert "scope" in answer.json()["error"]["details"]["fields"]
    for wrong in ("root", "sessions:read root"):
        told = ask_with_secret(new, scope=wrong).json()["error"]["details"]["fields"]
        assert list(told) == ["scope"]  # as it was sent, and not as `scopes`
        assert "sessions:read" in told["scope"][0]


def test_roles_grow_from_viewer_to_admin():
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["researcher"] < ROLES["admin"]
    assert ROLES["admin"] == EVERYTHING == expand_scopes(["all"])
    assert expand_scopes(["viewer", "ingest:write"]) == ROLES["viewer"] | {Scope.INGEST_WRITE}
    with pytest.raises(InvalidError, match="'root' is neither"):
        expand_scopes(["root"])


def test_the_admin_scope_holds_every_other():
    assert scopes_of(Client(scopes=["admin"])) == EVERYTHING


def test_a_view_that_forgot_its_scope_lets_nobody_in():
    new = create_client(name="boss", scopes=["all"])
    token = issue_tokens(new.client)["access_token"]
    browser = Browser(raise_request_exception=False)
    answer = browser.get("/undeclared", headers={"Authorization": f"Bearer {token}"})
    assert code_of(answer) == (500, "INTERNAL_ERROR")


def test_head_and_options_need_what_get_needs(new):
    bearer = {"Authorization": f"Bearer {issue_tokens(new.client)['access_token']}"}
    assert Browser().head(DEVICES, headers=bearer).status_code == 200
    assert Browser().options(DEVICES, headers=bearer).status_code == 200
    Client.objects.update(scopes=["sessions:read"])
    assert Browser().head(DEVICES, headers=bearer).status_code == 403
    assert Browser().options(DEVICES, headers=bearer).status_code == 403


# --- People --------------------------------------------------------------------------------------


def test_a_person_of_the_portal_reads_with_the_session_alone(admin_client):
    assert admin_client.get(DEVICES).status_code == 200


def test_a_person_changes_nothing_without_the_csrf_token(admin_user):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    answer = browser.post(DEVICES, {}, content_type="application/json")
    assert code_of(answer) == (403, "PERMISSION_DENIED")
    assert "CSRF" in answer.json()["error"]["message"]
    browser.cookies["csrftoken"] = "a" * 32
    answer = browser.post(
        DEVICES, {}, content_type="application/json", headers={"X-CSRFToken": "a" * 32}
    )
    assert code_of(answer) == (400, "VALIDATION_ERROR")


def test_people_have_the_scopes_of_their_groups():
    nobody = User.objects.create_user("nobody")
    staff = User.objects.create_user("staff", is_staff=True)
    boss = User.objects.create_superuser("boss")
    assert scopes_of(None) == scopes_of(nobody) == NOTHING
    assert scopes_of(staff) == ROLES["viewer"]
    staff.groups.add(Group.objects.create(name="operator"), Group.objects.create(name="choir"))
    assert scopes_of(staff) == ROLES["operator"]
    assert scopes_of(boss) == EVERYTHING
    boss.is_active = False
    assert scopes_of(boss) == NOTHING


def test_a_person_without_a_place_in_the_staff_is_forbidden(client):
    client.force_login(User.objects.create_user("visitor"))
    assert code_of(client.get(DEVICES)) == (403, "PERMISSION_DENIED")
