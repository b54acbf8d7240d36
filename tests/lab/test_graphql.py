"""GraphQL of a whole lab: the guide, sent as it is printed, and live packets of a board."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import orjson
import pytest

from tests.graphql.sockets import NEW, OLD, open_socket
from tests.machine import ROOT

GUIDE = ROOT / "docs" / "graphql.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = FENCE.findall(GUIDE.read_text(encoding="utf-8"))
RESUMED = """subscription($id: ID!, $after: Long) {
    neuralData(deviceId: $id, afterSequence: $after, filtered: false) {
        sequence firstSample channels samples gap { reason } } }"""


@pytest.fixture
def api(lab):
    with lab.api() as client:
        yield client


class Reader:
    """Goes through the guide with ids that there are."""

    def __init__(self, lab, api, device_id):
        self.lab, self.api = lab, api
        self.token = api.headers["Authorization"].removeprefix("Bearer ")
        study, *_ = api.get("studies").json()["studies"]
        self.ids = {"dev_123": device_id, "study_789": study["study_id"]}
        self.last = None

    def filled(self, example):
        texts = {
            **self.ids,
            "YOUR_JWT_TOKEN": self.token,
            "127.0.0.1:8000": f"127.0.0.1:{self.lab.port}",
        }
        for printed, real in texts.items():
            example = example.replace(printed, real)
        return example

    def bash(self, example):
        if shutil.which("curl") is None:
            pytest.skip("there is no curl here")
        told = subprocess.run(["bash", "-c", example], check=True, stdout=subprocess.PIPE).stdout
        assert orjson.loads(told)["data"]["device"]["currentStatus"]

    def python(self, example):
        told = subprocess.run(
            [sys.executable, "-c", example], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()
        numbers = [int(line.split()[0]) for line in told]
        assert numbers == list(range(numbers[0], numbers[0] + 10))

    def graphql(self, example):
        if example.startswith("subscription"):
            self.subscription(example)
            return
        answer = self.api.post(f"{self.lab.url}/graphql", json={"query": example})
        assert answer.status_code == 200, answer.text
        self.last = answer.json()
        if "dev_999" not in example:
            assert "errors" not in self.last, self.last
            made = self.last["data"].get("createSession")
            if made:
                assert made["status"] == "active"
                self.ids["sess_456"] = made["sessionId"]

    def subscription(self, example):
        if "sessionUpdates" in example:  # there has to be one
            wanted = {"device_id": self.ids["dev_123"]}
            assert self.api.post("sessions", json=wanted).json()["status"] == "active"
        for protocol in (NEW, OLD):
            socket = open_socket(self.lab, protocol)
            assert socket.init({"Authorization": f"Bearer {self.token}"})["type"] == (
                "connection_ack"
            )
            socket.start(example)
            (told,) = socket.next().values()
            assert told.get("samples") or told["event"] is None
            socket.ws.close()

    def json(self, example):
        told = self.last
        told["errors"][0]["extensions"]["requestId"] = "req_…"
        assert told == orjson.loads(example)


def test_every_example_of_the_guide_works_as_printed(lab, api, plug_in):
    reader = Reader(lab, api, plug_in())
    assert {kind for kind, _ in EXAMPLES} == {"bash", "graphql", "python", "json"}
    for kind, example in EXAMPLES:
        getattr(reader, kind)(reader.filled(example))


@pytest.mark.parametrize("protocol", [NEW, OLD], ids=lambda protocol: protocol.name)
def test_a_boards_packets_are_resumed_without_loss_and_without_repetition(
    lab, api, plug_in, protocol
):
    device_id = plug_in()
    api.post(f"devices/{device_id}/stream/start", json={}).raise_for_status()
    token = api.headers["Authorization"].removeprefix("Bearer ")
    seen = []
    for _ in range(4):
        socket = open_socket(lab, protocol)
        socket.init({"token": token})
        after = seen[-1]["sequence"] if seen else -1
        socket.start(RESUMED, id=device_id, after=after)
        seen += [socket.next()["neuralData"] for _ in range(30)]
        socket.ws.close()
    assert [packet["sequence"] for packet in seen] == list(range(120))
    assert all(packet["gap"] is None for packet in seen)
    place = 0
    for packet in seen:
        assert packet["firstSample"] == place
        assert {len(row) for row in packet["samples"]} == {8}
        place += len(packet["samples"])


def test_a_recording_is_made_watched_and_ended_over_graphql(lab, api, plug_in):
    device_id = plug_in()

    def ask(query, **variables):
        body = {"query": query, "variables": variables}
        told = api.post(f"{lab.url}/graphql", json=body).json()
        assert "errors" not in told, told
        return told["data"]

    connected = ask(
        "mutation($id: ID!) { connectDevice(id: $id) { status boardInfo } }", id=device_id
    )
    assert connected["connectDevice"]["status"] == "connected"
    assert connected["connectDevice"]["boardInfo"]["firmware"] == "3.1.2"
    made = ask(
        "mutation($id: ID!) { createSession(input: {deviceId: $id}) { id status } }", id=device_id
    )["createSession"]
    assert made["status"] == "created"

    socket = open_socket(lab, NEW)
    socket.init({"Authorization": api.headers["Authorization"]})
    socket.start(
        "subscription($id: ID!) { sessionUpdates(sessionId: $id) { event session { status } } }",
        id=made["id"],
    )
    heard = [socket.next()["sessionUpdates"]]
    steps = {"start": "active", "pause": "paused", "resume": "active", "stop": "completed"}
    for step, status in steps.items():
        mutation = f"mutation($id: ID!) {{ told: {step}Session(id: $id) {{ status }} }}"
        assert ask(mutation, id=made["id"])["told"]["status"] == status
        heard.append(socket.next()["sessionUpdates"])
    socket.ws.close()
    assert [news["event"] for news in heard] == [
        None,
        *("recording_started", "recording_stopped", "recording_started", "recording_stopped"),
    ]
    assert heard[-1]["session"]["status"] == "completed"
    stopped = ask(
        "mutation($id: ID!) { stopStream(deviceId: $id) { streaming sessionId } }", id=device_id
    )
    assert stopped["stopStream"] == {"streaming": False, "sessionId": None}
    gone = ask("mutation($id: ID!) { disconnectDevice(id: $id) { status } }", id=device_id)
    assert gone["disconnectDevice"]["status"] == "disconnected"
