"""Every request of docs/api-documentation.md, sent to a running lab as it is printed.

Over a real socket, to the lab that `make run` starts, with a virtual Cyton that streams. Only ids,
secrets and the dots in ``[0.1, 0.2, ...]`` are replaced. An answer must have every field that is
printed, in the printed kind and format, and the printed value where the request determines it.
`LEFT_OUT` names what is not sent, and why; nothing else may be missing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import connect

from neurascale.core.openapi.examples import seed_examples
from sessions_app.services import create_client
from tests.lab.board import Board
from tests.lab.running import Lab
from tests.machine import ROOT
from tests.seed import block, differences, from_javascript, printed
from tests.waiting import wait_until
from tests.web import Server

SENT = {
    "Base URL",
    "Authentication",
    "Obtaining a Token",
    "List Devices",
    "Get Device Status",
    "Connect Device",
    "Start Streaming",
    "Ingest Neural Data",
    "Create Session",
    "Get Session Data",
    "WebSocket API",
    "Streaming Neural Data",
    "Data Packet",
    "Status Update",
    "Error Response Format",
    "Rate Limiting",
}
PLANNED = {
    "Run Inference": "the issue of the models",
    "Apply Filters": "the issue of processing",
    "List Datasets": "the issue of the datasets",
    "Create Dataset": "the issue of the datasets",
}
LEFT_OUT = {"Python Example": "the issue of the SDKs"}
CODES = {
    200: "List Devices",
    201: "Create Session",
    400: "Start Streaming, with a channel that the board has not",
    401: "List Devices, without a token",
    403: "Connect Device, by a client that may only look",
    404: "Get Device Status, of dev_999",
    429: "Rate Limiting",
    500: "a bug: tests/openapi/test_reach.py puts one into every operation",
}
JSON = "application/json"


@dataclass
class Story:
    """The document from its beginning to its end: who asks, about what, and what was answered."""

    lab: Lab
    api: httpx.Client
    device_id: str = ""
    answers: dict[str, httpx.Response] = field(default_factory=dict)

    def send(self, heading: str, body: Any = None, **ids: str) -> Any:
        """Send the request under a heading, with real ids, and keep the answer."""
        example = printed(heading)
        path = example.path.format(**{"device_id": self.device_id, **ids})
        answer = self.api.request(example.method, path.removeprefix("/"), json=body)
        self.answers[heading] = answer
        assert answer.is_success, answer.text
        return answer.json()

    def body(self, heading: str, **ids: str) -> Any:
        """Return a copy of the body of a request, with real ids."""
        return deepcopy(printed(heading).request) | ids


@pytest.fixture(scope="module")
def story(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Send the document's requests in its order; the tests look at the answers."""
    folder = tmp_path_factory.mktemp("seed")
    board = Board(folder / "board", folder / "truth")
    with lab.api() as api:
        told = Story(lab, api)
        new = {"name": "OpenBCI Cyton", "type": "openbci", "port": str(folder / "board")}
        told.device_id = api.post("devices", json=new).raise_for_status().json()["device_id"]
        told.send("Connect Device")
        told.send("List Devices")
        told.send("Start Streaming", told.body("Start Streaming"))
        wait_until(
            lambda: told.send("Get Device Status")["signal_quality"]["overall"],
            what="the first verdict on the signal",
        )
        told.send("Create Session", told.body("Create Session", device_id=told.device_id))
        ingest(told)
        yield told
        api.post(f"devices/{told.device_id}/disconnect").raise_for_status()
    board.stop()


def ingest(told: Story) -> None:
    """Send neural data to a session of another device, and read that session."""
    other = {"name": "Elsewhere", "type": "openbci", "port": "/dev/elsewhere"}
    device_id = told.api.post("devices", json=other).raise_for_status().json()["device_id"]
    made = told.api.post("sessions", json={"device_id": device_id}).raise_for_status().json()
    ids = {"device_id": device_id, "session_id": made["session_id"]}
    body = told.body("Ingest Neural Data", **ids)
    eeg = body["data"]["eeg"]
    assert eeg == [[0.1, 0.2], [0.15, 0.25]]
    eeg += [eeg[0]] * (body["data"]["channels"] - len(eeg))  # the channels the dots stand for
    told.send("Ingest Neural Data", body)
    # A whole second, so that its quality can be told.
    second = told.body("Ingest Neural Data", **ids, timestamp="2025-07-26T10:30:00.008Z")
    second["data"]["eeg"] = [[float(n % 7) for n in range(248)]] * 8
    told.send("Ingest Neural Data", second)
    told.send("Get Session Data", session_id=made["session_id"])


@pytest.fixture
def viewer(lab: Lab) -> dict[str, str]:
    """Id and secret of a client that may only look."""
    made: dict[str, str] = json.loads(
        lab.manage("create_client", "--name", "viewer", "--scopes", "viewer", "--json")
    )
    return {name: made[name] for name in ("client_id", "client_secret")}


