"""Sessions over REST: their life, their numbers, their events and their samples."""

from __future__ import annotations

import asyncio
import io
from urllib.parse import urlsplit

import numpy as np
import orjson
import pyarrow as pa
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from ingest.models import Segment, Stream
from ingest.store import BlockWriter
from ingest.views import sessions as views
from neurascale.core.chunk import Chunk, GapReason
from sessions_app.models import Session
from tests.ingest.factories import make_device, make_session, make_stream
from tests.ingest.rest import Program, error_of, fields_of

pytestmark = pytest.mark.django_db

START_NS = 1_753_525_800 * 10**9  # 2025-07-26T10:30:00Z
HOLDER = "me|1|1|1"


@pytest.fixture(autouse=True)
def _nobody_waits_long(settings):
    settings.ANSWER_SECONDS = 0.05  # not 0, which Celery takes for no limit


@pytest.fixture
def program() -> Program:
    return Program("operator")


def samples(first: int, n_times: int) -> np.ndarray:
    """Return 2 channels in which every value says where it belongs."""
    times = np.arange(first, first + n_times)
    return (times + np.array([[0.0], [0.25]])).astype(np.float32)


def record(program: Program, *, status: str = "completed", **fields) -> Session:
    """Return a session of 100 samples at 250 Hz, of which 40 to 59 are missing."""
    stream = make_stream(
        scale_uv=[0.25, 0.25], lease_holder=HOLDER, state=Stream.State.STOPPED, **fields
    )
    writer = BlockWriter(stream, holder=HOLDER)
    n_aux = len(stream.aux_names)
    for first in (0, 20, 60, 80):
        aux = np.full((n_aux, 20), first, np.float32) if n_aux else None
        time_ns = START_NS + first * 4_000_000
        chunk = Chunk(samples(first, 20), 250.0, first, time_ns, aux=aux, gap=GapReason.LOST)
        writer.append(chunk)
    session = program.make_session(stream.device, status=status)
    Segment.objects.create(session=session, stream=stream, first_sample=0, stop_sample=100)
    return session


def whole() -> np.ndarray:
    data = samples(0, 100)
    data[:, 40:60] = np.nan
    return data


def as_array(rows: list) -> np.ndarray:
    return np.array([[np.nan if v is None else v for v in row] for row in rows], np.float32)


# --- Life and numbers ----------------------------------------------------------------------------


def test_a_session_on_a_silent_device_waits_to_be_started(program):
    device = make_device()
    response = program.post("sessions", {"device_id": device.public_id})
    assert response.status_code == 201
    created = response.json()
    assert created["status"] == "created"
    assert created["start_time"] is None
    assert created["data_points"] == 0
    assert created["quality_metrics"] == {"artifact_percentage": None, "signal_quality": None}
    response = program.post(f"sessions/{created['session_id']}/start")
    assert response.status_code in {409, 503}  # nobody serves the device here


def test_the_numbers_are_those_of_what_is_stored(program):
    session = record(program)
    read = program.get(f"sessions/{session.public_id}").json()
    assert read["data_points"] == 80
    assert read["duration_seconds"] == pytest.approx(0.4)
    listed = program.get("sessions").json()["sessions"]
    assert listed == [read]


def test_pause_resume_and_stop_follow_the_life_cycle(program):
    stream = make_stream(state=Stream.State.RUNNING, lease_holder=HOLDER)
    session = program.make_session(stream.device)
    path = f"sessions/{session.public_id}"
    error_of(program.post(f"{path}/pause"), 409, "INVALID_SESSION_STATE")
    for action, status in (
        *(("start", "active"), ("pause", "paused"), ("resume", "active"), ("stop", "completed")),
    ):
        response = program.post(f"{path}/{action}")
        assert response.status_code == 200, response.content
        assert response.json()["status"] == status
    error_of(program.post(f"{path}/start"), 409, "INVALID_SESSION_STATE")


@pytest.mark.parametrize("status", ["created", "paused"])
def test_nothing_is_recorded_from_a_board_that_is_away(program, status):
    stream = make_stream(state=Stream.State.RECONNECTING, lease_holder=HOLDER)
    session = program.make_session(stream.device, status=status)
    step = "start" if status == "created" else "resume"
    error = error_of(
        program.post(f"sessions/{session.public_id}/{step}"), 409, "DEVICE_NOT_CONNECTED"
    )
    assert error["details"]["device_id"] == stream.device.public_id
    assert "Plug it in" in error["details"]["suggestion"]
    session.refresh_from_db()
    assert session.status == status


