"""An open socket ends when what it was opened with is taken away: a real server, real sockets."""

from __future__ import annotations

import time
from datetime import timedelta

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from neurascale.core import services
from neurascale.core.auth import AccessToken, authenticate_token, issue_tokens
from neurascale.core.models import Client
from sessions_app.models import Study
from sessions_app.services import add_member, create_client, remove_member
from sessions_app.watch import Standing, Watched
from tests.ingest.factories import make_device

PROMISED_SECONDS = 5.0


@pytest.fixture
def new(asgi_server):
    return create_client(name="program", scopes=["devices:read", "sessions:write", "admin"])


@pytest.fixture
def client(new) -> Client:
    return Client.objects.get(pk=new.client.pk)


@pytest.fixture
def open_socket(asgi_server):
    opened = []

    def open_one(token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        socket = connect(
            asgi_server.ws_url,
            additional_headers=headers,
            compression=None,
            legacy=True,
            origin=asgi_server.url,
        )
        opened.append(socket)
        # It watches a device: the subscription is what would go on without being asked for.
        device_id = make_device().public_id
        socket.send(orjson.dumps({"type": "subscribe", "device_id": device_id}).decode())
        assert orjson.loads(socket.recv(timeout=30))["type"] == "subscribed"
        return socket

    yield open_one
    for socket in opened:
        socket.close()


def end_of(socket, began: float) -> tuple[int, str]:
    """Read to the end; return the close code and the error that was told before it."""
    told: list[dict] = []

    def read() -> None:
        while True:
            told.append(orjson.loads(socket.recv(timeout=30)))

    with pytest.raises(ConnectionClosedError) as closed:
        read()
    assert time.monotonic() - began < PROMISED_SECONDS
    return closed.value.rcvd.code, told[-1]["error"]["code"]


WITHDRAWN = (4401, "INVALID_TOKEN")
FORBIDDEN = (4403, "PERMISSION_DENIED")


def lose_membership(new, tokens, client):
    remove_member(study=client.studies.get(), client=client)


def revoke_one(new, tokens, client, name="access_token"):
    services.revoke_token(
        token=tokens[name], client_id=new.client_id, client_secret=new.client_secret
    )


LOSSES = {
    "revoked": (lambda new, tokens, c: services.revoke_tokens(client=c), WITHDRAWN),
    "rotated": (lambda new, tokens, c: services.rotate_secret(client=c), WITHDRAWN),
    "its token revoked": (revoke_one, WITHDRAWN),
    "its refresh token revoked": (
        lambda new, tokens, c: revoke_one(new, tokens, c, "refresh_token"),
        WITHDRAWN,
    ),
    "switched off": (
        lambda new, tokens, c: services.change_client(client=c, principal=None, is_active=False),
        WITHDRAWN,
    ),
    "expired": (
        lambda new, tokens, c: services.change_client(
            client=c, principal=None, expires_at=timezone.now()
        ),
        WITHDRAWN,
    ),
    "deleted": (lambda new, tokens, c: services.delete_client(client=c), WITHDRAWN),
    "a scope lost": (
        lambda new, tokens, c: services.change_client(
            client=c, principal=None, scopes=["devices:read"]
        ),
        FORBIDDEN,
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_program_is_sent_away_within_five_seconds(new, client, open_socket, loss):
    lose, expected = LOSSES[loss]
    tokens = issue_tokens(client)
    socket = open_socket(tokens["access_token"])
    began = time.monotonic()
    lose(new, tokens, client)
    assert end_of(socket, began) == expected


def test_losing_a_study_ends_a_socket_and_joining_one_does_not(new, client, open_socket):
    second = Study.objects.create(name="second")
    socket = open_socket(issue_tokens(client)["access_token"])
    add_member(study=second, client=client)
    other = open_socket(
        issue_tokens(create_client(name="o", scopes=["viewer"]).client)["access_token"]
    )
    # The second socket is seen at a check at which the first one is too.
    began = time.monotonic()
    services.revoke_tokens(client=Client.objects.get(name="o"))
    assert end_of(other, began) == WITHDRAWN
    socket.send('{"type": "ping"}')
    assert orjson.loads(socket.recv(timeout=30))["type"] == "pong"
    began = time.monotonic()
    remove_member(study=client.studies.first(), client=client)
    assert end_of(socket, began) == FORBIDDEN


def test_a_token_that_expires_ends_its_socket_and_a_fresh_one_sent_before_keeps_it(
    client, open_socket
):
    def token(seconds: float) -> str:
        made = AccessToken.of(client, ["devices:read"], pair="pair_test")
        made.set_exp(lifetime=timedelta(seconds=seconds - 5))  # the leeway for clocks
        return str(made)

    short, kept = open_socket(token(2)), open_socket(token(2))
    kept.send(orjson.dumps({"type": "auth", "token": token(600)}).decode())
    assert end_of(short, time.monotonic() + 2) == WITHDRAWN
    kept.send('{"type": "ping"}')
    assert orjson.loads(kept.recv(timeout=30))["type"] == "pong"


def test_a_socket_that_watches_cannot_become_one_that_may_not(client, open_socket):
    socket = open_socket(issue_tokens(client)["access_token"])
    lesser = create_client(name="lesser", scopes=["sessions:read"]).client
    token = issue_tokens(lesser)["access_token"]
    socket.send(orjson.dumps({"type": "auth", "token": token}).decode())
    assert end_of(socket, time.monotonic()) == FORBIDDEN


# --- People --------------------------------------------------------------------------------------


@pytest.fixture
def browser(asgi_server) -> Browser:
    browser = Browser()
    user = User.objects.create_user("ada", password="difference engine", is_staff=True)
    user.groups.add(Group.objects.create(name="operator"))
    browser.force_login(user)
    return browser


def cookie(browser: Browser) -> str:
    return "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())


def change_password(browser):
    user = User.objects.get()
    user.set_password("analytical engine")
    user.save()


PEOPLE = {
    "logged out": (lambda browser: browser.post("/admin/logout/"), (4401, "NOT_AUTHENTICATED")),
    "switched off": (
        lambda browser: User.objects.update(is_active=False),
        (4401, "NOT_AUTHENTICATED"),
    ),
    "password changed": (change_password, (4401, "NOT_AUTHENTICATED")),
    "out of a group": (lambda browser: User.objects.get().groups.clear(), FORBIDDEN),
}


@pytest.mark.parametrize("loss", PEOPLE)
def test_a_person_is_sent_away_within_five_seconds(browser, open_socket, loss):
    lose, expected = PEOPLE[loss]
    first, socket = open_socket(Cookie=cookie(browser)), open_socket(Cookie=cookie(browser))
    first.close()
    if loss == "out of a group":
        wait_for_a_check(open_socket)
    began = time.monotonic()
    lose(browser)
    assert end_of(socket, began) == expected


def wait_for_a_check(open_socket) -> None:
    """Return after the watch has looked at all sockets that are open now."""
    visitor = create_client(name="visitor", scopes=["viewer"]).client
    socket = open_socket(issue_tokens(visitor)["access_token"])
    services.revoke_tokens(client=visitor)
    assert end_of(socket, time.monotonic()) == WITHDRAWN


# --- What it costs -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_all_connections_of_a_process_are_looked_up_together():
    async def end(error):
        raise AssertionError

    clients = [create_client(name=f"p{n}", scopes=["viewer"]).client for n in range(20)]
    watched = [
        Watched(authenticate_token(issue_tokens(client)["access_token"]), None, end)
        for client in clients
        for _ in range(5)
    ]
    with CaptureQueriesContext(connection) as queries:
        standing = Standing(watched)
        assert not any(standing.problem(w) for w in watched)
    assert len(queries) == 3  # clients, their studies, tokens that were withdrawn by themselves
