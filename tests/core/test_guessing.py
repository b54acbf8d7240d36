"""Guessing is slow, for all processes together, and locks nobody out."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.utils import timezone

from neurascale.core import guessing
from neurascale.core.actor import address_of
from neurascale.core.guessing import Guard, TooManyAttemptsError, network_of
from neurascale.core.models import AuditEntry
from sessions_app.services import create_client

TOKEN = "/v1/auth/token"
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def guard() -> Guard:
    return Guard(settings.REDIS_URL, prefix=f"test-{uuid.uuid4().hex}")


def fail(guard: Guard, name: str, address: str, times: int) -> None:
    for _ in range(times):
        guard.check(name, address)
        guard.failed(name, address)


def wait_of(guard: Guard, name: str, address: str) -> int:
    with pytest.raises(TooManyAttemptsError) as refused:
        guard.check(name, address)
    assert refused.value.code == "RATE_LIMIT_EXCEEDED"
    return refused.value.details["retry_after"]


def test_five_failures_and_the_next_attempt_waits_a_minute(guard):
    fail(guard, "a", HOME, 5)
    assert 55 <= wait_of(guard, "a", HOME) <= 61
    guard.check("b", HOME)
    guard.check("a", ELSEWHERE)


def test_the_wait_ends_and_grows_for_who_goes_on(guard):
    now = timezone.now()
    for minute in range(4):
        with time_machine.travel(now + timedelta(minutes=2 * minute), tick=False):
            fail(guard, "a", HOME, 5)
            wait_of(guard, "a", HOME)
    with time_machine.travel(now + timedelta(minutes=8), tick=False):
        assert wait_of(guard, "a", HOME) > 3000
    with time_machine.travel(now + timedelta(minutes=61), tick=False):
        guard.check("a", HOME)


def test_many_names_from_one_address_are_slowed_down_too(guard):
    for number in range(30):
        fail(guard, f"name {number}", HOME, 1)
    assert wait_of(guard, "another", HOME)
    guard.check("another", ELSEWHERE)


def test_one_name_from_many_addresses_is_slowed_down_but_its_owner_is_not(guard):
    guard.succeeded("a", HOME)
    for number in range(60):
        fail(guard, "a", f"198.51.100.{number}", 1)
    assert wait_of(guard, "a", "198.51.100.3")
    guard.check("a", HOME)  # it is known there
    guard.check("a", "203.0.113.5")  # who never failed may try


def test_a_known_address_is_no_place_to_guess_from_either(guard):
    guard.succeeded("a", HOME)
    fail(guard, "a", HOME, 5)
    assert wait_of(guard, "a", HOME)


def test_however_many_come_at_once_no_more_than_the_limit_learn_they_were_wrong():
    """Two guards stand for two processes: what they share is on Valkey."""
    prefix = f"test-{uuid.uuid4().hex}"
    both = [Guard(settings.REDIS_URL, prefix=prefix) for _ in range(2)]

    def attempt(number: int) -> str:
        try:
            both[number % 2].check("a", HOME)
            both[number % 2].failed("a", HOME)
        except TooManyAttemptsError:
            return "wait"
        return "wrong"

    with ThreadPoolExecutor(32) as pool:
        told = Counter(pool.map(attempt, range(64)))
    assert told == {"wrong": 5, "wait": 59}


def test_without_valkey_each_process_counts_for_itself_and_says_so(tmp_path, caplog):
    guard = Guard(f"unix://{tmp_path / 'nobody'}")
    with caplog.at_level(logging.WARNING, logger=guessing.__name__):
        fail(guard, "a", HOME, 5)
        assert wait_of(guard, "a", HOME)
        guard.succeeded("b", HOME)
    assert [r.message for r in caplog.records if "Valkey is away" in r.message]
    assert len(caplog.records) == 1  # and not at every attempt


def test_an_ipv6_customer_is_one_address():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("") == ""


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.9", HOME),
        (0, "", HOME),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "forged, 203.0.113.9", "203.0.113.9"),
        (1, "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (2, "1.1.1.1, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", HOME),
        (1, "not an address", HOME),
        (1, "", HOME),
    ],
)
def test_a_forwarded_address_counts_only_as_far_as_our_own_proxies_wrote_it(
    settings, proxies, forwarded, address
):
    settings.TRUSTED_PROXIES = proxies
    assert address_of(HOME, forwarded) == address


# --- At the two doors ----------------------------------------------------------------------------


def ask(new, secret, *, address=HOME, **headers):
    asked = {"grant_type": "client_credentials", "client_id": new.client_id}
    return Browser(REMOTE_ADDR=address).post(
        TOKEN, {**asked, "client_secret": secret}, content_type="application/json", headers=headers
    )


def fresh_address() -> str:
    """Return an address that no other test was refused at."""
    return f"10.{uuid.uuid4().int % 2**24 >> 16}.{uuid.uuid4().int % 256}.{uuid.uuid4().int % 256}"


@pytest.mark.django_db
def test_after_a_few_wrong_secrets_the_right_one_has_to_wait_and_then_works():
    new, home = create_client(name="trial", scopes=["viewer"]), fresh_address()
    for _ in range(3):
        assert ask(new, "wrong", address=home).status_code == 401
    assert ask(new, new.client_secret, address=home).status_code == 200
    for _ in range(2):
        assert ask(new, "wrong", address=home).status_code == 401
    refused = ask(new, new.client_secret, address=home)
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED"
    assert error["details"]["suggestion"]
    assert int(refused["Retry-After"]) == error["details"]["retry_after"]
    assert ask(new, new.client_secret, address=fresh_address()).status_code == 200
    # Who writes a header does not come from another address by that.
    assert ask(new, new.client_secret, address=home, X_Forwarded_For=ELSEWHERE).status_code == 429
    with time_machine.travel(timezone.now() + timedelta(seconds=62)):
        assert ask(new, new.client_secret, address=home).status_code == 200


@pytest.mark.django_db
def test_an_unknown_client_is_slowed_down_like_a_known_one():
    new, home = create_client(name="trial", scopes=["viewer"]), fresh_address()
    unknown = create_client(name="gone", scopes=["viewer"])
    unknown.client.delete()
    answers = [
        [ask(who, "wrong", address=home).status_code for _ in range(6)] for who in (new, unknown)
    ]
    assert answers[0] == answers[1] == [401] * 5 + [429]


@pytest.mark.django_db
def test_the_portals_login_is_slowed_down():
    User.objects.create_superuser("ada", password="difference engine")
    browser = Browser(REMOTE_ADDR=fresh_address())

    def log_in(password):
        return browser.post("/admin/login/", {"username": "ada", "password": password})

    for _ in range(5):
        assert b"Too many attempts" not in log_in("wrong").content
    assert b"Too many attempts" in log_in("difference engine").content
    with time_machine.travel(timezone.now() + timedelta(seconds=62)):
        assert log_in("difference engine").status_code == 302


def test_wrong_secrets_are_counted_over_a_real_server(asgi_server):
    new = create_client(name="trial", scopes=["viewer"])
    asked = {"grant_type": "client_credentials", "client_id": new.client_id}

    def attempt(_: int) -> int:
        body = {**asked, "client_secret": "wrong"}
        return httpx.post(asgi_server.url + TOKEN, json=body, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        told = Counter(pool.map(attempt, range(16)))
    assert told == {401: 5, 429: 11}


@pytest.mark.django_db
def test_the_old_password_is_not_guessed_when_one_is_changed():
    user = User.objects.create_user("ada", password="right", is_staff=True)
    browser = Browser(REMOTE_ADDR=fresh_address())
    browser.force_login(user)
    new = {"new_password1": "analytical engine", "new_password2": "analytical engine"}

    def change(old):
        return browser.post("/admin/password_change/", {"old_password": old, **new}, follow=True)

    for _ in range(5):
        assert "incorrectly" in change("wrong").content.decode()
    for old in ("wrong", "right"):
        assert "Too many attempts" in change(old).content.decode()
    user.refresh_from_db()
    assert user.check_password("right")
    assert not AuditEntry.objects.filter(verb="user.change").exists()
