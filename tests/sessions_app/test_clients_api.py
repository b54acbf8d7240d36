"""Clients and members over HTTP: their life cycle, and that nobody gives what it does not have."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client as Browser
from django.utils import timezone

from neurascale.core.auth import ROLES, issue_tokens
from neurascale.core.errors import ForbiddenError
from neurascale.core.models import AuditEntry, Client
from neurascale.core.services import change_client
from sessions_app.models import Study
from sessions_app.services import add_member, create_client
from tests.ingest.rest import Program, error_of, fields_of

pytestmark = pytest.mark.django_db


def token_for(secret: str, client_id: str) -> HttpResponse:
    asked = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return Browser().post("/v1/auth/token", asked, content_type="application/json")


def revoke(token: str, told: dict[str, Any]) -> HttpResponse:
    asked = {"token": token} | {name: told[name] for name in ("client_id", "client_secret")}
    return Browser().post("/v1/auth/revoke", asked, content_type="application/json")


def devices(token: str) -> int:
    bearer = {"Authorization": f"Bearer {token}"}
    return Browser().get("/v1/devices", headers=bearer).status_code


@pytest.fixture
def boss() -> Program:
    return Program("admin")


@pytest.fixture
def made(boss) -> dict[str, Any]:
    answer = boss.post("clients", {"name": "trial", "scopes": ["operator"]})
    assert answer.status_code == 201
    return answer.json()


# --- Life cycle ----------------------------------------------------------------------------------


def test_a_client_is_made_with_a_secret_that_works_and_is_shown_once(boss, made):
    assert token_for(made["client_secret"], made["client_id"]).status_code == 200
    by_key = {"api_key": made["api_key"]}
    answer = Browser().post("/v1/auth/token", by_key, content_type="application/json")
    assert answer.status_code == 200
    read = boss.get(f"clients/{made['client_id']}").json()
    assert {"client_secret", "api_key"}.isdisjoint(read)
    assert read == {k: made[k] for k in read} | {"last_used_at": read["last_used_at"]}
    assert sorted(read["scopes"]) == sorted(ROLES["operator"])
    assert made["client_secret"].encode() not in boss.get("clients").content


def test_the_answer_with_a_secret_is_kept_by_no_cache(boss, made):
    answer = boss.post(f"clients/{made['client_id']}/rotate")
    assert answer["Cache-Control"] == "no-store"


def test_who_makes_a_client_sees_its_study(boss, made):
    (study,) = made["studies"]
    assert boss.get(f"studies/{study}").status_code == 200


def test_a_client_can_be_made_in_a_study_one_sees_and_in_no_other(boss):
    study = boss.study.public_id
    asked = {"name": "trial", "scopes": ["viewer"], "study_id": study}
    assert boss.post("clients", asked).json()["studies"] == [study]
    foreign = Study.objects.create(name="foreign").public_id
    error_of(boss.post("clients", asked | {"study_id": foreign}), 404, "INVALID_STUDY_ID")


def test_a_rotated_secret_ends_the_old_one_and_its_tokens(boss, made):
    token = token_for(made["client_secret"], made["client_id"]).json()["access_token"]
    rotated = boss.post(f"clients/{made['client_id']}/rotate").json()
    assert devices(token) == 401
    assert token_for(made["client_secret"], made["client_id"]).status_code == 401
    assert token_for(rotated["client_secret"], made["client_id"]).status_code == 200


def test_revoking_ends_the_tokens_and_not_the_secret(boss, made):
    token = token_for(made["client_secret"], made["client_id"]).json()["access_token"]
    assert boss.post(f"clients/{made['client_id']}/revoke").status_code == 200
    assert devices(token) == 401
    assert token_for(made["client_secret"], made["client_id"]).status_code == 200


def test_clients_are_listed_by_whether_they_are_switched_on(boss, made):
    boss.patch(f"clients/{made['client_id']}", {"is_active": False})
    for asked, is_there in (("false", True), ("0", True), ("true", False), ("True", False)):
        listed = boss.get(f"clients?is_active={asked}&name={made['name']}").json()["clients"]
        assert [client["client_id"] for client in listed] == [made["client_id"]] * is_there
    assert "is_active" in fields_of(boss.get("clients?is_active=maybe"))


@pytest.mark.parametrize("moment", ["2030-01-01", "2030-01-01T00:00:00"])
def test_a_moment_without_a_zone_is_refused(boss, moment):
    asked = {"name": "n", "scopes": ["viewer"], "expires_at": moment}
    assert "zone" in fields_of(boss.post("clients", asked))["expires_at"][0]


def test_a_client_can_be_changed_switched_off_and_deleted(boss, made):
    path = f"clients/{made['client_id']}"
    told = boss.patch(path, {"name": "new", "scopes": ["viewer"], "is_active": False}).json()
    assert (told["name"], told["is_active"]) == ("new", False)
    assert sorted(told["scopes"]) == sorted(ROLES["viewer"])
    assert token_for(made["client_secret"], made["client_id"]).status_code == 401
    assert boss.delete(path).status_code == 204
    error_of(boss.get(path), 404, "INVALID_CLIENT_ID")


@pytest.mark.parametrize(
    "change",
    [{"scopes": ["root"]}, {"secret_hash": "0"}, {"client_id": "cli_1"}, {"expires_at": "soon"}],
)
def test_what_cannot_be_said_of_a_client_is_refused_by_name(boss, made, change):
    error = error_of(boss.patch(f"clients/{made['client_id']}", change), 400, "VALIDATION_ERROR")
    assert set(error["details"]["fields"]) == set(change)


def test_an_expired_client_gets_no_token_and_its_tokens_hold_no_more(boss):
    end = timezone.now() + timedelta(minutes=10)
    asked = {"name": "guest", "scopes": ["viewer"], "expires_at": end.isoformat()}
    made = boss.post("clients", asked).json()
    token = token_for(made["client_secret"], made["client_id"]).json()["access_token"]
    assert devices(token) == 200
    with time_machine.travel(end + timedelta(seconds=1), tick=False):
        assert devices(token) == 401
        assert token_for(made["client_secret"], made["client_id"]).status_code == 401


# --- Withdrawing one token -----------------------------------------------------------------------


def test_an_access_token_is_withdrawn_by_its_owner(made):
    tokens = token_for(made["client_secret"], made["client_id"]).json()
    others = token_for(made["client_secret"], made["client_id"]).json()
    assert revoke(tokens["access_token"], made).status_code == 200
    assert devices(tokens["access_token"]) == 401
    assert devices(others["access_token"]) == 200
    assert revoke(tokens["access_token"], made).status_code == 200  # twice does no harm


def test_with_a_refresh_token_goes_its_access_token(made):
    tokens = token_for(made["client_secret"], made["client_id"]).json()
    assert revoke(tokens["refresh_token"], made).status_code == 200
    assert devices(tokens["access_token"]) == 401
    asked = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = Browser().post("/v1/auth/token", asked, content_type="application/json")
    error_of(answer, 401, "INVALID_TOKEN")


def test_nobody_withdraws_the_token_of_another_and_cannot_tell_that_it_is_one(boss, made):
    theirs = issue_tokens(boss.client)["access_token"]
    answers = [revoke(theirs, made), revoke("not.a.token", made)]
    assert [(a.status_code, a.content) for a in answers] == [(200, b"{}")] * 2
    assert devices(theirs) == 200
    error_of(revoke(theirs, made | {"client_secret": "wrong"}), 401, "INVALID_CLIENT")


# --- Who administers whom ------------------------------------------------------------------------


@pytest.fixture
def theirs() -> Client:
    return create_client(name="theirs", scopes=["viewer"]).client


def test_a_client_of_another_study_is_answered_exactly_as_an_unknown_one(boss, theirs):
    for method, path in [
        ("get", "clients/{}"),
        ("patch", "clients/{}"),
        ("delete", "clients/{}"),
        ("post", "clients/{}/rotate"),
        ("post", "clients/{}/revoke"),
    ]:
        body = () if method in {"get", "delete"} else ({},)
        for client_id in (theirs.public_id, "cli_nothing"):
            answer = getattr(boss, method)(path.format(client_id), *body)
            error_of(answer, 404, "INVALID_CLIENT_ID")
    assert theirs.public_id.encode() not in boss.get("clients").content


def test_who_shares_only_some_of_a_clients_studies_does_not_administer_it(boss, theirs):
    """Its secret opens the others."""
    add_member(study=boss.study, client=theirs)
    error_of(boss.post(f"clients/{theirs.public_id}/rotate"), 404, "INVALID_CLIENT_ID")
    members = boss.get(f"studies/{boss.study.public_id}/members").json()["members"]
    assert {"client_id": theirs.public_id, "name": "theirs"} in members


def test_staff_of_the_portal_administer_all(admin_client, theirs, boss):
    listed = admin_client.get("/v1/clients").json()["clients"]
    assert {theirs.public_id, boss.client.public_id} <= {c["client_id"] for c in listed}


def test_administering_needs_the_scope(theirs):
    program = Program("researcher")
    for answer in (program.get("clients"), program.post("clients", {}), program.get("audit")):
        assert error_of(answer, 403, "PERMISSION_DENIED")["details"]["missing"] == ["admin"]


def test_nobody_gives_a_scope_that_it_does_not_have(theirs):
    giver = create_client(name="giver", scopes=["viewer"]).client
    with pytest.raises(ForbiddenError) as refused:
        create_client(name="more", scopes=["viewer", "models:write"], principal=giver)
    assert refused.value.details["missing"] == ["models:write"]
    with pytest.raises(ForbiddenError):
        change_client(client=theirs, principal=giver, scopes=["admin"])
    assert not Client.objects.filter(name="more").exists()


def test_what_a_client_has_already_may_stay(theirs):
    giver = create_client(name="giver", scopes=["devices:read"]).client
    change_client(client=theirs, principal=giver, scopes=theirs.scopes)


def test_who_expires_gives_no_access_for_longer(boss):
    boss.client.expires_at = timezone.now() + timedelta(days=1)
    boss.client.save()
    asked = {"name": "heir", "scopes": ["viewer"]}
    later = (timezone.now() + timedelta(days=2)).isoformat()
    error_of(boss.post("clients", asked | {"expires_at": later}), 403, "PERMISSION_DENIED")
    heir = boss.post("clients", asked).json()
    assert heir["expires_at"] is not None
    for path in (f"clients/{heir['client_id']}", f"clients/{boss.client.public_id}"):
        error_of(boss.patch(path, {"expires_at": None}), 403, "PERMISSION_DENIED")


# --- Studies -------------------------------------------------------------------------------------


def test_a_study_is_founded_changed_and_shared(boss, made):
    study = boss.post("studies", {"name": "sleep", "keeps_subject_codes": True}).json()
    path = f"studies/{study['study_id']}"
    assert boss.patch(path, {"name": "naps"}).json()["name"] == "naps"
    assert boss.post(f"{path}/members", {"client_id": made["client_id"]}).status_code == 201
    token = token_for(made["client_secret"], made["client_id"]).json()["access_token"]
    member = Browser(headers={"Authorization": f"Bearer {token}"})
    assert member.get(f"/v1/{path}").status_code == 200
    assert boss.delete(f"{path}/members/{made['client_id']}").status_code == 204
    assert member.get(f"/v1/{path}").status_code == 404
    error_of(boss.delete(f"{path}/members/{made['client_id']}"), 404, "INVALID_CLIENT_ID")


def test_a_member_leaves_only_if_it_is_as_the_caller_believes(boss):
    path = f"/v1/studies/{boss.study.public_id}/members/{boss.client.public_id}"
    stale = boss.http.delete(path, headers={"If-Match": '"as it was"'})
    now = error_of(stale, 412, "PRECONDITION_FAILED")["details"]["etag"]
    assert boss.http.delete(path, headers={"If-Match": now}).status_code == 204


def test_a_client_of_another_study_cannot_be_let_in(boss, theirs):
    path = f"studies/{boss.study.public_id}/members"
    for client_id in (theirs.public_id, "cli_nothing"):
        error_of(boss.post(path, {"client_id": client_id}), 404, "INVALID_CLIENT_ID")


def test_who_expires_gets_no_hold_on_a_client_that_does_not(boss):
    made = boss.post("clients", {"name": "heir", "scopes": ["viewer"]}).json()
    path = f"clients/{made['client_id']}"
    boss.client.expires_at = timezone.now() + timedelta(days=1)
    boss.client.save()
    soon = {"expires_at": (timezone.now() + timedelta(hours=1)).isoformat()}
    error_of(boss.post(f"{path}/rotate"), 403, "PERMISSION_DENIED")
    error_of(boss.patch(path, {"scopes": ["operator"]}), 403, "PERMISSION_DENIED")
    assert token_for(made["client_secret"], made["client_id"]).status_code == 200
    assert boss.patch(path, {"name": "renamed"}).status_code == 200
    assert boss.patch(path, {"scopes": ["devices:read"]}).status_code == 200  # less than it had
    assert boss.patch(path, {"is_active": False}).status_code == 200
    error_of(boss.patch(path, {"is_active": True}), 403, "PERMISSION_DENIED")
    assert boss.patch(path, {"is_active": True, "scopes": ["operator"], **soon}).status_code == 200
    assert boss.post(f"{path}/rotate").status_code == 200
    assert boss.post(f"clients/{boss.client.public_id}/rotate").status_code == 200  # itself


# --- The audit log -------------------------------------------------------------------------------


def test_the_log_is_read_by_who_administers_and_only_of_its_own_studies(boss, made, theirs):
    other = Program("admin")
    foreign = other.study.public_id
    other.post("clients", {"name": "foreign", "scopes": ["viewer"]})
    told = boss.get("audit").json()
    assert told["pagination"]["total"] == len(told["entries"])
    assert "client.create" in {entry["verb"] for entry in told["entries"]}
    assert other.client.public_id not in str(told)
    assert theirs.public_id not in str(told)
    newest = told["entries"][0]
    assert newest["actor"]["id"] == boss.client.public_id
    assert boss.get("audit", verb="nothing").json()["entries"] == []
    assert boss.get("audit", study_id=foreign).json()["entries"] == []
    # Nor what it did itself, where that has to do with another study.
    theirs = boss.client.studies.create(name="theirs")
    boss.patch(f"studies/{theirs.public_id}", {"name": "renamed"})
    assert boss.get("audit", study_id=theirs.public_id).json()["entries"] != []
    theirs.members.remove(boss.client)
    assert boss.get("audit", study_id=theirs.public_id).json()["entries"] == []


def test_staff_of_the_portal_read_all_of_it(admin_client, boss, made):
    told = admin_client.get("/v1/audit").json()
    assert told["pagination"]["total"] == AuditEntry.objects.count()
    page = admin_client.get("/admin/core/auditentry/")
    assert b"client.create" in page.content
    entry = AuditEntry.objects.first()
    assert admin_client.get(f"/admin/core/auditentry/{entry.pk}/change/").status_code == 200
    for path in ("add/", f"{entry.pk}/delete/"):
        assert (
            admin_client.post(f"/admin/core/auditentry/{path}", {"post": "yes"}).status_code == 403
        )


# --- In the portal, and by command ---------------------------------------------------------------


def act(browser: Browser, action: str, client: Client) -> HttpResponse:
    asked = {"action": action, "_selected_action": client.pk}
    return browser.post("/admin/core/client/", asked)


def test_the_portal_shows_a_new_secret_once(admin_client, theirs):
    before = theirs.secret_hash
    answer = act(admin_client, "rotate", theirs)
    assert "no-store" in answer["Cache-Control"]
    theirs.refresh_from_db()
    assert theirs.secret_hash != before
    secret = answer.context["shown"][0]["client_secret"]
    assert secret.encode() in answer.content
    assert token_for(secret, theirs.public_id).status_code == 200
    again = admin_client.get("/admin/core/client/")
    assert secret.encode() not in again.content


def test_the_portal_withdraws_tokens(admin_client, theirs):
    token = issue_tokens(theirs)["access_token"]
    assert act(admin_client, "revoke", theirs).status_code == 302
    assert devices(token) == 401


def test_staff_that_may_not_do_everything_touch_no_client(theirs):
    browser = Browser()
    browser.force_login(User.objects.create_user("staff", is_staff=True))
    assert act(browser, "rotate", theirs).status_code == 403
    assert browser.post(f"/admin/core/client/{theirs.pk}/change/", {}).status_code == 403


def test_commands_rotate_and_revoke(theirs, capsys):
    token = issue_tokens(theirs)["access_token"]
    call_command("rotate_client", theirs.public_id)
    secret = capsys.readouterr().out.split("client_secret")[1].split()[0]
    assert devices(token) == 401
    token = token_for(secret, theirs.public_id).json()["access_token"]
    call_command("revoke_client", theirs.public_id, "--deactivate")
    assert devices(token) == 401
    assert token_for(secret, theirs.public_id).status_code == 401
    for command in ("rotate_client", "revoke_client"):
        with pytest.raises(CommandError, match="no client cli_x"):
            call_command(command, "cli_x")


def test_a_client_made_by_command_can_have_an_end(capsys):
    call_command("create_client", "--name", "guest", "--expires-in-days", "2")
    left = Client.objects.get().expires_at - timezone.now()
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