def headers_for(lab: Lab | Server, client: dict[str, str]) -> dict[str, str]:
    body = deepcopy(printed("Obtaining a Token").request) | client
    answer = httpx.post(f"{lab.url}/v1/auth/token", json=body).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def check_headers(answer: httpx.Response) -> None:
    assert answer.headers["Content-Type"] == JSON
    assert answer.headers["X-Request-ID"].startswith("req_")


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the error in the envelope as it is printed."""
    assert answer.status_code == status, answer.text
    check_headers(answer)
    error: dict[str, Any] = answer.json()["error"]
    assert printed("Error Response Format").response["error"].keys() <= error.keys()
    assert error["request_id"] == answer.headers["X-Request-ID"]
    return error


# --- Nothing is forgotten ------------------------------------------------------------------------


def test_nothing_in_the_document_is_left_out_without_a_reason():
    assert {example.heading for example in seed_examples()} == SENT | {*PLANNED, *LEFT_OUT}


def test_every_code_of_the_document_is_answered_somewhere():
    text = (ROOT / "docs" / "api-documentation.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^- `(\d{3}) ", text, re.MULTILINE)} == set(CODES)


# --- As printed ----------------------------------------------------------------------------------


def test_the_base_url_ends_with_the_version(lab):
    assert urlsplit(block("Base URL").strip()).path == "/v1"
    assert urlsplit(block("WebSocket API").strip()).path == urlsplit(lab.ws_url).path


def test_a_token_is_obtained_and_shown_as_printed(lab, viewer):
    request = printed("Obtaining a Token")
    assert (request.method, request.path) == ("POST", "/auth/token")
    assert "Content-Type: application/json" in block("Obtaining a Token", "bash")
    answer = httpx.post(f"{lab.url}/v1{request.path}", json=request.request | viewer)
    assert answer.status_code == 200
    check_headers(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["token_type"] == "Bearer"

    command = shlex.split(block("Authentication", "bash").replace("\\\n", ""))
    assert command[:2] == ["curl", "-H"]
    name, value = command[2].split(": ")
    value = value.replace("YOUR_JWT_TOKEN", answer.json()["access_token"])
    path = urlsplit(command[3]).path
    assert httpx.get(f"{lab.url}{path}", headers={name: value}).status_code == 200
    assert error_of(httpx.get(f"{lab.url}{path}"), 401)["code"] == "NOT_AUTHENTICATED"


def test_devices_are_listed_as_printed(story):
    answer = story.answers["List Devices"]
    shown = printed("List Devices").response
    assert answer.status_code == 200
    check_headers(answer)
    assert differences(shown, answer.json()) == []
    [device] = [d for d in answer.json()["devices"] if d["device_id"] == story.device_id]
    expected = shown["devices"][0] | {"device_id": story.device_id}
    assert {name: device[name] for name in expected} == expected


def test_the_status_of_a_device_is_as_printed(story):
    answer = story.answers["Get Device Status"]
    shown = printed("Get Device Status").response
    assert answer.status_code == 200
    check_headers(answer)
    status = answer.json()
    assert differences(shown, status) == []
    assert (status["device_id"], status["connected"], status["streaming"]) == (
        story.device_id,
        shown["connected"],
        shown["streaming"],
    )
    assert [c["channel"] for c in status["signal_quality"]["channels"]] == [1, 2, 3, 4]
    assert isinstance(status["uptime_seconds"], int)
    assert status["battery_level"] is None  # a Cyton has no gauge


def test_a_device_is_connected_as_printed(story):
    answer = story.answers["Connect Device"]
    assert (answer.request.method, answer.status_code) == ("POST", 200)
    check_headers(answer)
    assert (answer.json()["device_id"], answer.json()["status"]) == (story.device_id, "connected")


def test_a_stream_is_started_as_printed(story):
    answer = story.answers["Start Streaming"]
    asked = printed("Start Streaming").request
    assert (answer.request.method, answer.status_code) == ("POST", 200)
    check_headers(answer)
    assert {name: answer.json()[name] for name in asked} == asked


def test_neural_data_is_ingested_as_printed(story):
    answer = story.answers["Ingest Neural Data"]
    shown = printed("Ingest Neural Data").response
    assert answer.status_code == 201
    check_headers(answer)
    assert differences(shown, answer.json()) == []
    assert answer.json()["status"] == shown["status"]
    assert isinstance(answer.json()["processing_time_ms"], int)
    sent, kept = printed("Ingest Neural Data").request["metadata"], answer.json()["metadata"]
    assert {**kept, "subject_id": sent["subject_id"]} == sent
    # A pseudonym: what the study calls the person is not kept.
    assert kept["subject_id"].startswith("subj_")


def test_a_session_is_created_as_printed(story):
    answer = story.answers["Create Session"]
    asked = printed("Create Session").request
    assert answer.status_code == 201
    check_headers(answer)
    made = answer.json()
    assert differences(printed("Get Session Data").response, made) == []
    assert made["device_id"] == story.device_id
    assert made["status"] == "active"  # its device streams
    for name in ("experiment_type", "duration_minutes"):
        assert made[name] == asked[name]
    # A pseudonym: what the study calls the person is not kept.
    assert made["subject_id"].startswith("subj_")


def test_a_session_is_read_as_printed(story):
    answer = story.answers["Get Session Data"]
    shown = printed("Get Session Data").response
    assert answer.status_code == 200
    check_headers(answer)
    read = answer.json()
    assert differences(shown, read) == []
    assert read["status"] == shown["status"]
    assert (read["duration_seconds"], read["data_points"]) == (1, 250)
    # As printed: half an hour at 250 Hz is 450000, a sample of all channels being one point.
    assert shown["data_points"] == shown["duration_seconds"] * 250
    assert None not in read["quality_metrics"].values()


# --- WebSocket -----------------------------------------------------------------------------------


def test_the_javascript_example_hears_packets_and_news_as_printed(story):
    code = block("Streaming Neural Data", "javascript")
    asked = from_javascript(re.search(r"JSON\.stringify\((\{.*?\})", code, re.DOTALL)[1])
    used = set(re.findall(r"packet\.(\w+)", code))
    shown = printed("Data Packet").response
    assert used <= shown.keys()
    with connect(story.lab.ws_url, additional_headers=dict(story.api.headers)) as ws:
        ws.send(json.dumps(asked | {"device_id": story.device_id}))
        packets = [hear(ws, "data") for _ in range(3)]
        story.api.post(f"devices/{story.device_id}/stream/stop").raise_for_status()
        # The verdict on the signal may change at any moment.
        while (status := hear(ws, "status"))["event"] == "signal_quality":
            pass
    for packet in packets:
        assert differences(shown, packet) == []
        assert {len(row) for row in packet["samples"]} == {len(asked["channels"])}
        assert packet["timestamp"] > shown["timestamp"]  # milliseconds since the epoch
    numbers = [packet["sequence"] for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    # No board measures impedance yet: what is said of one is another issue's.
    printed_status = printed("Status Update").response
    assert differences(printed_status | {"data": {}}, status) == []
    assert status["event"] in {"streaming_stopped", "recording_stopped"}


def hear(ws: Any, kind: str) -> dict[str, Any]:
    """Return the next message of a type."""
    while (message := json.loads(ws.recv(timeout=30)))["type"] != kind:
        pass
    return dict(message)


# --- Errors and limits ---------------------------------------------------------------------------


def test_an_error_is_as_printed(story):
    shown = printed("Error Response Format").response["error"]
    error = error_of(story.api.get("devices/dev_999/status"), 404)
    assert {name: error[name] for name in shown} == shown


def test_an_invalid_request_is_told_in_the_same_form(story):
    body = story.body("Start Streaming", channels=[9])
    error = error_of(story.api.post(f"devices/{story.device_id}/stream/start", json=body), 400)
    assert (error["code"], list(error["details"]["fields"])) == ("VALIDATION_ERROR", ["channels"])


def test_who_may_only_look_is_forbidden_to_connect(story, viewer):
    url = f"{story.lab.url}/v1{printed('Connect Device').path}".format(device_id=story.device_id)
    answer = httpx.post(url, headers=headers_for(story.lab, viewer))
    assert error_of(answer, 403)["code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("heading", PLANNED)
def test_what_belongs_to_another_issue_is_not_found_and_no_page(story, heading):
    request = printed(heading)
    path = request.path.format(model_id="mdl_123").removeprefix("/")
    answer = story.api.request(request.method, path, json=request.request)
    assert error_of(answer, 404)["code"] == "NOT_FOUND"


def test_the_headers_of_the_rate_limit_are_as_printed(asgi_server):
    # A server with the limits that are the default; the lab of the tests has none to speak of.
    names = [line.partition(": ")[::2] for line in block("Rate Limiting").splitlines() if line]
    viewer = create_client(name="viewer", scopes=["viewer"])
    secret = {"client_id": viewer.client_id, "client_secret": viewer.client_secret}
    url, headers = f"{asgi_server.url}/v1/devices", headers_for(asgi_server, secret)
    with httpx.Client(headers=headers) as client:
        first, second = client.get(url), client.get(url)
        assert all(name in first.headers for name, _ in names)
        limit = int(dict(names)["X-RateLimit-Limit"])
        assert int(first.headers["X-RateLimit-Limit"]) == limit
        left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in (first, second)]
        assert left[0] - left[1] == 1
        for _ in range(left[1]):
            client.get(url)
        refused = client.get(url)
        assert error_of(refused, 429)["code"] == "RATE_LIMIT_EXCEEDED"
        assert int(refused.headers["X-RateLimit-Remaining"]) == 0
        assert int(refused.headers["Retry-After"]) > 0
