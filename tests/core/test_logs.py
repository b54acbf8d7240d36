"""The log: whose line it is, one line a request, and nothing that nobody may know."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from celery import shared_task
from celery.app.trace import build_tracer
from django.conf import settings as lab
from django.test import Client

from neurascale.core.auth import issue_tokens
from neurascale.core.logs import HEADER, NOBODY, RequestIdFilter, SecretsFormatter, request_id
from sessions_app.services import create_client
from tests.ingest.factories import make_device
from tests.ingest.rest import Program
from tests.machine import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def written():
    """What the lab's own handler would write, from everything that is logged."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SecretsFormatter(lab.LOGGING["formatters"]["line"]["format"]))
    handler.addFilter(RequestIdFilter())
    root = logging.getLogger()
    level, root.level = root.level, logging.DEBUG
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def program() -> Program:
    return Program("operator")


def lines(written: StringIO, name: str = "neurascale.access") -> list[str]:
    return [line for line in written.getvalue().splitlines() if line.split(" ")[1:2] == [name]]


def test_the_lab_writes_its_log_in_this_way():
    handler = lab.LOGGING["handlers"]["console"]
    assert handler["filters"] == ["request_id"]
    assert lab.LOGGING["formatters"]["line"]["()"] == "neurascale.core.logs.SecretsFormatter"
    assert "%(request_id)s" in lab.LOGGING["formatters"]["line"]["format"]


def test_a_request_is_one_line_that_says_who_asked_what_and_what_came_of_it(program, written):
    response = program.http.get("/v1/devices?search=Anna", headers={"X-Request-ID": "trial-0042"})
    (line,) = lines(written)
    assert response["X-Request-ID"] == "trial-0042"
    assert line.startswith("INFO neurascale.access [trial-0042]: GET /v1/devices 200 ")
    assert line.endswith(f" ms {program.client.public_id}")
    assert "Anna" not in written.getvalue()


@pytest.mark.parametrize("path", ["/v1/devices", "/v1/nothing", "/v1/devices?" + "a&" * 200])
def test_a_refused_request_is_a_line_too(written, path):
    response = Client(raise_request_exception=False).get(path)
    (line,) = lines(written)
    assert f"[{response['X-Request-ID']}]" in line
    assert f" {response.status_code} " in line
    assert line.endswith(" -")


def test_a_line_break_in_a_path_is_no_new_line(written):
    Client().get("/v1/x%0AINFO neurascale.access [forged]: all is well")
    assert len(lines(written)) == 1


def test_a_line_break_in_a_name_is_no_new_line(written):
    logging.getLogger("lab").warning("%s is away", "Cyton\n2026 ERROR [-]: all is lost\r\x1b[2J")
    assert written.getvalue().splitlines() == [written.getvalue().rstrip("\n")]
    assert r"Cyton\x0a2026" in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_whatever_is_logged_while_a_request_is_served_names_it(program, written, monkeypatch):
    def explode(*_: Any, **__: Any) -> None:
        logging.getLogger("anywhere").warning("about to fail")
        raise ZeroDivisionError

    monkeypatch.setattr("devices.services.get_device", explode)
    response = program.get("devices/dev_1")
    assert response.status_code == 500
    named = f"[{response['X-Request-ID']}]"
    assert named in lines(written, "anywhere")[0]
    assert named in lines(written, "django.request")[0]


def test_after_the_request_its_name_is_forgotten(program):
    program.get("devices").close()
    assert request_id.get() == NOBODY


# --- Tasks ---------------------------------------------------------------------------------------


@shared_task
def note() -> None:
    logging.getLogger("noting").info("noted")


def test_a_task_logs_under_the_request_that_sent_it(written):
    token = request_id.set("trial-0042")
    try:
        message = send(note)
    finally:
        request_id.reset(token)
    assert message[HEADER] == "trial-0042"
    run(note, message)
    assert "[trial-0042]" in lines(written, "noting")[0]
    assert request_id.get() == NOBODY


def test_a_task_that_nobody_asked_for_logs_under_its_own_id(written):
    message = send(note)
    assert HEADER not in message
    run(note, message)
    assert f"[task_{message['id']}]" in lines(written, "noting")[0]


def send(task: Any) -> dict[str, Any]:
    """Send a task to the tests' Valkey, take its message out again, and return the headers."""
    queue = f"test-logs-{task.name}"
    with task.app.connection_for_write() as broker:
        task.apply_async(queue=queue)
        taken = broker.SimpleQueue(queue)
        message = taken.get(timeout=30)
        message.ack()
        taken.close()
    return dict(message.headers)


def run(task: Any, headers: dict[str, Any]) -> None:
    """Run a task as a worker does that got it with these headers."""
    tracer = build_tracer(task.name, task, app=task.app)
    tracer(headers["id"], (), {}, request=headers)


# --- Secrets -------------------------------------------------------------------------------------


def test_nothing_that_opens_a_door_is_ever_written(written):
    new = create_client(name="x", scopes=["all"])
    tokens = issue_tokens(new.client)
    secrets = [new.client_secret, new.api_key, tokens["access_token"], tokens["refresh_token"]]
    http = Client(raise_request_exception=False)
    log = logging.getLogger("careless")
    for secret in secrets:
        bearer = {"Authorization": f"Bearer {secret}"}
        http.get("/v1/devices", headers=bearer)
        http.get(f"/v1/devices?token={secret}&search={secret}", headers=bearer)
        http.get(f"/v1/devices/{secret}", headers={"X-Request-ID": "trial-0042"})
        http.post("/v1/auth/token", {"api_key": secret}, content_type="application/json")
        http.post(
            "/v1/auth/token",
            {"grant_type": "client_credentials", "client_id": "a", "client_secret": secret},
            content_type="application/json",
        )
        http.post("/v1/auth/token", b"{" + secret.encode(), content_type="application/json")
    for secret in secrets[1:]:
        log.warning("somebody logs %s", secret)
        try:
            raise ValueError(f"and here: {secret}")
        except ValueError:
            log.exception("with a trace")
    log.warning("client_secret=%s&x=1 Bearer %s", new.client_secret, new.client_secret)
    text = written.getvalue()
    assert "with a trace" in text
    parts = {part for token in secrets[2:] for part in token.split(".")[1:]}
    for secret in {*secrets[1:], *parts}:
        assert secret not in text
    assert new.client_secret not in text.replace(f"/v1/devices/{new.client_secret}", "")


def test_ids_are_no_secrets(written):
    device = make_device()
    logging.getLogger("x").info("%s streams", device.public_id)
    assert device.public_id in written.getvalue()


def test_what_django_logs_is_written_once_and_with_its_request(tmp_path):
    """In a process of its own: the tests' have other handlers."""
    ask = """
import django
django.setup()
from django.test import Client
headers = {"Host": "127.0.0.1", "X-Request-ID": "trial-0042"}
Client().get("/v1/nothing", headers=headers)
"""
    environment = os.environ | {"DEBUG": "1", "NEURASCALE_HOME": str(tmp_path)}
    environment |= {"DJANGO_SETTINGS_MODULE": "neurascale.settings"}
    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=60,
        check=True,
    )
    told = [line for line in done.stderr.decode().splitlines() if "Not Found" in line]
    assert len(told) == 1, done.stderr.decode()
    assert "[trial-0042]" in told[0]
