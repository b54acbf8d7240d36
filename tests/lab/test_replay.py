"""A real recording through the whole lab: file, converter, port, store, REST."""

import io
import os
import re

import numpy as np

from devices.virtual.replay import Recording
from tests.machine import S001R04
from tests.waiting import wait_until

# The whole file takes two minutes: NEURASCALE_TEST_REPLAY_SECONDS=125.
SECONDS = float(os.environ.get("NEURASCALE_TEST_REPLAY_SECONDS", "20"))


def test_a_replayed_recording_is_read_back_to_within_one_count(lab, plug_in):
    recording = Recording(S001R04, at_end="flat")
    device_id = plug_in(
        *("--replay", str(S001R04), "--replay-end", "flat"), settings={"mode": "marker"}
    )
    with lab.api() as api:
        session = api.post("sessions", json={"device_id": device_id}).raise_for_status().json()
        path = f"sessions/{session['session_id']}"
        assert session["status"] == "created"
        assert api.post(f"{path}/start").raise_for_status().json()["status"] == "active"
        wait_until(
            lambda: api.get(path).json()["duration_seconds"] >= SECONDS,
            seconds=SECONDS + 60,
            what=f"{SECONDS:g} s of recording",
        )
        ended = api.post(f"{path}/stop").raise_for_status().json()
        assert ended["status"] == "completed"

        facts = api.get(f"{path}/data", params={"tmax": 0.1}).raise_for_status().json()
        (segment,) = facts["segments"]
        data = np.load(io.BytesIO(api.get(f"{path}/data", params={"output": "npy"}).content))
        events = api.get(f"{path}/events", params={"limit": 100}).json()["events"]

    assert data.shape == (8, ended["data_points"])
    first = segment["stream_sample"]
    counts = recording.expected_counts()[:, first : first + data.shape[1]]
    scale_uv = 4.5 / 24 / (2**23 - 1) * 1e6  # ADS1299 data sheet, section 9.5.1, at gain 24
    n_times = counts.shape[1]
    assert n_times >= min(SECONDS * 250, recording.n_times) - first
    assert np.abs(data[:, :n_times] / scale_uv - counts).max() <= 1
    assert not np.isnan(data).any()

    expected = [
        (mark.sample - first, mark.value)
        for mark in recording.marks
        if first <= mark.sample < first + data.shape[1]
    ]
    assert len(expected) >= 3
    assert [(e["sample"], e["value"]) for e in events] == expected
    assert {e["source"] for e in events} == {"board"}
    assert all(re.fullmatch(r"evt_\w+", e["event_id"]) for e in events)
