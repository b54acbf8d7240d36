"""Connections to `/graphql` of a real server, in both protocols."""

from __future__ import annotations

import pytest

from tests.graphql.sockets import NEW, OLD, bearer, open_socket
from tests.ingest.live import Live
from tests.ingest.rest import Program


@pytest.fixture(params=[NEW, OLD], ids=lambda protocol: protocol.name)
def protocol(request):
    return request.param


@pytest.fixture
def program(asgi_server):
    return Program("admin")


@pytest.fixture
def connected(asgi_server, protocol):
    opened = []

    def open_one(**options):
        socket = open_socket(asgi_server, protocol, **options)
        opened.append(socket.ws)
        return socket

    yield open_one
    for ws in opened:
        ws.close()


@pytest.fixture
def socket(connected, program):
    socket = connected()
    assert socket.init({"Authorization": bearer(program)})["type"] == "connection_ack"
    return socket


@pytest.fixture
def live(asgi_server):
    return Live(filters={"notch": 60})
