"""Sessions of the portal: what is in the database opens no door."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connections
from django.test import Client as Browser
from django.utils import timezone

from neurascale.core.portal_sessions import SessionStore

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough one"
COOKIE = settings.SESSION_COOKIE_NAME


@pytest.fixture
def browser() -> Browser:
    User.objects.create_superuser("ada", password=PASSWORD)
    browser = Browser()
    browser.post("/admin/login/", {"username": "ada", "password": PASSWORD})
    return browser


def status(browser: Browser) -> int:
    return browser.get("/admin/").status_code


def test_what_is_in_the_database_is_no_cookie(browser):
    assert status(browser) == 200
    (row,) = Session.objects.all()
    assert browser.cookies[COOKIE].value not in row.session_key
    thief = Browser()
    thief.cookies[COOKIE] = row.session_key
    assert status(thief) == 302
    assert thief.get("/v1/clients").status_code == 401


def test_a_session_is_over_when_somebody_leaves(browser):
    left = Browser()
    left.cookies[COOKIE] = browser.cookies[COOKIE].value
    assert status(left) == 200
    browser.post("/admin/logout/")
    assert status(left) == 302
    assert not Session.objects.exists()


def test_a_new_key_has_what_the_old_one_had_and_that_is_gone(browser):
    store = SessionStore(browser.cookies[COOKIE].value)
    before = store.session_key
    store.cycle_key()
    assert not SessionStore().exists(before)
    assert SessionStore().exists(store.session_key)
    again = SessionStore(store.session_key)
    assert again["_auth_user_id"] == str(User.objects.get().pk)
    assert Session.objects.count() == 1


def test_a_session_that_expired_is_none(browser):
    Session.objects.update(expire_date=timezone.now())
    assert status(browser) == 302
    call_command("clearsessions")
    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
async def test_it_is_the_same_in_an_event_loop():
    store = SessionStore()
    await store.aset("a", 1)
    await store.asave()
    key = store.session_key
    assert await SessionStore().aexists(key)
    assert await SessionStore(key).aget("a") == 1
    assert await SessionStore("unknown").aget("a") is None
    await store.adelete()
    assert not await SessionStore().aexists(key)
    await sync_to_async(connections.close_all)()  # of the thread in which the loop asks