def test_another_studys_session_is_as_good_as_none(program):
    theirs = make_session(make_device())
    path = f"sessions/{theirs.public_id}"
    for answer in (
        program.get(path),
        program.get(f"{path}/data"),
        program.get(f"{path}/events"),
        program.post(f"{path}/events", {"label": "cue"}),
        program.post(f"{path}/start"),
    ):
        error_of(answer, 404, "INVALID_SESSION_ID")
    assert program.get("sessions").json()["pagination"]["total"] == 0


def test_looking_is_not_touching(program):
    viewer = Program("viewer")
    session = viewer.make_session(make_device())
    path = f"sessions/{session.public_id}"
    assert viewer.get(path).status_code == 200
    for action in ("start", "pause", "resume", "stop", "events"):
        error_of(viewer.post(f"{path}/{action}"), 403, "PERMISSION_DENIED")


# --- Events --------------------------------------------------------------------------------------


def test_an_event_at_a_sample_has_the_time_of_the_sample(program):
    session = record(program)
    path = f"sessions/{session.public_id}/events"
    body = {"label": "cue", "value": {"side": "left"}, "sample": 25, "duration_seconds": 0.5}
    response = program.post(path, body)
    assert response.status_code == 201, response.content
    event = response.json()
    assert event["sample"] == event["stream_sample"] == 25
    assert event["timestamp"] == "2025-07-26T10:30:00.100000Z"
    assert (event["label"], event["value"], event["source"]) == ("cue", {"side": "left"}, "api")
    assert event["duration_seconds"] == 0.5
    assert program.get(path).json()["events"] == [event]


def test_an_event_at_a_time_falls_on_the_sample_of_that_time(program):
    session = record(program)
    body = {"label": "cue", "timestamp": "2025-07-26T12:30:00.320+02:00"}
    event = program.post(f"sessions/{session.public_id}/events", body).json()
    assert event["sample"] == 80


def test_events_are_listed_in_the_order_of_time(program):
    session = record(program)
    path = f"sessions/{session.public_id}/events"
    for sample in (70, 5, 30):
        program.post(path, {"label": f"at {sample}", "sample": sample})
    listed = program.get(path, limit=2).json()
    assert [event["sample"] for event in listed["events"]] == [5, 30]
    assert listed["pagination"]["total"] == 3
    assert listed["pagination"]["next"] is not None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "label"),
        ({"label": ""}, "label"),
        ({"label": "cue", "sample": 100}, "sample"),
        ({"label": "cue", "sample": -1}, "sample"),
        ({"label": "cue", "sample": 1, "timestamp": "2025-07-26T10:30:00Z"}, "sample"),
        ({"label": "cue", "timestamp": "2025-07-26T10:30:00"}, "timestamp"),
        ({"label": "cue", "duration_seconds": -1}, "duration_seconds"),
        ({"label": "cue", "lable": "x"}, "lable"),
    ],
)
def test_a_wrong_event_is_refused(program, body, field):
    session = record(program)
    assert field in fields_of(program.post(f"sessions/{session.public_id}/events", body))
    assert not session.events.exists()


# --- Samples -------------------------------------------------------------------------------------


def test_json_has_null_and_a_gap_where_samples_are_missing(program):
    session = record(program)
    answer = program.get(f"sessions/{session.public_id}/data").json()
    assert np.array_equal(as_array(answer["eeg"]), whole(), equal_nan=True)
    assert answer["gaps"] == [{"first_sample": 40, "n_samples": 20, "reason": "lost"}]
    assert answer["layout"] == "channels_first"
    assert (answer["channels"], answer["ch_names"]) == ([1, 2], ["EEG1", "EEG2"])
    assert (answer["sample_rate"], answer["unit"]) == (250, "uV")
    assert (answer["first_sample"], answer["n_samples"]) == (0, 100)
    assert answer["start_time"] == "2025-07-26T10:30:00Z"
    assert answer["next"] is None


