import time

import msgpack
import numpy as np
import orjson
import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from ingest.broadcast import Broadcaster, announce
from ingest.models import Block
from neurascale.core.auth import issue_tokens
from neurascale.core.models import AuditEntry, Client
from sessions_app.services import create_client
from tests.ingest.factories import make_device
from tests.ingest.live import Live, sequences

SECONDS = 30


class Socket:
    def __init__(self, ws):
        self.ws = ws

    def say(self, **message):
        self.ws.send(orjson.dumps(message).decode())

    def hear(self):
        message = self.ws.recv(timeout=SECONDS)
        return orjson.loads(message) if isinstance(message, str) else msgpack.unpackb(message)

    def ask(self, **message):
        self.say(**message)
        return self.hear()

    def until(self, kind):
        while (message := self.hear())["type"] != kind:
            pass
        return message

    def data(self, n):
        found = []
        while len(found) < n:
            message = self.hear()
            if message["type"] == "data":
                found.append(message)
        return found

    def closed(self):
        """Read to the end and return the close code."""
        return self.end().code

    def end(self):
        """Read to the end and return the close frame."""
        with pytest.raises(ConnectionClosedError) as closed:
            self.until("nothing, for the end comes first")
        return closed.value.rcvd


@pytest.fixture
def open_socket(asgi_server):
    opened = []

    def open_one(*, token=None, query="", headers=None, **options):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = asgi_server.ws_url + query
        ws = connect(url, additional_headers=headers, compression=None, legacy=True, **options)
        opened.append(ws)
        return Socket(ws)

    yield open_one
    for ws in opened:
        ws.close()


def make_token(*scopes):
    made = create_client(name="program", scopes=scopes or ["devices:read", "sessions:write"])
    return issue_tokens(Client.objects.get(public_id=made.client_id))["access_token"]


@pytest.fixture
def live(asgi_server):
    return Live(filters={"notch": 60})


@pytest.fixture
def token(asgi_server):
    return make_token()


@pytest.fixture
def socket(open_socket, token):
    return open_socket(token=token)


def tell(live, n=1):
    broadcaster = Broadcaster(live.device_id)
    packets = live.packets(n)
    for packet in packets:
        broadcaster.packet(packet)
    broadcaster.close()
    return packets


# --- who is asking -------------------------------------------------------------------------------


def test_the_seed_documents_subscription_works_as_printed(socket, live):
    socket.ws.send(f'{{"type": "subscribe", "device_id": "{live.device_id}", "channels": [1, 2]}}')
    subscribed = socket.hear()
    assert subscribed["type"] == "subscribed"
    assert subscribed["stream_id"] == live.stream.public_id
    assert (subscribed["channels"], subscribed["format"]) == ([1, 2], "json")
    assert (subscribed["sample_rate"], subscribed["next_sequence"]) == (250.0, 0)
    assert len(subscribed["ch_names"]) == 2
    [packet] = tell(live)
    shown = socket.hear()
    assert {"type", "device_id", "timestamp", "samples", "sequence"} <= shown.keys()
    assert (shown["device_id"], shown["sequence"]) == (live.device_id, 0)
    np.testing.assert_array_equal(np.float32(shown["samples"]), packet.filtered.T)


def test_a_token_may_come_as_the_first_message(open_socket, token, live):
    socket = open_socket()
    socket.say(type="auth", token=token)
    assert socket.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"


def test_a_token_may_come_as_the_subprotocol_which_is_named_in_the_answer(open_socket, token, live):
    socket = open_socket(subprotocols=[f"neurascale.jwt.{token}"])
    assert socket.ws.subprotocol == f"neurascale.jwt.{token}"
    assert socket.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_in_the_url_is_refused(open_socket, token, name):
    socket = open_socket(token=token, query=f"?{name}={token}")
    assert socket.hear()["error"]["code"] == "INVALID_TOKEN"
    assert socket.closed() == 4401


@pytest.mark.parametrize("where", ["header", "subprotocol", "message"])
def test_a_bad_token_is_refused_wherever_it_is(open_socket, where):
    options = {
        "header": {"token": "nonsense"},
        "subprotocol": {"subprotocols": ["neurascale.jwt.nonsense"]},
        "message": {},
    }
    socket = open_socket(**options[where])
    if where == "message":
        socket.say(type="auth", token="nonsense")
    assert socket.hear()["error"]["code"] == "INVALID_TOKEN"
    end = socket.end()
    assert (end.code, end.reason) == (4401, "INVALID_TOKEN: That is no valid access token")


@pytest.mark.parametrize("text", ['{"type": "subscribe", "device_id": "dev_a"}', "no json"])
def test_nobody_is_told_anything_before_saying_who_it_is(open_socket, text):
    socket = open_socket()
    socket.ws.send(text)
    assert socket.hear()["type"] == "error"
    assert socket.closed() == 4401


