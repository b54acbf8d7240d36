"""A program that runs a lab over REST: the board, a recording of it, and what can go wrong."""

import io
import json
import os

import numpy as np
import pyarrow as pa
import pytest
from websockets.sync.client import connect

from tests.waiting import wait_until


@pytest.fixture
def api(lab):
    with lab.api() as client:
        yield client


def good(response):
    assert response.is_success, f"{response.status_code} {response.text}"
    return response.json()


def error(response, status):
    assert response.status_code == status, response.text
    return response.json()["error"]


def test_a_board_is_connected_streams_and_is_disconnected(api, plug_in):
    device = f"devices/{plug_in()}"
    assert good(api.get(f"{device}/status"))["connected"] is False
    connected = good(api.post(f"{device}/connect"))
    assert connected["status"] == "connected"
    assert good(api.get(device))["board_info"]["firmware"] == "3.1.2"

    wanted = {"channels": [1, 3], "sample_rate": 250, "filters": {"notch": 50}}
    started = good(api.post(f"{device}/stream/start", json=wanted))
    again = good(api.post(f"{device}/stream/start", json=wanted))
    assert started["stream_id"] == again["stream_id"]
    assert error(api.post(f"{device}/stream/start", json={"channels": [2]}), 409)["code"] == (
        "STREAM_ALREADY_RUNNING"
    )
    status = good(api.get(f"{device}/status"))
    assert (status["streaming"], status["stream"]["channels"]) == (True, [1, 3])

    assert good(api.post(f"{device}/stream/stop"))["streaming"] is False
    assert good(api.post(f"{device}/disconnect"))["status"] == "disconnected"
    assert good(api.get(f"{device}/status"))["connected"] is False


def test_a_session_is_recorded_paused_marked_and_read_in_three_forms(lab, api, plug_in):
    device_id = plug_in()
    good(api.post(f"devices/{device_id}/stream/start", json={}))
    session = good(api.post("sessions", json={"device_id": device_id, "subject_id": "S01"}))
    assert session["status"] == "active"
    path = f"sessions/{session['session_id']}"

    def points():
        return good(api.get(path))["data_points"]

    wait_until(lambda: points() >= 250, what="a second of recording")
    told = good(api.post(f"{path}/events", json={"label": "eyes closed", "value": 1}))
    good(api.post(f"{path}/pause"))
    paused_at = points()
    with connect(
        lab.ws_url, additional_headers={"Authorization": api.headers["Authorization"]}
    ) as ws:
        ws.send(json.dumps({"type": "subscribe", "device_id": device_id}))
        sequences = []
        while len(sequences) < 25:  # a second of the board, which the pause leaves out
            message = json.loads(ws.recv(timeout=30))
            if message["type"] == "data":
                sequences.append(message["sequence"])
        assert sequences == list(range(sequences[0], sequences[0] + 25))
        assert points() == paused_at
        good(api.post(f"{path}/resume"))
        wait_until(lambda: points() >= paused_at + 125, what="half a second more")
        ws.send(json.dumps({"type": "marker", "device_id": device_id, "label": "cue"}))
        while (marker := json.loads(ws.recv(timeout=30)))["type"] != "marker":
            pass
    ended = good(api.post(f"{path}/stop"))
    assert ended["status"] == "completed"
    n_times = ended["data_points"]
    assert ended["duration_seconds"] == pytest.approx(n_times / 250)

    parts, start = [], 0
    while start is not None:
        page = good(api.get(f"{path}/data", params={"start": start}))
        parts.append(np.array(page["eeg"], np.float32))
        start = page.get("next_sample")
    as_json = np.concatenate(parts, axis=1)
    as_npy = np.load(io.BytesIO(api.get(f"{path}/data", params={"output": "npy"}).content))
    arrow = pa.ipc.open_stream(api.get(f"{path}/data", params={"output": "arrow"}).content)
    table = arrow.read_all()
    assert as_npy.shape == (8, n_times)
    assert np.allclose(as_json, as_npy, rtol=1e-6)
    assert table.num_rows == n_times
    names = good(api.get(f"{path}/data", params={"tmax": 0.1}))["ch_names"]
    assert np.array_equal(np.stack([table[name].to_numpy() for name in names]), as_npy)

    segments = good(api.get(f"{path}/data", params={"tmin": 0}))["segments"]
    assert len(segments) == 2
    assert sum(segment["n_samples"] for segment in segments) == n_times
    events = good(api.get(f"{path}/events"))["events"]
    assert [event["label"] for event in events] == ["eyes closed", "cue"]
    assert events[0]["event_id"] == told["event_id"]
    assert events[1]["event_id"] == marker["event_id"]
    assert 0 < events[0]["sample"] < segments[0]["n_samples"] < events[1]["sample"] < n_times


def test_a_port_that_is_not_there_or_not_free_is_told_with_what_to_do(lab, api, plug_in):
    missing = {"name": "Missing", "type": "openbci", "port": str(lab.home / "run" / "nothing")}
    device = good(api.post("devices", json=missing))["device_id"]
    told = error(api.post(f"devices/{device}/connect"), 503)
    assert told["code"] == "DEVICE_UNAVAILABLE"
    assert "nothing" in told["message"]
    assert told["details"]["suggestion"]
    assert good(api.get(f"devices/{device}/status"))["error"]["message"] == told["message"]

    first = plug_in()
    good(api.post(f"devices/{first}/stream/start", json={}))
    port = good(api.get(f"devices/{first}"))["port"]
    second = {"name": "The same again", "type": "openbci", "port": os.path.realpath(port)}
    device = good(api.post("devices", json=second))["device_id"]
    told = error(api.post(f"devices/{device}/stream/start", json={}), 503)
    assert told["code"] == "DEVICE_UNAVAILABLE"
    assert told["details"]["suggestion"]


def test_a_board_that_is_unplugged_and_plugged_in_again_goes_on_with_a_gap(api, plug_in):
    device_id = plug_in("--faults", "unplug=2+2")
    stream = good(api.post(f"devices/{device_id}/stream/start", json={}))["stream_id"]
    session = good(api.post("sessions", json={"device_id": device_id}))["session_id"]

    def gaps():
        return good(api.get(f"sessions/{session}/data", params={"tmax": 60}))["gaps"]

    wait_until(gaps, what="the gap after the replug")
    status = good(api.get(f"devices/{device_id}/status"))
    assert status["stream"]["stream_id"] == stream
    good(api.post(f"sessions/{session}/stop"))
    (gap,) = gaps()
    assert 1.5 * 250 <= gap["n_samples"] <= 10 * 250
    data = np.load(
        io.BytesIO(api.get(f"sessions/{session}/data", params={"output": "npy"}).content)
    )
    missing = np.isnan(data).all(axis=0)
    assert missing.sum() == gap["n_samples"]
    assert missing[gap["first_sample"]]
