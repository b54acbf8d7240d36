"""Subscriptions in both protocols: who is asking, and what may not be asked."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from ingest.broadcast import announce
from neurascale.core.auth import Scope
from tests.graphql.sockets import DATA, OLD, STATUS, UPDATES, bearer, begin, token_of
from tests.ingest.factories import make_device
from tests.ingest.rest import Program
from tests.waiting import wait_until

# --- who is asking -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        lambda p: {"Authorization": bearer(p)},
        lambda p: {"authorization": bearer(p)},
        lambda p: {"token": token_of(p)},
    ],
    ids=["Authorization", "authorization", "token"],
)
def test_the_first_message_says_who_is_asking(connected, program, payload):
    socket = connected()
    assert socket.init(payload(program))["type"] == "connection_ack"
    device = make_device()
    socket.start(STATUS, id=device.public_id)
    assert begin(socket)["deviceStatus"]["deviceId"] == device.public_id


def test_who_is_asking_is_said_once(socket):
    """Else what runs would go on for somebody whom nobody looks after any more."""
    stranger = Program("devices:read")
    socket.say(type="connection_init", payload={"token": token_of(stranger)})
    assert socket.closed() == 4429


def test_so_does_the_header(connected, program):
    socket = connected(headers={"Authorization": bearer(program)})
    assert socket.init()["type"] == "connection_ack"


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"token": "nonsense"}, {"Authorization": "Basic eDp5"}, {"token": 7}],
    ids=str,
)
def test_whoever_is_not_known_is_let_go_with_the_code_of_the_stream(connected, payload):
    socket = connected()
    socket.say(type="connection_init", **({} if payload is None else {"payload": payload}))
    if socket.protocol is OLD:
        told = socket.hear()
        assert told["type"] == "connection_error"
        code = told["payload"]["extensions"]["code"]
        assert code in {"NOT_AUTHENTICATED", "INVALID_TOKEN"}
    end = socket.end()
    assert end.code == 4401
    shown = isinstance((payload or {}).get("token"), str)
    expected = "INVALID_TOKEN: That is no" if shown else "NOT_AUTHENTICATED: "
    assert end.reason.startswith(expected)


def test_nothing_is_run_before_it_is_known_who_is_asking(connected):
    socket = connected()
    socket.start(STATUS, id="dev_1")
    assert socket.closed() == 4401


def test_a_token_in_the_url_is_refused(connected, program):
    socket = connected(query=f"?token={token_of(program)}")
    socket.say(type="connection_init", payload={"Authorization": bearer(program)})
    if socket.protocol is OLD:
        assert socket.hear()["payload"]["extensions"]["code"] == "INVALID_TOKEN"
    assert socket.closed() == 4401


@pytest.fixture
def cookie(asgi_server):
    User.objects.create_superuser("ada", password="x")
    browser = Browser()
    browser.login(username="ada", password="x")
    return "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())


def test_a_page_of_the_portal_uses_the_session(connected, asgi_server, cookie):
    socket = connected(headers={"Cookie": cookie}, origin=asgi_server.url)
    assert socket.init()["type"] == "connection_ack"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", None])
def test_a_page_from_elsewhere_may_not_use_the_session(connected, cookie, origin):
    socket = connected(headers={"Cookie": cookie}, origin=origin)
    socket.say(type="connection_init")
    assert socket.closed() == 4401


def test_a_page_from_elsewhere_may_use_a_token(connected, program):
    socket = connected(origin="https://analysis.example")
    assert socket.init({"token": token_of(program)})["type"] == "connection_ack"


def test_another_protocol_is_not_spoken(asgi_server):
    url = f"ws://127.0.0.1:{asgi_server.port}/graphql"
    with connect(url, legacy=True) as ws, pytest.raises(ConnectionClosedError, match="4406"):
        ws.recv(timeout=30)


def test_the_stream_does_not_lie_below_graphql(asgi_server):
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{asgi_server.port}/graphql/", legacy=True)


# --- what may not be asked -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "scope"),
    [(DATA, "devices:read"), (STATUS, "devices:read"), (UPDATES, "sessions:read")],
    ids=["neuralData", "deviceStatus", "sessionUpdates"],
)
def test_a_subscription_needs_its_scopes(connected, asgi_server, query, scope):
    program = Program("admin")
    device = make_device()
    socket = connected()
    scopes = [str(known) for known in Scope if known not in {scope, Scope.ADMIN}]
    socket.init({"token": token_of(program, *scopes)})
    name = {"device": device.public_id} if "sessionUpdates" in query else {"id": device.public_id}
    socket.start(query, **name)
    error = socket.failed()
    assert error["extensions"]["code"] == "PERMISSION_DENIED"
    assert scope in error["extensions"]["details"]["missing"]


@pytest.mark.parametrize("query", ["{ __typename }", 'mutation { deleteSession(id: "x") }'])
def test_queries_and_changes_are_sent_elsewhere(socket, query):
    socket.start(query)
    error = socket.failed()
    assert error["extensions"]["code"] == "VALIDATION_ERROR"
    assert "POST /graphql" in error["extensions"]["details"]["suggestion"]


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("subscription {", {}, "MALFORMED_QUERY"),
        (None, {}, "VALIDATION_ERROR"),
        (["a"], {}, "VALIDATION_ERROR"),
        ("subscription { nothing }", {}, "VALIDATION_ERROR"),
        (DATA, {"id": "dev_999"}, "INVALID_DEVICE_ID"),
        (STATUS, {"id": "dev_999"}, "INVALID_DEVICE_ID"),
        (UPDATES, {"session": "sess_999"}, "INVALID_SESSION_ID"),
        (UPDATES, {"device": "dev_999"}, "INVALID_DEVICE_ID"),
        (UPDATES, {}, "VALIDATION_ERROR"),
        (UPDATES, {"session": "sess_1", "device": "dev_1"}, "VALIDATION_ERROR"),
        (DATA, {}, "VALIDATION_ERROR"),
        (STATUS, {"id": {"a": 1}}, "VALIDATION_ERROR"),
        ("subscription { __typename }", {}, "VALIDATION_ERROR"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused_and_the_others_go_on(
    socket, live, query, variables, code
):
    socket.start(STATUS, key="other", id=live.device_id)
    begin(socket, "other")
    socket.start(query, key="1", **variables)
    assert socket.failed("1")["extensions"]["code"] == code
    announce(live.device_id, "battery", {})
    assert socket.next("other")["deviceStatus"]["event"] == "battery"


@pytest.mark.parametrize(
    "wrong", [{"channels": [99]}, {"channels": []}, {"after": 10**9}, {"lag": "sleep"}]
)
def test_what_the_stream_refuses_is_refused_in_the_same_words(socket, live, wrong):
    socket.start(DATA, id=live.device_id, **wrong)
    error = socket.failed()
    assert error["extensions"]["code"] == "VALIDATION_ERROR"
    assert error["extensions"]["details"]["fields"]


@pytest.mark.parametrize(
    "message",
    [
        "no JSON",
        "[]",
        "7",
        "{}",
        '{"type": 7}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": [], "payload": {"query": "x"}}',
        '{"type": "subscribe", "id": "1", "payload": "x"}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "x", "variables": {"a": NaN}}}',
        '{"type": "complete", "id": {}}',
        '{"type": "start", "id": 1}',
        b"\x00\x01",
    ],
)
def test_what_is_no_message_ends_the_connection_and_is_no_bug(socket, message):
    socket.ws.send(message)
    if socket.protocol is OLD:
        with suppress(ConnectionClosed):  # of bytes it may be gone already
            socket.say(type="connection_terminate")
    assert socket.closed() in {4400, 1000, 1002, 1011} - {1011}


def test_a_device_can_be_watched_by_so_many_and_no_more(asgi_server, program, connected, live):
    socket = connected()
    socket.init({"token": token_of(program)})
    for key in range(settings.MAX_SUBSCRIPTIONS - 1):
        socket.start(STATUS, key=str(key), id=live.device_id)
        begin(socket, str(key))
    with connect(
        asgi_server.ws_url, additional_headers={"Authorization": bearer(program)}, legacy=True
    ) as stream:  # counted together with those of the stream
        stream.send(f'{{"type": "subscribe", "device_id": "{live.device_id}"}}')
        assert "subscribed" in stream.recv(timeout=30)
        other = connected()
        other.init({"token": token_of(program)})
        other.start(STATUS, id=live.device_id)
        assert other.failed()["extensions"]["code"] == "RATE_LIMIT_EXCEEDED"
    socket.stop("0")

    def is_let_in():
        other.start(STATUS, key="again", id=live.device_id)
        return other.hear()["type"] == other.protocol.data

    wait_until(is_let_in, what="the place of a subscription that was stopped")
