"""A socket of GraphQL ends when what it was opened with is taken away, in both protocols."""

from __future__ import annotations

import time

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from websockets.exceptions import ConnectionClosed

from neurascale.core import services
from neurascale.core.auth import issue_tokens
from neurascale.core.models import Client
from sessions_app.models import Study
from sessions_app.services import add_member, create_client, remove_member
from tests.graphql.sockets import STATUS, begin
from tests.ingest.factories import make_device
from tests.waiting import wait_until

PROMISED_SECONDS = 5.0
WITHDRAWN, FORBIDDEN = (4401, "INVALID_TOKEN"), (4403, "PERMISSION_DENIED")


@pytest.fixture
def client(asgi_server) -> Client:
    return create_client(name="program", scopes=["devices:read", "sessions:write", "admin"]).client


@pytest.fixture
def watching(connected):
    """Open sockets, each with a subscription that would go on without being asked for."""

    def open_one(token=None, **options):
        socket = connected(**options)
        told = socket.init({"token": token} if token else None)
        assert told["type"] == "connection_ack"
        socket.start(STATUS, id=make_device().public_id)
        begin(socket)
        return socket

    return open_one


def end_of(socket, began: float) -> tuple[int, str]:
    """Hear nothing but the end; return the close code and the code of the error in its reason."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.hear()
    assert time.monotonic() - began < PROMISED_SECONDS
    return closed.value.rcvd.code, closed.value.rcvd.reason.partition(":")[0]


LOSSES = {
    "revoked": (lambda client: services.revoke_tokens(client=client), WITHDRAWN),
    "rotated": (lambda client: services.rotate_secret(client=client), WITHDRAWN),
    "deleted": (lambda client: services.delete_client(client=client), WITHDRAWN),
    "switched off": (
        lambda client: services.change_client(client=client, principal=None, is_active=False),
        WITHDRAWN,
    ),
    "a scope lost": (
        lambda client: services.change_client(
            client=client, principal=None, scopes=["devices:read"]
        ),
        FORBIDDEN,
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_program_is_sent_away_within_five_seconds(client, watching, loss):
    lose, expected = LOSSES[loss]
    socket = watching(issue_tokens(client)["access_token"])
    began = time.monotonic()
    lose(client)
    assert end_of(socket, began) == expected


def test_losing_a_study_ends_a_socket_and_joining_one_does_not(client, watching):
    socket = watching(issue_tokens(client)["access_token"])
    add_member(study=Study.objects.create(name="second"), client=client)
    other = create_client(name="other", scopes=["viewer"]).client
    visitor = watching(issue_tokens(other)["access_token"])
    # The visitor is seen at a check at which the first one is too.
    began = time.monotonic()
    services.revoke_tokens(client=other)
    assert end_of(visitor, began) == WITHDRAWN
    socket.start(STATUS, key="more", id=make_device().public_id)
    assert begin(socket, "more")
    began = time.monotonic()
    remove_member(study=client.studies.first(), client=client)
    assert end_of(socket, began) == FORBIDDEN


def test_a_person_who_logs_out_is_sent_away(watching, asgi_server):
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", password="x"))
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    socket = watching(headers={"Cookie": cookie}, origin=asgi_server.url)
    began = time.monotonic()
    browser.post("/admin/logout/")
    assert end_of(socket, began) == (4401, "NOT_AUTHENTICATED")


def test_who_talks_without_listening_is_sent_away_too(client, watching):
    socket = watching(issue_tokens(client)["access_token"])
    began = time.monotonic()
    services.revoke_tokens(client=client)

    def is_gone():
        try:
            socket.say(type="ping")
        except ConnectionClosed:  # what was said before it is in a line that nobody reads
            return True
        return False

    wait_until(is_gone, what="the end")
    assert time.monotonic() - began < PROMISED_SECONDS


def test_who_is_sent_away_gives_its_places_back(client, watching):
    token = issue_tokens(client)["access_token"]
    half = settings.MAX_SUBSCRIPTIONS // 2 + 1
    device_id = make_device(port="/dev/shared").public_id

    def fill(socket) -> None:
        for key in range(half):

            def is_let_in(key=key):
                socket.start(STATUS, key=f"more {key}", id=device_id)
                return socket.hear()["type"] == socket.protocol.data

            wait_until(is_let_in, what="a place")

    socket = watching(token)
    fill(socket)
    began = time.monotonic()
    remove_member(study=client.studies.first(), client=client)
    assert end_of(socket, began) == FORBIDDEN
    fill(watching(token))
