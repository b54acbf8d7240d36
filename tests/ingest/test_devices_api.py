"""Devices at work over REST: what the status says, and what a board cannot do.

Connecting and streaming need a worker and a board: see tests/lab.
"""

from __future__ import annotations

import pytest
from django.utils import timezone

from devices.models import Device
from ingest.models import Gap, Stream
from neurascale.core.models import AuditEntry
from sessions_app.models import Session
from tests.ingest.factories import make_device, make_stream
from tests.ingest.rest import Program, error_of, fields_of

pytestmark = pytest.mark.django_db

ACTIONS = ("connect", "disconnect", "stream/start", "stream/stop")


@pytest.fixture(autouse=True)
def _nobody_waits_long(settings):
    settings.ANSWER_SECONDS = 0.05  # not 0, which Celery takes for no limit


@pytest.fixture
def program() -> Program:
    return Program("operator")


def streaming(**fields) -> Stream:
    return make_stream(
        make_device(status=Device.Status.STREAMING), state=Stream.State.RUNNING, **fields
    )


def test_a_silent_device_says_null_where_nothing_was_measured(program):
    device = make_device()
    status = program.get(f"devices/{device.public_id}/status").json()
    assert status["connected"] is status["streaming"] is False
    assert status["battery_level"] is None
    assert status["signal_quality"]["overall"] is None
    assert status["signal_quality"]["channels"][7] == {
        "channel": 8,
        "impedance": None,
        "quality": None,
        "reason": None,
        "measured_at": None,
    }
    assert status["uptime_seconds"] == 0
    assert status["stream"] is status["session_id"] is status["samples_lost"] is None


def test_a_streaming_device_says_how_its_signal_is_and_what_it_lost(program):
    quality = {"overall": "fair", "channels": ["good", "fair"], "reasons": [None, "noisy"]}
    stream = streaming(quality=quality)
    Gap.objects.create(stream=stream, first_sample=3, n_times=7, reason="lost")
    status = program.get(f"devices/{stream.device.public_id}/status").json()
    assert status["connected"] is status["streaming"] is True
    assert status["signal_quality"]["overall"] == "fair"
    words = [
        (c["channel"], c["quality"], c["reason"]) for c in status["signal_quality"]["channels"]
    ]
    assert words == [(1, "good", None), (2, "fair", "noisy")]
    assert status["stream"]["stream_id"] == stream.public_id
    assert status["stream"]["channels"] == [1, 2]
    assert status["stream"]["sample_rate"] == 250
    assert status["samples_lost"] == 7


def test_the_latency_timer_of_the_port_is_told(program):
    device = make_device(
        board_info={
            "firmware": "v3.1.2",
            "port": {"latency_timer_ms": 16, "latency_timer_note": "not allowed to set 1 ms"},
        }
    )
    status = program.get(f"devices/{device.public_id}/status").json()
    assert status["firmware"] == "v3.1.2"
    assert status["latency_timer_ms"] == 16
    assert "not allowed" in status["latency_timer_note"]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"sample_rate": 500}, "sample_rate", "250"),
        ({"channels": [1, 9]}, "channels", "8"),
        ({"channels": [0]}, "channels.0", "1"),
        ({"channels": ["1"]}, "channels", "a number"),
        ({"channels": "1"}, "channels", "a list"),
        ({"channels": [1, 1]}, "channels", "once"),
        ({"channels": []}, "channels", "1 to 8"),
        ({"filters": {"notch": 125}}, "filters", "125"),
        ({"filters": {"bandpass": [50, 1]}}, "filters", "50"),
        ({"filters": {"lowpass": 30}}, "filters", "notch"),
        ({"filters": {"notch": "sixty"}}, "filters", "sixty"),
        ({"sample_rate": "nan"}, "sample_rate", "a number"),
        ({"channel": [1]}, "channel", "channels"),
    ],
)
def test_what_a_board_cannot_do_is_named_with_what_it_can(program, body, field, says):
    device = make_device()
    response = program.post(f"devices/{device.public_id}/stream/start", body)
    assert says in fields_of(response)[field][0]
    assert not Stream.objects.exists()


def test_starting_again_with_the_same_settings_changes_nothing(program):
    stream = streaming(filters={"notch": 60})
    path = f"devices/{stream.device.public_id}/stream/start"
    same = program.post(path, {"channels": [2, 1], "filters": {"notch": 60}, "sample_rate": 250})
    assert same.status_code == 200, same.content
    assert same.json()["stream_id"] == stream.public_id
    error = error_of(program.post(path, {"channels": [1]}), 409, "STREAM_ALREADY_RUNNING")
    assert error["details"]["stream_id"] == stream.public_id


def test_stopping_a_stream_that_nobody_serves_stops_it(program):
    stream = streaming()
    status = program.post(f"devices/{stream.device.public_id}/stream/stop").json()
    assert status["streaming"] is False
    assert status["stream"] is None
    stream.refresh_from_db()
    assert stream.wanted == Stream.Wanted.STOPPED


def test_stopping_twice_is_no_error(program):
    device = make_device()
    path = f"devices/{device.public_id}/stream/stop"
    assert [program.post(path).status_code for _ in range(2)] == [200, 200]


def test_without_a_worker_the_answer_says_so(program):
    device = make_device()
    response = program.post(f"devices/{device.public_id}/connect")
    error = error_of(response, 503, "DEVICE_UNAVAILABLE")
    assert device.host in error["message"]
    assert "suggestion" in error["details"]
    error_of(program.get("devices/discover"), 503, "DEVICE_UNAVAILABLE")


def test_a_host_that_can_be_none_is_refused_before_a_queue_is_made_for_it(program):
    assert "host" in fields_of(program.get("devices/discover", host="a b/c"))


@pytest.mark.parametrize("action", ACTIONS)
def test_a_device_that_nobody_knows_is_not_found(program, action):
    error_of(program.post(f"devices/dev_999/{action}"), 404, "INVALID_DEVICE_ID")


@pytest.mark.parametrize("action", ACTIONS)
def test_looking_is_not_touching(action):
    viewer = Program("viewer")
    device = make_device()
    assert viewer.get(f"devices/{device.public_id}/status").status_code == 200
    error_of(viewer.post(f"devices/{device.public_id}/{action}"), 403, "PERMISSION_DENIED")


@pytest.mark.parametrize("status", [Session.Status.ACTIVE, Session.Status.PAUSED])
@pytest.mark.parametrize("action", ["disconnect", "stream/stop"])
def test_a_recording_that_one_does_not_see_is_not_ended_with_its_device(program, action, status):
    stream = streaming()
    ours = Program("operator")
    session = ours.make_session(stream.device, status=status, start_time=timezone.now())
    path = f"devices/{stream.device.public_id}/{action}"
    error = error_of(program.post(path), 409, "DEVICE_BUSY")
    assert session.public_id not in str(error)
    session.refresh_from_db()
    stream.refresh_from_db()
    assert (session.status, stream.wanted) == (status, Stream.Wanted.RUNNING)
    assert not AuditEntry.objects.filter(object_id=session.public_id).exists()
    assert ours.post(path).status_code == 200
    session.refresh_from_db()
    assert session.status == Session.Status.COMPLETED
