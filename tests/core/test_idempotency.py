"""Idempotency-Key: done once, answered alike, whoever asks at once and whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from django.conf import settings as lab
from django.db import connection
from django.test import Client
from django.utils import timezone

from devices.models import Device
from neurascale.core import idempotency, models
from neurascale.core.errors import HardwareError, TooManyError
from neurascale.core.idempotency import Idempotency
from neurascale.core.models import KeptAnswer
from neurascale.core.tasks import prune_answers
from tests.core.test_representation import at_once
from tests.core.urls import Slow
from tests.ingest.factories import make_device
from tests.ingest.rest import Program, error_of, fields_of
from tests.machine import ROOT
from tests.routes import paths
from tests.waiting import wait_until
from tests.web import database_url

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.core.urls")]

CYTON = {"name": "Cyton", "type": "openbci", "port": "/dev/ttyUSB0"}
# Whoever adds a POST says here how its answers are kept: TOGETHER wherever it is quick.
KINDS = {
    "v1/auth/revoke": Idempotency.NONE,
    "v1/auth/token": Idempotency.NONE,
    "v1/clients": Idempotency.TOGETHER,
    "v1/clients/<str:client_id>/revoke": Idempotency.TOGETHER,
    "v1/clients/<str:client_id>/rotate": Idempotency.TOGETHER,
    "v1/devices": Idempotency.TOGETHER,
    "v1/devices/<str:device_id>/connect": Idempotency.LEASED,
    "v1/devices/<str:device_id>/disconnect": Idempotency.LEASED,
    "v1/devices/<str:device_id>/stream/start": Idempotency.LEASED,
    "v1/devices/<str:device_id>/stream/stop": Idempotency.LEASED,
    "v1/ingest/neural-data": Idempotency.OWN,
    "v1/sessions": Idempotency.TOGETHER,
    "v1/sessions/<str:session_id>/events": Idempotency.TOGETHER,
    "v1/sessions/<str:session_id>/pause": Idempotency.LEASED,
    "v1/sessions/<str:session_id>/resume": Idempotency.LEASED,
    "v1/sessions/<str:session_id>/start": Idempotency.LEASED,
    "v1/sessions/<str:session_id>/stop": Idempotency.LEASED,
    "v1/studies": Idempotency.TOGETHER,
    "v1/studies/<str:study_id>/members": Idempotency.TOGETHER,
    "v1/subjects/<str:subject_id>/withdraw": Idempotency.LEASED,
}


@pytest.fixture
def program() -> Program:
    return Program("operator")


@pytest.fixture
def slow(monkeypatch):
    """What the slow view does, for a test to say, and how to ask for it."""
    calls: list[int] = []

    def ask(act: Any = dict, *, key: str = "k", body: bytes = b"{}") -> Any:
        def count() -> Any:
            calls.append(1)
            return act()

        monkeypatch.setattr(Slow, "act", staticmethod(count))
        return Client(raise_request_exception=False).post(
            "/slow", body, content_type="application/json", headers={"Idempotency-Key": key}
        )

    ask.calls = calls
    return ask


def raising(error: Exception) -> Any:
    def act() -> None:
        raise error

    return act


@pytest.mark.urls("neurascale.urls")
def test_every_post_keeps_its_answers_in_the_way_that_suits_it():
    kinds = {str(r): r.instance("POST").kind for r in paths() if "POST" in r.methods}
    assert kinds == KINDS


# --- Answers -------------------------------------------------------------------------------------


def test_the_same_key_and_body_is_done_once_and_answered_alike(program):
    first = program.post("devices", CYTON, Idempotency_Key="a")
    again = program.post("devices", CYTON, Idempotency_Key="a")
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    for name in ("ETag", "Location", "Content-Type"):
        assert again[name] == first[name]
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert Device.objects.count() == 1


def test_without_a_key_nothing_is_kept(program):
    program.post("devices", CYTON)
    error_of(program.post("devices", CYTON), 409, "DEVICE_EXISTS")
    assert not KeptAnswer.objects.exists()


def test_the_same_key_with_another_request_is_refused(program):
    program.post("devices", CYTON, Idempotency_Key="a")
    for path, body in (
        ("devices", CYTON | {"port": "/dev/ttyUSB1"}),
        ("devices?x=1", CYTON),
        ("sessions", CYTON),
    ):
        response = program.post(path, body, Idempotency_Key="a")
        error_of(response, 409, "IDEMPOTENCY_CONFLICT")
    assert Device.objects.count() == 1


def test_a_key_belongs_to_its_client(program):
    assert program.post("devices", CYTON, Idempotency_Key="a").status_code == 201
    other = Program("operator")
    error_of(other.post("devices", CYTON, Idempotency_Key="a"), 409, "DEVICE_EXISTS")


def test_a_refusal_is_kept_too_and_what_was_done_until_then_is_not(program):
    make_device(port=CYTON["port"])
    first = program.post("devices", CYTON, Idempotency_Key="a")
    error_of(first, 409, "DEVICE_EXISTS")
    Device.objects.all().delete()
    again = program.post("devices", CYTON, Idempotency_Key="a")
    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    "error", [HardwareError("silent"), TooManyError("slower", retry_after=1), ZeroDivisionError()]
)
def test_what_may_fare_better_next_time_is_not_kept(slow, error):
    assert slow(raising(error)).status_code in {429, 500, 503}
    assert not KeptAnswer.objects.exists()
    assert slow(lambda: {"done": 1}).json() == {"done": 1}
    assert slow(lambda: {"done": 2}).json() == {"done": 1}
    assert len(slow.calls) == 2


def test_a_bug_in_a_quick_view_leaves_no_claim(program, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(Device, "save", raising(ZeroDivisionError()))
        assert program.post("devices", CYTON, Idempotency_Key="a").status_code == 500
    assert not KeptAnswer.objects.exists()
    assert program.post("devices", CYTON, Idempotency_Key="a").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_has_to_be_one(program, key):
    assert "Idempotency-Key" in fields_of(program.post("devices", CYTON, Idempotency_Key=key))


def test_a_missing_scope_comes_first(program):
    viewer = Program("viewer")
    error_of(viewer.post("devices", CYTON, Idempotency_Key="a"), 403, "PERMISSION_DENIED")
    assert not KeptAnswer.objects.exists()


def test_tokens_are_never_kept(program):
    body = {"grant_type": "client_credentials", "client_id": "cli_x", "client_secret": "y"}
    error_of(program.post("auth/token", body, Idempotency_Key="a"), 401, "INVALID_CLIENT")
    assert not KeptAnswer.objects.exists()


def test_what_shows_a_secret_is_done_once_and_the_secret_kept_nowhere():
    admin = Program("admin")
    asked = {"name": "twin", "scopes": ["devices:read"]}
    made = admin.post("clients", asked, Idempotency_Key="a")
    assert made.status_code == 201
    again = error_of(admin.post("clients", asked, Idempotency_Key="a"), 409, "IDEMPOTENCY_CONFLICT")
    assert "rotate" in again["details"]["suggestion"]
    assert models.Client.objects.filter(name="twin").count() == 1
    path = f"clients/{made.json()['client_id']}/rotate"
    rotated = admin.post(path, {}, Idempotency_Key="b")
    secret_hash = models.Client.objects.get(name="twin").secret_hash
    error_of(admin.post(path, {}, Idempotency_Key="b"), 409, "IDEMPOTENCY_CONFLICT")
    assert models.Client.objects.get(name="twin").secret_hash == secret_hash
    kept = b"".join(bytes(answer.body) for answer in KeptAnswer.objects.all())
    for answer in (made, rotated):
        assert answer.json()["client_secret"].encode() not in kept


def test_a_key_is_free_again_after_a_day(program):
    program.post("devices", CYTON, Idempotency_Key="a")
    with time_machine.travel(timezone.now() + timedelta(hours=23, minutes=59), tick=False):
        prune_answers()
        assert KeptAnswer.objects.count() == 1
    with time_machine.travel(timezone.now() + timedelta(hours=24, seconds=1), tick=False):
        prune_answers()
        assert not KeptAnswer.objects.exists()


def test_an_old_answer_that_was_not_pruned_yet_is_not_given(slow):
    slow(lambda: {"done": 1})
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert slow(lambda: {"done": 2}).json() == {"done": 2}


def test_old_answers_are_pruned_by_beat():
    tasks = {entry["task"] for entry in lab.CELERY_BEAT_SCHEDULE.values()}
    assert prune_answers.name in tasks


# --- At once -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_one_key_many_times_at_once_is_done_once(program):
    ask = partial(program.post, "devices", CYTON, Idempotency_Key="a")
    answers = at_once([ask] * 6)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer for answer in answers) == 5
    assert Device.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_key_for_two_requests_at_once_is_a_conflict_for_one(program):
    asks = [
        partial(program.post, "devices", CYTON | {"port": port}, Idempotency_Key="a")
        for port in ("/dev/a", "/dev/b")
    ]
    assert sorted(answer.status_code for answer in at_once(asks)) == [201, 409]
    assert Device.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_who_asks_while_it_is_being_done_waits_and_is_then_told_to_come_back(slow, monkeypatch):
    monkeypatch.setattr(idempotency, "PATIENCE_SECONDS", 0.2)
    begun, may_end = threading.Event(), threading.Event()

    def act() -> dict[str, int]:
        begun.set()
        assert may_end.wait(30)
        return {"done": 1}

    answers: list[Any] = []

    def first() -> None:
        try:
            answers.append(slow(act))
        finally:
            connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(30)
    # No transaction is held meanwhile: others write.
    make_device()
    response = slow(act)
    error = error_of(response, 409, "IDEMPOTENCY_IN_PROGRESS")
    assert response["Retry-After"] == str(error["details"]["retry_after"])
    error_of(slow(act, body=b"[]"), 409, "IDEMPOTENCY_CONFLICT")
    may_end.set()
    thread.join(30)
    assert answers[0].json() == {"done": 1}
    again = slow(act)
    assert (again.json(), again["Idempotent-Replayed"]) == ({"done": 1}, "true")
    assert len(slow.calls) == 1


# --- Whatever dies -------------------------------------------------------------------------------


def test_a_claim_whose_holder_died_is_taken_over_when_its_lease_has_run_out(slow, monkeypatch):
    monkeypatch.setattr(idempotency, "PATIENCE_SECONDS", 0.0)
    slow(dict)
    KeptAnswer.objects.update(status=None)  # as a process leaves it that dies in between
    error_of(slow(dict), 409, "IDEMPOTENCY_IN_PROGRESS")
    KeptAnswer.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert slow(lambda: {"done": 2}).json() == {"done": 2}
    assert slow(dict).json() == {"done": 2}


DIE = """
import os, signal, sys
import django
django.setup()
from devices.services import register_device
from neurascale.core.idempotency import Claim, answer_together

def act():
    register_device(name="Cyton", type="openbci", port="/dev/ttyUSB0")
    print("changed", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

answer_together(Claim(sys.argv[1], "a", "hash", "holder"), act, lambda error: None)
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_between_change_and_answer_leaves_neither(program):
    dead = subprocess.run(
        [sys.executable, "-c", DIE, program.client.public_id],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url()},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (dead.stdout, dead.returncode) == (b"changed\n", -signal.SIGKILL), dead.stderr
    # PostgreSQL notices a moment later that the other end is gone.
    wait_until(lambda: not Device.objects.exists(), what="the roll-back")
    assert not KeptAnswer.objects.exists()
    assert program.post("devices", CYTON, Idempotency_Key="a").status_code == 201
    assert Device.objects.count() == 1