def test_who_does_not_say_who_it_is_is_sent_away_after_ten_seconds(open_socket):
    socket = open_socket()
    began = time.monotonic()
    assert socket.closed() == 4408
    assert 9 < time.monotonic() - began < 20


@pytest.fixture
def cookie(asgi_server):
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada"))
    return "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())


def test_a_page_of_the_portal_uses_the_session(open_socket, asgi_server, cookie, live):
    socket = open_socket(headers={"Cookie": cookie}, origin=asgi_server.url)
    assert socket.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"


ORIGINS = ["https://evil.example", "http://127.0.0.1:1", "null", "file://", None]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_page_from_elsewhere_may_not_use_the_session(open_socket, cookie, live, origin):
    socket = open_socket(headers={"Cookie": cookie}, origin=origin)
    answer = socket.ask(type="subscribe", device_id=live.device_id)
    assert answer["error"]["code"] == "NOT_AUTHENTICATED"
    assert socket.closed() == 4401


@pytest.mark.parametrize("origin", ["https://analysis.example", "null", "file://"])
def test_a_page_from_elsewhere_or_from_a_file_may_use_a_token(open_socket, live, origin):
    socket = open_socket(
        subprotocols=[f"neurascale.jwt.{make_token('devices:read')}"], origin=origin
    )
    assert socket.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"


# --- what for ------------------------------------------------------------------------------------


def test_watching_needs_a_scope(open_socket, live):
    socket = open_socket(token=make_token("sessions:read"))
    answer = socket.ask(type="subscribe", device_id=live.device_id, id=7)
    assert (answer["error"]["code"], answer["id"]) == ("PERMISSION_DENIED", 7)
    details = answer["error"]["details"]  # those of REST
    assert (details["missing"], details["granted"]) == (["devices:read"], ["sessions:read"])
    assert details["suggestion"]
    assert socket.closed() == 4403


def test_a_new_token_that_may_not_watch_ends_what_is_watched(open_socket, live):
    socket = open_socket(token=make_token("devices:read"))
    assert socket.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"
    socket.say(type="auth", token=make_token("sessions:read"))
    assert socket.until("error")["error"]["details"]["missing"] == ["devices:read"]
    assert socket.closed() == 4403


def test_an_unknown_device_is_refused_in_the_seed_documents_words(socket):
    error = socket.ask(type="subscribe", device_id="dev_999")["error"]
    assert error.pop("request_id")
    assert error == {
        "code": "INVALID_DEVICE_ID",
        "message": "Device with ID 'dev_999' not found",
        "details": {
            "device_id": "dev_999",
            "suggestion": "Check device ID or register device first",
        },
    }
    assert socket.closed() == 4404


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"channels": [1, 9]}, "channels"),
        ({"channels": [0]}, "channels"),
        ({"channels": []}, "channels"),
        ({"channels": [1, 1]}, "channels"),
        ({"channels": "all"}, "channels"),
        ({"filtered": "yes"}, "filtered"),
        ({"format": "xml"}, "format"),
        ({"on_lag": "panic"}, "on_lag"),
        ({"after_sequence": 1.5}, "after_sequence"),
        ({"after_sequence": 99}, "after_sequence"),
    ],
)
def test_what_cannot_be_is_said_and_the_connection_stays(socket, live, asked, field):
    error = socket.ask(type="subscribe", device_id=live.device_id, **asked)["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert list(error["details"]["fields"]) == [field]
    assert socket.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"type": 1}', '{"type": "dance"}', b"\x80"])
def test_what_is_no_message_is_said_and_the_connection_stays(socket, text):
    socket.ws.send(text)
    assert socket.hear()["type"] == "error"
    assert socket.ask(type="ping")["type"] == "pong"


def test_a_ping_brings_the_servers_time(socket):
    before = time.time() * 1e3
    pong = socket.ask(type="ping", time=123.5, id="a")
    assert (pong["type"], pong["time"], pong["id"]) == ("pong", 123.5, "a")
    assert before <= pong["server_time"] <= time.time() * 1e3


def test_msgpack_brings_the_same_keys_in_binary_frames(socket, live):
    socket.ask(type="subscribe", device_id=live.device_id, format="msgpack", filtered=False)
    [packet] = tell(live)
    shown = socket.hear()
    samples = shown["samples"]
    assert samples["shape"] == [10, 2]
    data = np.frombuffer(samples["data"], samples["dtype"]).reshape(samples["shape"])
    np.testing.assert_array_equal(data, packet.data.T)


def test_after_sequence_brings_what_was_missed_and_then_what_is_new(socket, live):
    tell(live, 30)
    answer = socket.ask(type="subscribe", device_id=live.device_id, after_sequence=9)
    entry = AuditEntry.objects.get(verb="device.replay")
    assert (entry.object_id, entry.details) == (live.device_id, {"after_sequence": 9})
    assert answer["next_sequence"] == 10
    tell(live, 5)
    assert sequences(socket.data(25)) == list(range(10, 35))


