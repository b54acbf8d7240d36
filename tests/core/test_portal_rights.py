"""What people of the portal may not do, and not find out, whatever they put into a request."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client as Browser
from django.urls import reverse

from neurascale.core.admin import LAST
from neurascale.core.models import AuditEntry
from sessions_app.services import create_client

pytestmark = pytest.mark.django_db

admin.autodiscover()
ROOMS = list(admin.site._registry)
PASSWORD = "a long enough one"
SECRETS = {"secret_hash", "password", "code_hash", "seal", "previous", "session_data"}


def browser_of(*permissions: str, **fields: bool) -> tuple[User, Browser]:
    """Return a person of the staff who has some permissions, and a browser of theirs."""
    user = User.objects.create_user("ada", password=PASSWORD, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Browser(raise_request_exception=False)
    browser.force_login(user)
    return user, browser


RIGHTS = ("add_user", "change_user", "delete_user", "view_user", "change_group", "add_group")


def test_only_superusers_say_what_people_may():
    user, browser = browser_of(*RIGHTS)
    boss = User.objects.create_superuser("boss", password=PASSWORD)
    role = Group.objects.create(name="admin")
    forged = {"username": "ada", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    passwords = {"password1": "quite another", "password2": "quite another"}
    for path, form in {
        f"user/{user.pk}/change/": forged | {"groups": [role.pk]},
        f"user/{boss.pk}/change/": {"username": "boss"},
        f"user/{boss.pk}/password/": passwords | {"usable_password": "true"},
        f"user/{boss.pk}/delete/": {"post": "yes"},
        "user/add/": {"username": "eve", **passwords},
        "group/add/": {"name": "researcher"},
        f"group/{role.pk}/change/": {"name": "admin", "permissions": []},
    }.items():
        assert browser.post(f"/admin/auth/{path}", form).status_code == 403, path
    selected = {"action": "delete_selected", "_selected_action": boss.pk, "post": "yes"}
    browser.post("/admin/auth/user/", selected)
    user.refresh_from_db()
    boss.refresh_from_db()
    assert (user.is_superuser, user.groups.count()) == (False, 0)
    assert boss.check_password(PASSWORD)
    assert set(Group.objects.all()) == {role}
    assert {person.username for person in User.objects.all()} == {"ada", "boss"}
    assert browser.get("/admin/auth/user/").status_code == 200  # to look at
    assert not AuditEntry.objects.filter(verb__startswith="user.", actor_id="ada").exclude(
        verb="user.login"
    )


def test_a_superuser_does():
    _, browser = browser_of(is_superuser=True)
    other = User.objects.create_user("grace")
    form = browser.get(f"/admin/auth/user/{other.pk}/change/").context["adminform"].form
    given = {name: value for name, value in form.initial.items() if value}
    data = {**given, "is_staff": "on", "date_joined_0": "2025-07-26", "date_joined_1": "10:30:00"}
    assert browser.post(f"/admin/auth/user/{other.pk}/change/", data).status_code == 302
    other.refresh_from_db()
    assert other.is_staff


def change(browser: Browser, user: User, **fields: str) -> str:
    """Save a person's form with some ticks only, and return the page that answers."""
    form = browser.get(f"/admin/auth/user/{user.pk}/change/").context["adminform"].form
    ticks = {"is_staff", "is_active", "is_superuser", "groups", "user_permissions"}
    given = {n: value for n, value in form.initial.items() if value and n not in ticks}
    moment = {"date_joined_0": "2025-07-26", "date_joined_1": "10:30:00"}
    answer = browser.post(
        f"/admin/auth/user/{user.pk}/change/", given | moment | fields, follow=True
    )
    return answer.content.decode()


@pytest.mark.parametrize("ticks", [("is_staff", "is_active"), ("is_staff", "is_superuser")])
def test_the_last_superuser_stays_one(ticks):
    user, browser = browser_of(is_superuser=True)
    User.objects.create_superuser("retired", is_active=False)
    assert LAST in change(browser, user, **dict.fromkeys(ticks, "on"))
    user.refresh_from_db()
    assert (user.is_active, user.is_superuser) == (True, True)
    User.objects.create_superuser("heir")
    assert LAST not in change(browser, user, **dict.fromkeys(ticks, "on"))
    user.refresh_from_db()
    assert not (user.is_active and user.is_superuser)


def test_the_last_superusers_are_not_deleted():
    user, browser = browser_of(is_superuser=True)
    heir = User.objects.create_superuser("heir")
    action = {"action": "delete_selected", "post": "yes"}
    browser.post("/admin/auth/user/", {**action, "_selected_action": [user.pk, heir.pk]})
    assert User.objects.count() == 2
    browser.post("/admin/auth/user/", {**action, "_selected_action": [heir.pk]})
    answer = browser.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
    assert LAST in answer.content.decode()
    assert set(User.objects.all()) == {user}


@pytest.mark.parametrize("model", ROOMS, ids=lambda model: model.__name__)
def test_no_list_tells_by_a_filter_what_it_does_not_show(model):
    create_client(name="program", scopes=["viewer"])
    _, browser = browser_of(is_superuser=True)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    hidden = SECRETS & {field.name for field in model._meta.get_fields()}
    for name in hidden:
        for lookup in (name, f"{name}__startswith", f"{name}__gt"):
            answer = browser.get(url, {lookup: "a"})
            assert answer.status_code in {302, 400}, lookup
    assert browser.get(url, {"pk": "1"}).status_code == 200


def test_who_logs_in_comes_to_the_portal_whatever_next_says():
    User.objects.create_user("ada", password=PASSWORD, is_staff=True)
    for query in ("", "?next=https://evil.example/"):
        answer = Browser().post(f"/admin/login/{query}", {"username": "ada", "password": PASSWORD})
        assert answer["Location"] == "/admin/"
