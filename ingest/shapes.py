"""The shapes of bodies that no serializer class reads or writes: for people, types and the schema.

Rule of this file: it describes. What is read is checked by `ingest.submission`, what is written is
put together in `ingest.serializers`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

from devices.ports import PortFacts
from ingest.arrays import ARROW, NPY, Layout
from ingest.submission import JSON, MAX_CHANNELS, MAX_ID_LENGTH, MAX_SFREQ, MIN_SFREQ

Schema = dict[str, Any]

# --- Devices -------------------------------------------------------------------------------------


class Problem(TypedDict):
    """Why a device is in the state ``error``."""

    code: str
    message: str
    details: dict[str, Any]


class Stream(TypedDict):
    """What a device streams."""

    stream_id: str
    channels: Annotated[list[int], "Numbered from 1."]
    ch_names: list[str]
    sample_rate: Annotated[float, "Hz."]
    filters: Annotated[dict[str, Any], "Of the copy that is shown; what is stored is raw."]
    started_at: datetime
    samples: Annotated[int, "Stored so far, a channel."]


class StartedStream(Stream):
    """What a device streams from now on."""

    device_id: str


class ChannelQuality(TypedDict):
    """How good the signal of one channel is."""

    channel: Annotated[int, "Numbered from 1."]
    impedance: Annotated[float | None, "kΩ; null: not measured."]
    quality: str | None
    measured_at: datetime | None


class SignalQuality(TypedDict):
    """How good a device's signal is; null is what was not measured."""

    overall: str | None
    channels: list[ChannelQuality]


class DeviceStatus(TypedDict):
    """How a device is."""

    device_id: str
    connected: bool
    battery_level: Annotated[float | None, "Percent; null: the board has no gauge."]
    signal_quality: SignalQuality
    streaming: bool
    uptime_seconds: Annotated[int, "Of the stream."]
    status: str
    status_since: datetime
    last_seen_at: datetime | None
    stream: Stream | None
    session_id: Annotated[str | None, "What is being recorded."]
    samples_lost: Annotated[int | None, "In the gaps of the stream."]
    error: Problem | None
    firmware: str | None
    latency_timer_ms: Annotated[int | None, "Of the serial adapter; more than 1 delays samples."]
    latency_timer_note: str | None


class Ports(TypedDict):
    """The serial ports of a lab host."""

    ports: list[PortFacts]


# --- Recordings ----------------------------------------------------------------------------------


class Segment(TypedDict):
    """A part of a recording in which time runs evenly."""

    first_sample: int
    n_samples: int
    start_time: datetime
    stream_id: str
    stream_sample: int


class Gap(TypedDict):
    """Samples that are missing, and why."""

    first_sample: int
    n_samples: int
    reason: str


class Samples(TypedDict):
    """A part of a recording."""

    session_id: str
    channels: Annotated[list[int], "Numbered from 1, in row order."]
    ch_names: list[str]
    aux_names: list[str]
    sample_rate: Annotated[float, "Hz."]
    unit: Literal["uV"]
    first_sample: int
    n_samples: int
    start_time: datetime | None
    segments: list[Segment]
    gaps: list[Gap]
    layout: Literal["channels_first"]
    eeg: Annotated[list[list[float | None]], "A row a channel; null where a sample is missing."]
    aux: list[list[float | None]] | None
    next: Annotated[str | None, "URL of the rest; null: that was all."]


# --- Ingestion -----------------------------------------------------------------------------------


class Ingestion(TypedDict):
    """Samples that were taken, and where they are."""

    status: Literal["accepted"]
    ingestion_id: str
    processing_time_ms: int
    session_id: str
    device_id: str
    samples: Annotated[int, "A channel."]
    first_sample: Annotated[int | None, "On the session's timeline."]
    stream_id: str
    stream_sample: int
    metadata: dict[str, Any]
    created_at: datetime


ID: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
SENT: dict[str, Schema] = {
    "device_id": ID,
    "session_id": ID,
    "timestamp": {
        "type": "string",
        "format": "date-time",
        "description": "When the first sample was taken.",
    },
    "metadata": {"type": "object", "additionalProperties": {}},
}
SENT_DATA: dict[str, Schema] = {
    "sample_rate": {"type": "number", "minimum": MIN_SFREQ, "maximum": MAX_SFREQ},
    "channels": {"type": "integer", "minimum": 1, "maximum": MAX_CHANNELS},
    "layout": {
        "type": "string",
        "enum": [str(layout) for layout in Layout],
        "description": "Which way round the rows are, where their number does not say.",
    },
}
NEURAL_DATA: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["data", "device_id", "session_id", "timestamp"],
    "properties": {
        **SENT,
        "data": {
            "type": "object",
            "additionalProperties": False,
            "required": ["channels", "eeg", "sample_rate"],
            "properties": {
                **SENT_DATA,
                "eeg": {
                    "type": "array",
                    "description": "Microvolts: a row a channel, or a row a sample.",
                    "minItems": 1,
                    "items": {"type": "array", "minItems": 1, "items": {"type": "number"}},
                },
            },
        },
    },
}
FORMS = {JSON: NEURAL_DATA, NPY: bytes, ARROW: bytes}
IN_QUERY = tuple(
    {
        "name": name,
        "in": "query",
        "description": "With a binary body, which has no place for it.",
        "schema": schema if name != "metadata" else {"type": "string"},
    }
    for name, schema in {**SENT, **SENT_DATA}.items()
)