def test_older_than_what_is_kept_begins_with_a_gap(socket, live):
    tell(live, 30)
    Block.objects.filter(stream=live.stream, sequence__lt=20).delete()
    socket.ask(type="subscribe", device_id=live.device_id, after_sequence=-1)
    gap = socket.hear()
    assert (gap["type"], gap["reason"]) == ("gap", "not_kept")
    assert (gap["from_sequence"], gap["to_sequence"]) == (0, 19)
    assert sequences(socket.data(10)) == list(range(20, 30))


def test_a_device_that_does_not_stream_tells_its_news_and_then_its_data(socket):
    device = make_device()
    subscribed = socket.ask(type="subscribe", device_id=device.public_id, channels=[2])
    assert (subscribed["stream_id"], subscribed["channels"]) == (None, [2])
    announce(device.public_id, "connected", {"firmware": "v3"})
    assert socket.hear() == {
        "type": "status",
        "device_id": device.public_id,
        "event": "connected",
        "data": {"firmware": "v3"},
    }
    tell(Live(device))
    assert socket.hear()["channels"] == [2]


def test_after_unsubscribing_nothing_comes(socket, live):
    socket.ask(type="subscribe", device_id=live.device_id)
    assert socket.ask(type="unsubscribe", device_id=live.device_id)["type"] == "unsubscribed"
    tell(live, 2)
    assert socket.ask(type="ping")["type"] == "pong"


def test_subscribing_again_replaces_what_was_before(socket, live):
    socket.ask(type="subscribe", device_id=live.device_id)
    socket.ask(type="subscribe", device_id=live.device_id, channels=[1])
    tell(live, 2)
    assert [m["channels"] for m in socket.data(2)] == [[1], [1]]


def test_a_client_that_watches_too_much_is_sent_away(open_socket, token, live, settings):
    for _ in range(settings.MAX_SUBSCRIPTIONS):
        watcher = open_socket(token=token)
        assert watcher.ask(type="subscribe", device_id=live.device_id)["type"] == "subscribed"
    last = open_socket(token=token)
    answer = last.ask(type="subscribe", device_id=live.device_id)
    assert answer["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert last.closed() == 4429


# --- markers -------------------------------------------------------------------------------------


def test_a_marker_is_acknowledged_with_its_sample_and_told_to_the_others(
    open_socket, token, socket, live
):
    packets = tell(live, 10)
    other = open_socket(token=token)
    for watcher in (socket, other):
        watcher.ask(type="subscribe", device_id=live.device_id)
    moment = packets[3].time_ns / 1e6 + 8  # two samples on
    said = {"type": "marker", "device_id": live.device_id, "label": "left", "value": {"n": 1}}
    answer = socket.ask(**said, timestamp=moment, id=5)
    assert (answer["type"], answer["id"]) == ("marker", 5)
    assert (answer["stream_id"], answer["sample"]) == (live.stream.public_id, 32)
    assert (answer["label"], answer["value"], answer["event_id"]) == ("left", {"n": 1}, None)
    told = other.until("marker")
    assert (told["sample"], told["label"], told["source"]) == (32, "left", "websocket")
    assert "event_id" not in told
    assert socket.ask(type="ping")["type"] == "pong"  # and not the marker once more


def test_a_marker_needs_a_scope_and_the_connection_stays(open_socket, live):
    socket = open_socket(token=make_token("devices:read"))
    answer = socket.ask(type="marker", device_id=live.device_id, label="left")
    assert answer["error"]["code"] == "PERMISSION_DENIED"
    details = answer["error"]["details"]
    assert (details["missing"], details["granted"]) == (["sessions:write"], ["devices:read"])
    assert socket.ask(type="ping")["type"] == "pong"


@pytest.mark.parametrize("said", [{}, {"label": ""}, {"label": "x", "timestamp": "now"}])
def test_a_marker_without_label_or_with_an_odd_time_is_refused(socket, live, said):
    answer = socket.ask(type="marker", device_id=live.device_id, **said)
    assert answer["error"]["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("timestamp", [32472144000000, 1e308, -1])
def test_a_marker_beyond_what_can_be_stored_says_between_which_years_it_may_be(
    socket, live, timestamp
):
    asked = {"device_id": live.device_id, "label": "x", "timestamp": timestamp}
    (told,) = socket.ask(type="marker", **asked)["error"]["details"]["fields"]["timestamp"]
    assert "between 1970 and 2200" in told
    assert socket.ask(type="ping")["type"] == "pong"


def test_a_device_without_a_stream_has_no_sample_to_mark(socket, asgi_server):
    answer = socket.ask(type="marker", device_id=make_device().public_id, label="left")
    assert answer["error"]["code"] == "DEVICE_NOT_STREAMING"
