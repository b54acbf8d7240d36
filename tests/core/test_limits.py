"""So many requests a client and no more, on every path, whatever the answer."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
import time_machine
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient
from django.test import Client as Browser

from devices.views import DeviceViewSet
from neurascale.core.auth import issue_tokens
from neurascale.core.limit_middleware import LimitMiddleware, bucket_of
from neurascale.core.limits import (
    Bucket,
    Counters,
    RateLimitExceededError,
    charge,
    charge_async,
)
from neurascale.core.models import Client
from neurascale.core.shared import Outage
from sessions_app.services import create_client
from tests.broker import Broker
from tests.ingest.rest import Program, error_of
from tests.routes import paths
from tests.waiting import wait_until
from tests.web import Server, serve

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
HOUR_MS = 3_600_000


def limits_in(response: HttpResponse) -> tuple[int, int, int]:
    """Return limit, remaining and reset as a response tells them."""
    return tuple(int(response[name]) for name in HEADERS)


@pytest.fixture
def program(db):
    return Program("admin")


@pytest.fixture
def few(settings):
    settings.RATE_LIMITS = {"standard": "3/hour", "bulk": "2/hour"}


# --- what a client is told -----------------------------------------------------------------------


def test_every_answer_says_how_many_are_left_and_until_when(program):
    first, second = program.get("devices"), program.get("devices/dev_nobody")
    assert (first.status_code, second.status_code) == (200, 404)
    limit, remaining, reset = limits_in(first)
    assert (limit, remaining) == (1000, 999)
    assert 3590 <= reset - time.time() <= 3601
    assert limits_in(second) == (1000, 998, reset)


def test_one_too_many_is_refused_in_the_envelope_with_the_time_to_wait(program, few):
    answers = [program.get("devices") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [limits_in(answer)[1] for answer in answers] == [2, 1, 0, 0]
    error = error_of(answers[3], 429, "RATE_LIMIT_EXCEEDED")
    assert int(answers[3]["Retry-After"]) == error["details"]["retry_after"]
    assert 3590 <= error["details"]["retry_after"] <= 3600
    assert error["details"]["bucket"] == "standard"
    assert "Retry-After" in error["details"]["suggestion"]


def test_bulk_requests_are_counted_apart(program, few):
    for _ in range(2):
        answer = program.post("ingest/neural-data", b"{}")
        assert answer.status_code == 400
    assert limits_in(answer)[:2] == (2, 0)
    assert program.post("ingest/neural-data", b"{}").status_code == 429
    assert limits_in(program.get("devices"))[:2] == (3, 2)


def test_what_is_refused_for_another_reason_counts_too(db, few):
    viewer = Program("devices:read")
    answers = [
        viewer.post("devices", {}),
        viewer.http.put("/v1/devices"),
        viewer.http.get("/v1/devices", headers={"Accept": "text/html"}),
        viewer.get("devices"),
    ]
    assert [answer.status_code for answer in answers] == [403, 405, 406, 429]
    assert [limits_in(answer)[1] for answer in answers] == [2, 1, 0, 0]


@pytest.mark.parametrize("debug", [False, True], ids=["production", "DEBUG"])
def test_a_bug_of_ours_counts_and_says_so(program, settings, monkeypatch, debug):
    settings.DEBUG = debug
    monkeypatch.setattr(DeviceViewSet, "list", lambda self, request: 1 / 0)
    answer = program.get("devices")
    error_of(answer, 500, "INTERNAL_ERROR")
    assert limits_in(answer)[:2] == (1000, 999)


def test_other_clients_and_people_have_their_own(program, few, django_user_model):
    for _ in range(4):
        answer = program.get("devices")
    assert answer.status_code == 429
    assert limits_in(Program("viewer").get("devices"))[:2] == (3, 2)
    # A key that no other test's person had: people are counted by it.
    person = django_user_model.objects.create_superuser("somebody", pk=uuid4().int % 2**31)
    browser = Browser()
    browser.force_login(person)
    answers = [browser.get("/v1/devices") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


def test_who_is_nobody_uses_up_nobodys_requests(program, few):
    withdrawn = issue_tokens(program.client)["access_token"]
    program.client.tokens_valid_after = "2100-01-01T00:00:00Z"
    program.client.save()
    for token in (withdrawn, withdrawn, withdrawn, withdrawn, "forged", None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = Browser().get("/v1/devices", headers=headers)
        assert answer.status_code == 401
        assert limits_in(answer)[:2] == (3, 3)
    Client.objects.update(tokens_valid_after=None)
    assert limits_in(program.get("devices"))[:2] == (3, 2)


def test_the_database_is_asked_once_who_it_is(program, django_assert_num_queries):
    with django_assert_num_queries(2):  # the client, and the device
        assert program.get("devices/dev_nobody").status_code == 404


async def test_the_asynchronous_stack_counts_the_same(transactional_db, few):
    new = await sync_to_async(create_client)(name="asynchronous", scopes=["viewer"])
    token = issue_tokens(new.client)["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answers = [await AsyncClient().get("/v1/devices", headers=headers) for _ in range(4)]
    await sync_to_async(connections.close_all)()  # in the thread where the views were
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [limits_in(answer)[1] for answer in answers] == [2, 1, 0, 0]


def test_the_portal_is_not_limited(program):
    assert not any(name in program.http.get("/admin/login/") for name in HEADERS)


def test_a_path_that_is_not_there_counts_like_any_other(program, few):
    answers = [program.get("nothing") for _ in range(4)]
    assert [limits_in(answer)[1] for answer in answers] == [2, 1, 0, 0]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    error_of(answers[3], 429, "RATE_LIMIT_EXCEEDED")
    assert program.http.get("/v1/nothing", headers={"Authorization": ""}).status_code == 404


def test_what_another_middleware_refuses_counts_and_says_so(program, few, settings):
    place = settings.MIDDLEWARE.index("neurascale.core.limit_middleware.LimitMiddleware")
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[: place + 1],
        "tests.core.test_limits.refuse_everything",
    ]
    answers = [program.get("devices") for _ in range(4)]
    assert [limits_in(answer)[1] for answer in answers] == [2, 1, 0, 0]


def refuse_everything(get_response):
    return lambda request: HttpResponse(status=413)


# --- every path ----------------------------------------------------------------------------------

BULK = {"ingest"}
UNLIMITED = {"token", "token-revoke", "schema", "docs", "redoc"}
V1 = [(path.path, path) for path in paths()]


def test_every_path_is_in_the_bucket_it_should_be_in():
    assert len(V1) > 15
    for _, pattern in V1:
        expected = Bucket.BULK if pattern.name in BULK else Bucket.STANDARD
        found = bucket_of(pattern.callback, "POST" if pattern.name in BULK else "GET")
        assert found == (None if pattern.name in UNLIMITED else expected), pattern.name


@pytest.mark.parametrize(("path", "pattern"), V1, ids=[pattern.name for _, pattern in V1])
def test_every_answer_of_every_path_has_the_headers(program, path, pattern, settings):
    settings.ANSWER_SECONDS = 0.1  # nobody is there to answer
    url = "/" + path.replace("<str:", "").replace(">", "")
    for n, method in enumerate(("GET", "POST", "PATCH", "DELETE", "OPTIONS", "HEAD"), 1):
        answer = program.http.generic(method, url, b"{}", content_type="application/json")
        if pattern.name in UNLIMITED:
            assert not any(name in answer for name in HEADERS)
        else:
            limit, remaining, _ = limits_in(answer)
            assert limit == (100 if pattern.name in BULK else 1000)
            assert remaining == limit - n, answer.content


# --- how a view may declare its bucket -----------------------------------------------------------


def view(request):
    """A plain function."""


def test_a_view_declares_a_bucket_one_a_method_or_action_or_none():
    class Kind:
        limit = {"export": Bucket.BULK, "POST": Bucket.BULK, "DELETE": None}

    def routed(request):
        """What a viewset's `as_view` returns has these two."""

    routed.cls, routed.actions = Kind, {"get": "export", "put": "replace"}
    assert bucket_of(view) == Bucket.STANDARD
    found = {m: bucket_of(routed, m) for m in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")}
    assert found == {
        **dict.fromkeys(("GET", "HEAD", "POST"), Bucket.BULK),
        **dict.fromkeys(("PUT", "OPTIONS"), Bucket.STANDARD),
        "DELETE": None,
    }


# --- what others call ----------------------------------------------------------------------------


async def test_other_doors_count_with_a_function(few):
    somebody = User(pk=uuid4().int)
    assert charge(somebody).headers["X-RateLimit-Remaining"] == "2"
    assert (await charge_async(somebody)).remaining == 1
    assert charge(somebody).remaining == 0
    with pytest.raises(RateLimitExceededError) as refused:
        await charge_async(somebody)
    assert refused.value.allowance.headers["X-RateLimit-Remaining"] == "0"
    assert charge(somebody, Bucket.BULK).remaining == 1


@pytest.mark.parametrize(
    ("text", "limit", "seconds"), [("7/minute", 7, 60), ("200", 200, 3600), ("5 per day", 5, 86400)]
)
def test_a_limit_is_written_as_a_rate(settings, text, limit, seconds):
    settings.RATE_LIMITS = {"standard": text, "bulk": text}
    allowance = charge(User(pk=uuid4().int))
    assert (allowance.limit, allowance.wait_seconds) == (limit, seconds)


@pytest.mark.parametrize("text", ["", "many", "-1", "1000/fortnight"])
def test_a_limit_that_cannot_be_read_is_refused_at_the_start(settings, text):
    settings.RATE_LIMITS = {"standard": "1000/hour", "bulk": text}
    with pytest.raises(ImproperlyConfigured, match="1000/hour"):
        LimitMiddleware(lambda request: HttpResponse())


# --- counting ------------------------------------------------------------------------------------


@pytest.fixture
def key():
    return f"test:{uuid4()}"


def test_a_window_begins_with_its_first_request_and_ends_as_it_said(settings, key):
    counters = Counters(settings.REDIS_URL)
    count, left_ms, ends_ms = counters.count(key, 1000)
    assert (count, left_ms) == (1, 1000)
    count, left_ms, same = counters.count(key, 1000)
    assert (count, same) == (2, ends_ms)
    assert left_ms <= 1000
    # Valkey counts whole milliseconds, and a key that ends at one is there until it is over.
    wait_until(lambda: time.time() * 1000 >= ends_ms + 2, what="the end of the window")
    count, _, later = counters.count(key, 1000)
    assert count == 1
    assert later >= ends_ms + 1000


def test_threads_that_count_together_get_each_number_once(settings, key):
    counters = Counters(settings.REDIS_URL)
    with ThreadPoolExecutor(16) as pool:
        counted = pool.map(lambda _: counters.count(key, HOUR_MS)[0], range(800))
    assert sorted(counted) == list(range(1, 801))


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


def test_without_valkey_a_process_counts_alone_and_goes_on_when_it_is_back(broker, key, caplog):
    caplog.set_level(logging.INFO, logger="neurascale.core.shared")
    counters = Counters(broker.url)
    assert [counters.count(key, HOUR_MS)[0] for _ in range(3)] == [1, 2, 3]
    broker.kill()
    with ThreadPoolExecutor(8) as pool:
        counted = pool.map(lambda _: counters.count(key, HOUR_MS), range(400))
    counts, lefts, ends = zip(*counted, strict=True)
    assert sorted(counts) == list(range(1, 401))
    assert len(set(ends)) == 1
    assert max(lefts) <= HOUR_MS
    assert caplog.text.count("does not answer") == 1
    broker.start()
    wait_until(lambda: counters.count(key, HOUR_MS)[0] < 400, what="Valkey's count")
    assert "Valkey is back" in caplog.text


def test_requests_are_served_while_valkey_is_away(program, few, settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    answers = [program.get("devices") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


def test_alone_a_window_ends_too_and_is_forgotten(tmp_path, key, monkeypatch):
    monkeypatch.setattr("neurascale.core.limits.MAX_REMEMBERED", 10)
    counters = Counters(f"unix://{tmp_path}/nobody.sock")
    with time_machine.travel("2030-01-01T00:00:00Z", tick=False) as clock:
        for n in range(10):
            counters.count(f"{key}{n}", 60_000)
        assert counters.count(f"{key}0", 60_000)[:2] == (2, 60_000)
        clock.shift(60)
        assert counters.count(f"{key}0", 60_000)[0] == 1
        assert len(counters._own) == 1


def test_a_valkey_that_hangs_costs_one_request_a_second_and_the_others_nothing(tmp_path, key):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        counters = Counters(f"unix://{tmp_path}/deaf.sock")
        began = time.monotonic()
        for _ in range(50):
            counters.count(key, HOUR_MS)
        assert 1 <= time.monotonic() - began < 2


def test_an_outage_is_told_once_a_minute():
    now = [0.0]
    outage = Outage("nothing", clock=lambda: now[0])
    assert outage.may_ask()
    told = []
    logger = logging.getLogger("neurascale.core.shared")
    handler = logging.Handler()
    handler.emit = lambda record: told.append(now[0])
    logger.addHandler(handler)
    try:
        while now[0] < 150:
            if outage.may_ask():
                outage.lost(ConnectionError())
                assert not outage.may_ask()
            now[0] += 0.5
    finally:
        logger.removeHandler(handler)
    assert told == [0, 60, 120]


# --- among processes -----------------------------------------------------------------------------


class Crowd:
    """Clients that ask two web processes for as long as they are answered."""

    def __init__(self, servers: list[Server], token: str) -> None:
        self.servers = servers
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask_until_refused(self, number: int) -> list[int]:
        url = self.servers[number % len(self.servers)].url
        statuses = [0]
        with httpx.Client(base_url=url, headers=self.headers, timeout=60) as http:
            while statuses[-1] != 429:
                statuses.append(http.get("/v1/devices").status_code)
        return statuses[1:]


@pytest.mark.long
def test_32_clients_of_two_web_processes_get_exactly_a_thousand_answers(asgi_server, tmp_path):
    token = issue_tokens(create_client(name="crowd", scopes=["viewer"]).client)["access_token"]
    with serve(tmp_path / "web.log") as other, ThreadPoolExecutor(32) as pool:
        crowd = Crowd([asgi_server, other], token)
        statuses = [s for answers in pool.map(crowd.ask_until_refused, range(32)) for s in answers]
    assert Counter(statuses) == {200: 1000, 429: 32}
