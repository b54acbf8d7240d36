"""What only a real server shows: bombs and their memory, chunks, streams, sockets' ids."""

from __future__ import annotations

import gzip
import http.client
import io
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ingest.models import Block
from neurascale.core.auth import issue_tokens
from tests.ingest.factories import make_device
from tests.ingest.ingestions import message, samples
from tests.ingest.rest import Program
from tests.web import Server

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 2**20


@pytest.fixture
def program() -> Program:
    return Program("operator")


@pytest.fixture
def ask(asgi_server: Server, program: Program):
    """Send a request over a connection of its own, and return the response and its body."""
    token = issue_tokens(program.client)["access_token"]

    def ask(method: str, path: str, body=None, *, chunked: bool = False, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", asgi_server.port, timeout=120)
        named = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/v1/{path}", body, named, encode_chunked=chunked)
        response = connection.getresponse()
        read = response.read()
        connection.close()
        return response, read

    return ask


def pieces(body: bytes, size: int = 1000) -> Iterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def peak_memory(server: Server) -> int:
    """Return the most that a process has had in memory since `forget_peak`, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def forget_peak(server: Server) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # man 5 proc


@cache
def bomb(n_bytes: int) -> bytes:
    """Return gzip of so many spaces, which JSON would allow."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [stream.compress(b" " * MIB) for _ in range(n_bytes // MIB)]
    return b"".join(parts) + stream.flush()


@pytest.mark.parametrize("path", ["devices", "ingest/neural-data"])
def test_a_bomb_is_refused_and_costs_a_few_megabytes(asgi_server, ask, path):
    explosive = bomb(512 * MIB)
    assert len(explosive) < MIB
    ask("POST", path, gzip.compress(b"{}"), Content_Encoding="gzip")  # all is loaded now
    forget_peak(asgi_server)
    before = peak_memory(asgi_server)
    response, body = ask("POST", path, explosive, Content_Encoding="gzip")
    assert response.status == 413
    error = orjson.loads(body)["error"]
    assert error["code"] == "PAYLOAD_TOO_LARGE"
    assert error["details"]["limit_bytes"] in {2_621_440, 16 * MIB}
    # Some of it is what was sent, which the server passes on in pieces.
    assert peak_memory(asgi_server) - before < 12 * MIB


def test_a_body_in_chunks_is_read_and_so_is_one_in_gzip(ask):
    for port, encode, headers in (
        ("/dev/a", bytes, {}),
        ("/dev/b", gzip.compress, {"Content_Encoding": "gzip"}),
    ):
        body = orjson.dumps({"name": "Cyton", "type": "openbci", "port": port})
        response, answer = ask("POST", "devices", pieces(encode(body), 7), chunked=True, **headers)
        assert response.status == 201, answer


def test_samples_may_come_compressed(ask, program):
    session = program.make_session(make_device())
    body = orjson.dumps(message(session, samples(2500)))
    packed = b"".join(gzip.compress(part) for part in pieces(body, 50_000))
    response, answer = ask("POST", "ingest/neural-data", packed, Content_Encoding="gzip")
    assert response.status == 201, answer
    assert Block.objects.count() == 10


@pytest.mark.parametrize("form", ["npy", "arrow", "json"])
def test_a_recording_is_compressed_while_it_is_read_and_has_a_tag_without_being_read(
    ask, program, form
):
    session = program.make_session(make_device())
    for second in range(0, 80, 20):
        data = samples(5000, first=second * 250)
        body = orjson.dumps(message(session, data, seconds=second))
        assert ask("POST", "ingest/neural-data", body)[0].status == 201
    path = f"sessions/{session.public_id}/data?output={form}"
    plain, body = ask("GET", path)
    packed, gzipped = ask("GET", path, Accept_Encoding="gzip")
    assert packed.getheader("Content-Encoding") == "gzip"
    assert len(gzipped) < len(body)
    assert gzip.decompress(gzipped) == body
    if form == "npy":
        assert np.load(io.BytesIO(body)).shape == (8, 20000)
    tag = plain.getheader("ETag")
    assert packed.getheader("ETag") == f'{tag[:-1]}-gzip"'
    head, nothing = ask("HEAD", path, Accept_Encoding="gzip")
    assert (head.status, nothing) == (200, b"")
    for name in ("ETag", "Content-Encoding", "Content-Type", "Content-Disposition", "Vary"):
        assert head.getheader(name) == packed.getheader(name)
    # Not a sample is there any more, and yet it is known that they are the same.
    Block.objects.all().delete()
    for accepted, known in (("gzip", packed.getheader("ETag")), ("identity", tag)):
        again, nothing = ask("GET", path, Accept_Encoding=accepted, If_None_Match=known)
        assert (again.status, nothing, again.getheader("ETag")) == (304, b"", known)
        assert again.getheader("Content-Length") is None


def test_a_socket_has_one_id_for_as_long_as_it_lasts(asgi_server, program):
    token = issue_tokens(program.client)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "X-Request-ID": "socket-0042"}
    with connect(asgi_server.ws_url, additional_headers=headers) as ws:
        for _ in range(2):
            ws.send('{"type": "dance"}')
            assert orjson.loads(ws.recv(timeout=30))["error"]["request_id"] == "socket-0042"
    del headers["X-Request-ID"]
    with connect(asgi_server.ws_url, additional_headers=headers) as ws:
        ws.send('{"type": "dance"}')
        assert orjson.loads(ws.recv(timeout=30))["error"]["request_id"].startswith("req_")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("devices", {"X_Much": "x" * 15_000}, 431),
        ("devices", {"X_Much": "x" * 40_000}, 431),
        ("devices?search=" + "x" * 40_000, {}, 414),
    ],
)
def test_what_is_too_large_is_told_its_limit_also_where_a_server_would_cut_the_line(
    ask, path, headers, status
):
    response, body = ask("GET", path, **headers)
    assert response.status == status
    error = orjson.loads(body)["error"]
    assert error["details"]["limit_bytes"] < 15_000
    assert error["request_id"] == response.getheader("X-Request-ID")


def test_a_socket_where_there_is_none_is_answered_like_a_path_where_there_is_nothing(asgi_server):
    for path in ("v1/streams", "", "v1/stream/"):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{asgi_server.port}/{path}")
        response = refused.value.response
        assert response.status_code == 404
        error = orjson.loads(response.body)["error"]
        assert (error["code"], error["details"]["path"]) == ("NOT_FOUND", f"/{path}")
        assert error["request_id"] == response.headers["X-Request-ID"]
