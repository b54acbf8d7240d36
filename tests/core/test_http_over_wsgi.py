"""What only a real WSGI server shows: bodies that come in chunks."""

from __future__ import annotations

import gzip
import http.client
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from ingest.models import Block
from neurascale.core.auth import issue_tokens
from neurascale.core.errors import LengthRequiredError
from neurascale.core.representation import take_body
from tests.ingest.factories import make_device
from tests.ingest.ingestions import message, samples
from tests.ingest.rest import Program
from tests.web import WSGI, Server, serve


@pytest.fixture
def wsgi_server(transactional_db: None, tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path / "web.log", WSGI, NEURASCALE_INGEST_MAX_BYTES="4000000") as server:
        yield server


def test_a_body_in_chunks_is_read_and_so_is_one_in_gzip(wsgi_server):
    program = Program("operator")
    token = issue_tokens(program.client)["access_token"]

    def ask(path: str, body: bytes, **headers: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", wsgi_server.port, timeout=120)
        named = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        pieces = (body[at : at + 997] for at in range(0, len(body), 997))
        connection.request("POST", f"/v1/{path}", pieces, named | headers, encode_chunked=True)
        response = connection.getresponse()
        answer = response.status, orjson.loads(response.read())
        connection.close()
        return answer

    body = orjson.dumps({"name": "Cyton", "type": "openbci", "port": "/dev/a"})
    status, answer = ask("devices", body)
    assert status == 201, answer
    session = program.make_session(make_device())
    body = orjson.dumps(message(session, samples(2500)))
    status, answer = ask("ingest/neural-data", gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert status == 201, answer
    assert Block.objects.count() == 10
    status, answer = ask("ingest/neural-data", b" " * 5_000_000)
    assert (status, answer["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_chunks_whose_end_the_server_cannot_tell_are_refused_when_somebody_reads():
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"{}")}
    nothing = SimpleNamespace(seekable=lambda: False)  # as Django has it
    request = SimpleNamespace(META=environ, environ=environ, _stream=nothing)
    take_body(request)
    assert request.META["CONTENT_LENGTH"] == "1"
    with pytest.raises(LengthRequiredError, match="chunks"):
        request._stream.read()