@pytest.mark.parametrize(
    ("query", "start", "stop"),
    [
        ({"start": 10, "stop": 30}, 10, 30),
        ({"start": 95, "stop": 1000}, 95, 100),
        ({"start": 1000}, 100, 100),
        ({"tmin": 0.04, "tmax": 0.12}, 10, 30),
        ({"start_time": "2025-07-26T10:30:00.040Z", "stop": 30}, 10, 30),
        ({"start_time": "2025-07-26T10:29:00Z", "stop_time": "2025-07-26T10:30:00.120Z"}, 0, 30),
        ({"start_time": "2025-07-26T10:31:00Z"}, 100, 100),
        ({"start": 35, "stop": 65}, 35, 65),
    ],
)
def test_a_stretch_is_found_by_sample_by_time_and_by_seconds(program, query, start, stop):
    session = record(program)
    answer = program.get(f"sessions/{session.public_id}/data", **query).json()
    assert (answer["first_sample"], answer["n_samples"]) == (start, stop - start)
    if stop > start:
        assert np.array_equal(as_array(answer["eeg"]), whole()[:, start:stop], equal_nan=True)
    gaps = [(gap["first_sample"], gap["n_samples"]) for gap in answer["gaps"]]
    begin, end = max(start, 40), min(stop, 60)
    assert gaps == ([(begin, end - begin)] if begin < end else [])


def test_channels_come_in_the_order_asked_for(program):
    session = record(program)
    answer = program.get(f"sessions/{session.public_id}/data", channels="2,1", stop=5).json()
    assert answer["channels"] == [2, 1]
    assert as_array(answer["eeg"]).tolist() == samples(0, 5)[::-1].tolist()


def test_a_pause_is_told_by_the_segments(program):
    session = record(program)
    first = session.segments.get()
    first.stop_sample = 20
    first.save()
    Segment.objects.create(session=session, stream=first.stream, first_sample=80, stop_sample=100)
    answer = program.get(f"sessions/{session.public_id}/data").json()
    assert answer["n_samples"] == 40
    assert [(s["first_sample"], s["start_time"]) for s in answer["segments"]] == [
        (0, "2025-07-26T10:30:00Z"),
        (20, "2025-07-26T10:30:00.320000Z"),
    ]
    path = f"sessions/{session.public_id}/data"
    in_the_pause = program.get(path, start_time="2025-07-26T10:30:00.200Z").json()
    assert in_the_pause["first_sample"] == 20


def test_npy_has_nan_where_samples_are_missing(program):
    session = record(program)
    response = program.get(f"sessions/{session.public_id}/data", output="npy")
    assert response["Content-Type"] == "application/x-npy"
    assert response["X-Sample-Rate"] == "250"
    data = np.load(io.BytesIO(response.getvalue()))
    assert data.dtype == np.float32
    assert np.array_equal(data, whole(), equal_nan=True)


def test_arrow_says_everything_in_its_schema(program):
    session = record(program)
    response = program.http.get(
        f"/v1/sessions/{session.public_id}/data?start=30",
        headers={"Accept": "application/vnd.apache.arrow.stream"},
    )
    table = pa.ipc.open_stream(response.getvalue()).read_all()
    assert table.column_names == ["EEG1", "EEG2"]
    assert table["EEG1"].null_count == 20
    read = np.stack([column.to_numpy() for column in table.columns])
    assert np.array_equal(read, whole()[:, 30:], equal_nan=True)
    facts = table.schema.metadata
    assert facts[b"sfreq"] == b"250"
    assert facts[b"unit"] == b"uV"
    assert facts[b"first_sample"] == b"30"
    gaps = [{"first_sample": 40, "n_samples": 20, "reason": "lost"}]
    assert orjson.loads(facts[b"gaps"]) == gaps


@pytest.mark.parametrize("output", ["npy", "arrow"])
def test_a_binary_answer_in_many_pieces_is_the_same(program, monkeypatch, output):
    session = record(program)
    path = f"sessions/{session.public_id}/data"
    at_once = program.get(path, output=output).getvalue()
    monkeypatch.setattr(views, "PIECE_VALUES", 14)
    response = program.get(path, output=output)
    parts = list(response.streaming_content)
    assert len(parts) > 15
    if output == "npy":
        assert b"".join(parts) == at_once
    else:
        tables = [pa.ipc.open_stream(body).read_all() for body in (at_once, b"".join(parts))]
        assert tables[0].combine_chunks().equals(tables[1].combine_chunks())


@pytest.mark.django_db(transaction=True)
def test_a_binary_answer_is_streamed_under_asgi_too(program):
    session = record(program)
    headers = {"Authorization": program.http.defaults["HTTP_AUTHORIZATION"]}

    async def fetch() -> bytes:
        path = f"/v1/sessions/{session.public_id}/data?output=npy"
        response = await AsyncClient().get(path, headers=headers)
        body = b"".join([part async for part in response])
        await sync_to_async(connections.close_all)()  # that of the thread the view ran in
        return body

    data = np.load(io.BytesIO(asyncio.run(fetch())))
    assert np.array_equal(data, whole(), equal_nan=True)


