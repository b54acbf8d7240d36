"""What is sent is data: it reaches no SQL, no header, no file, and breaks nothing.

Each hostile text is put wherever a caller may put one. Asked is that the answer is an ordinary one
(no 5xx, always JSON), and that nothing came of it.
"""

from __future__ import annotations

import http.client
import re
from urllib.parse import quote

import pytest

from devices.models import Device
from neurascale.core.models import Client
from sessions_app.models import Session, Study
from tests.ingest.rest import Program
from tests.routes import api_routes, paths

HOSTILE = [
    "' OR '1'='1",
    "'; DROP TABLE core_client; --",
    '" OR ""="',
    "1) UNION SELECT secret_hash FROM core_client --",
    "%27%20OR%201=1",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "file:///etc/passwd",
    "x\r\nSet-Cookie: a=b",
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}",
    "\u202e\ufeff\ud7ff",
    "a" * 5000,
    "__class__",
    "device__host",
    "-",
    "",
]
READS = [route.path for route in api_routes() if route.method == "GET"]


@pytest.fixture
def program(db, settings) -> Program:
    settings.ANSWER_SECONDS = 0.05
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/hour")
    return Program("admin")


@pytest.fixture
def counted():
    """Return what there is, to see that it is still there."""
    return lambda: [model.objects.count() for model in (Client, Device, Session, Study)]


def is_ordinary(answer) -> bool:
    kind = answer.get("Content-Type", "")
    return answer.status_code < 500 and (answer.status_code == 304 or "json" in kind)


@pytest.mark.parametrize("path", [path for path in READS if "<" in path])
def test_an_id_is_only_looked_up(program, path):
    for text in filter(None, HOSTILE):
        url = re.sub(r"<\w+:\w+>", quote(text, safe=""), path)
        answer = program.http.get(f"/v1/{url}")
        assert answer.status_code in {400, 404, 414}, (text, answer.content[:200])
        assert is_ordinary(answer), text
        assert "Set-Cookie" not in answer


LISTS = [path for path in paths() if getattr(path.view, "filter_fields", None) is not None]
OPEN_LISTS = [path for path in LISTS if "<" not in path.path and path.actions.get("get") == "list"]


@pytest.mark.parametrize("listing", OPEN_LISTS, ids=str)
def test_filters_orders_searches_and_cursors_are_only_compared(program, counted, listing):
    before = counted()
    names = [*listing.view.filter_fields, "search", "ordering", "limit", "cursor", "public_id"]
    for place, name in enumerate(names):
        for text in HOSTILE[place % 3 :: 3]:  # each text under a third of the names
            answer = program.http.get(f"/{listing.path}", {name: text})
            assert answer.status_code in {200, 400, 404, 414}, (name, text, answer.content[:200])
            assert is_ordinary(answer), (name, text)
    assert counted() == before


def test_a_filter_cannot_reach_into_another_table(program):
    for name in ("members__secret_hash", "device__port", "pk", "id", "secret_hash"):
        for path in OPEN_LISTS:
            answer = program.http.get(f"/{path.path}", {name: "x"})
            assert answer.status_code == 400, (path, name)
            ordered = program.http.get(f"/{path.path}", {"ordering": name})
            assert ordered.status_code == 400, (path, name)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_in_bodies_come_back_as_they_were_sent_or_are_refused(program, counted, text):
    before = counted()
    bodies = {
        "devices": {"name": text, "type": "openbci", "port": f"/dev/tty{abs(hash(text)) % 999}"},
        "studies": {"name": text},
        "clients": {"name": text, "scopes": ["viewer"]},
        "sessions": {"device_id": text, "experiment_type": text, "subject_id": text},
    }
    for path, body in bodies.items():
        answer = program.post(path, body)
        assert answer.status_code in {201, 400, 404, 409}, (path, answer.content[:200])
        if answer.status_code == 201 and "name" in body:
            assert answer.json()["name"] == text.strip()
    assert all(now >= then for now, then in zip(counted(), before, strict=True))


@pytest.mark.parametrize(
    "port",
    ["spy:///tmp/x?file=/tmp/y", "loop://", "hwgrep://.*", "alt:///dev/x", "file:///etc/passwd"],
)
def test_a_port_is_no_url_that_opens_something_else(program, port):
    body = {"name": "x", "type": "openbci", "port": port}
    answer = program.post("devices", body)
    assert answer.status_code == 400
    assert "port" in answer.json()["error"]["details"]["fields"]


@pytest.mark.parametrize(
    "name", ["X-Request-ID", "Idempotency-Key", "If-None-Match", "If-Match", "Accept", "Origin"]
)
@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_headers_are_only_read(program, name, text):
    for method in ("get", "post"):
        answer = getattr(program.http, method)(
            "/v1/devices",
            **({} if method == "get" else {"data": "{}", "content_type": "application/json"}),
            headers={name: text},
        )
        assert answer.status_code in {200, 400, 406, 409}, (name, text, answer.content[:200])
        assert "\n" not in "".join(answer.headers.values())
        assert "Set-Cookie" not in answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/devices\r\nX: y HTTP/1.1",
        b"GET /v1/devices HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
        b"GET /v1/../../etc/passwd HTTP/1.1",
        b"GET /static/../manage.py HTTP/1.1",
        b"GET /static/%2e%2e/%2e%2e/manage.py HTTP/1.1",
        b"GET /static//etc/passwd HTTP/1.1",
        b"\x00\x01\x02\x03",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1",
    ],
    ids=lambda line: repr(line[:40]),
)
def test_what_is_no_request_ends_its_connection_and_nothing_else(asgi_server, line):
    connection = http.client.HTTPConnection("127.0.0.1", asgi_server.port, timeout=30)
    connection.connect()
    connection.sock.sendall(line + b"\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    said = b""
    try:
        while more := connection.sock.recv(65536):
            said += more
    except ConnectionError:
        pass
    assert not said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 5"))
    assert b"root:" not in said
    assert b"DJANGO_SETTINGS_MODULE" not in said
    connection.close()
    again = http.client.HTTPConnection("127.0.0.1", asgi_server.port, timeout=30)
    again.request("GET", "/v1/devices")
    assert again.getresponse().status == 401
    again.close()