def test_long_json_goes_on_at_next(program, monkeypatch):
    monkeypatch.setattr(views, "MAX_JSON_VALUES", 60)
    session = record(program)
    read = []
    answer = program.get(f"sessions/{session.public_id}/data", tmin=0.02, tmax=0.36).json()
    read.append(as_array(answer["eeg"]))
    while answer["next"]:
        url = urlsplit(answer["next"])
        answer = program.http.get(f"{url.path}?{url.query}").json()
        read.append(as_array(answer["eeg"]))
    assert len(read) == 3
    assert np.array_equal(np.concatenate(read, axis=1), whole()[:, 5:90], equal_nan=True)


def test_aux_comes_when_asked_for(program):
    session = record(program, aux_names=["x", "y", "z"])
    path = f"sessions/{session.public_id}/data"
    assert program.get(path).json()["aux"] is None
    answer = program.get(path, aux=1, start=60, stop=61).json()
    assert answer["aux_names"] == ["x", "y", "z"]
    assert answer["aux"] == [[60.0], [60.0], [60.0]]
    data = np.load(io.BytesIO(program.get(path, aux=1, output="npy").getvalue()))
    assert data.shape == (5, 100)
    assert data[2:, 99].tolist() == [80.0] * 3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"channels": "3"}, "channels"),
        ({"channels": "1,1"}, "channels"),
        ({"channels": "a"}, "channels"),
        ({"start": -1}, "start"),
        ({"start": "x"}, "start"),
        ({"start": 30, "stop": 10}, "stop"),
        ({"start": 0, "tmin": 1}, "tmin"),
        ({"tmin": "nan"}, "tmin"),
        ({"start_time": "2025-07-26"}, "start_time"),
        ({"output": "csv"}, "output"),
        ({"from": 1}, "from"),
    ],
)
def test_a_wrong_stretch_is_refused(program, query, field):
    session = record(program)
    assert field in fields_of(program.get(f"sessions/{session.public_id}/data", **query))


def test_a_session_that_recorded_nothing_has_no_samples(program):
    session = program.make_session(make_device())
    answer = program.get(f"sessions/{session.public_id}/data")
    error = error_of(answer, 409, "INVALID_SESSION_STATE")
    assert "POST /v1/ingest/neural-data" in error["details"]["suggestion"]


@pytest.mark.parametrize(
    ("query", "suggestion"),
    [
        ({"tmin": "x"}, "Send tmin as a number from 0 to 1000000000."),
        ({"start": "-1"}, "Send start as a whole number from 0 to 9007199254740992."),
        ({"aux": "maybe"}, "Send aux as true or false."),
        ({"start_time": "now"}, "Send start_time as a time in ISO 8601 with zone."),
        ({"channels": "a"}, r"Send channels as a text like ^\d{1,4}(,\d{1,4})*$."),
        ({"output": "csv"}, "Send output as json or npy or arrow, or leave it out for json."),
        ({"start": "1", "tmin": "1"}, "Give only one of start, start_time, tmin."),
    ],
)
def test_a_wrong_parameter_is_told_what_is_accepted(program, query, suggestion):
    session = program.make_session(make_device())
    answer = program.get(f"sessions/{session.public_id}/data", **query)
    error = error_of(answer, 400, "VALIDATION_ERROR")
    assert error["details"]["suggestion"] == suggestion


def test_an_unknown_parameter_is_told_which_there_are(program):
    session = program.make_session(make_device())
    answer = program.get(f"sessions/{session.public_id}/data", begin=1)
    told = error_of(answer, 400, "VALIDATION_ERROR")["details"]["suggestion"]
    assert told.startswith("What can be asked for is start, stop, ")


@pytest.mark.parametrize(
    ("timestamp", "told"),
    [
        ("2999-01-01T00:00:00Z", "future"),
        ("1969-12-31T23:59:59Z", "past"),
        ("9999-12-31T23:59:59-23:59", "future"),
        ("0001-01-01T00:00:00+23:59", "past"),
        ("2025-07-26T10:30:00", "ISO 8601 with zone"),
        ("tomorrow", "ISO 8601 with zone"),
    ],
)
def test_a_time_that_cannot_be_is_told_why(program, timestamp, told):
    session = program.make_session(make_device())
    body = {"label": "cue", "timestamp": timestamp}
    answer = program.post(f"sessions/{session.public_id}/events", body)
    (problem,) = fields_of(answer)["timestamp"]
    assert told in problem
    assert ("ISO 8601" in problem) is ("ISO 8601" in told)
