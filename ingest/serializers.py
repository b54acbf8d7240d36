"""Streams, recordings, events and ingestions on the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.models import Device
from ingest import shapes
from ingest.models import Ingestion, Stream
from ingest.services.ingestions import place_on_timeline
from ingest.services.readings import Stretch
from ingest.store import Missing, Recording, Summary
from ingest.wire import hertz, to_iso, to_ns
from neurascale.core.serializers import StrictSerializer
from sessions_app.models import Event, Session
from sessions_app.serializers import SessionSerializer

MAX_CHANNELS = 1024
UNIT = "uV"


@extend_schema_field({"type": "string", "format": "date-time"})
class TimestampField(serializers.Field[int, Any, str | None, Any]):
    """ISO 8601 with zone on the wire, nanoseconds since the Unix epoch inside."""

    accepts = "a time in ISO 8601 with zone"

    def to_internal_value(self, data: Any) -> int:
        """Return nanoseconds since the epoch."""
        try:
            return to_ns(data)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None

    def to_representation(self, value: int) -> str | None:
        """Return ISO 8601."""
        return to_iso(value)


# --- Devices -------------------------------------------------------------------------------------


class StartStreamSerializer(StrictSerializer):
    """How to stream; everything may be left out."""

    channels = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_CHANNELS),
        required=False,
        allow_null=True,
    )
    sample_rate = serializers.FloatField(required=False, allow_null=True)
    filters = serializers.DictField(required=False, allow_null=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for, as keywords of the service."""
        asked = self.validated_data
        channels = asked.get("channels")
        return {
            "picks": None if channels is None else [channel - 1 for channel in channels],
            "sfreq": asked.get("sample_rate"),
            "filters": asked.get("filters"),
        }


def stream_on_the_wire(stream: Stream) -> shapes.Stream:
    """Return a stream's wire form."""
    return {
        "stream_id": stream.public_id,
        "channels": [pick + 1 for pick in stream.picks],
        "ch_names": stream.ch_names,
        "sample_rate": hertz(stream.sfreq),
        "filters": stream.filters,
        "started_at": stream.started_at,
        "samples": stream.next_sample,
    }


def status_on_the_wire(device: Device, known: Mapping[str, Any]) -> shapes.DeviceStatus:
    """Return the seed document's status of a device, and what else is known.

    Parameters
    ----------
    device : Device
        What is asked about.
    known : mapping
        What `ingest.services.streams.device_status` returned.
    """
    stream, session = known["stream"], known["session"]
    port = device.board_info.get("port", {})
    return {
        "device_id": device.public_id,
        "connected": known["connected"],
        "battery_level": None,  # no board we know has a gauge
        "signal_quality": {
            "overall": known["overall"],
            "channels": [
                {
                    "channel": channel["pick"] + 1,
                    "impedance": None,
                    "quality": channel["quality"],
                    "reason": channel["reason"],
                    "measured_at": None,
                }
                for channel in known["channels"]
            ],
        },
        "streaming": known["streaming"],
        "uptime_seconds": int(known["uptime_seconds"]),
        "status": known["status"],
        "status_since": device.status_since,
        "last_seen_at": device.last_seen_at,
        "stream": stream and stream_on_the_wire(stream),
        "session_id": session and session.public_id,
        "samples_lost": known["samples_lost"],
        "error": known["error"],
        "firmware": device.board_info.get("firmware"),
        "latency_timer_ms": port.get("latency_timer_ms"),
        "latency_timer_note": port.get("latency_timer_note"),
    }


# --- Sessions ------------------------------------------------------------------------------------


class RecordedSessionSerializer(SessionSerializer):
    """A session with the numbers of what is stored."""

    def summary(self, session: Session) -> Summary:
        """Return what was recorded."""
        return Recording.of(session).summary()


class NewEventSerializer(StrictSerializer):
    """What happened, and when: at a time, at a sample of the session's timeline, or now."""

    label = serializers.CharField(max_length=200)
    value = serializers.JSONField(required=False, allow_null=True)
    timestamp = TimestampField(required=False)
    sample = serializers.IntegerField(required=False, min_value=0, max_value=2**53)
    duration_seconds = serializers.FloatField(required=False, allow_null=True, min_value=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two ways to say when."""
        if "timestamp" in attrs and "sample" in attrs:
            raise serializers.ValidationError(
                {"sample": "Give sample or timestamp, or neither for now."}
            )
        if "timestamp" in attrs:
            attrs["time_ns"] = attrs.pop("timestamp")
        return attrs


class DiscoverSerializer(StrictSerializer):
    """Whose ports to list."""

    is_json = False

    host = serializers.RegexField(
        r"^[A-Za-z0-9._-]{1,255}$", required=False, help_text="A lab host; this one by default."
    )


class EventSerializer(serializers.ModelSerializer[Event]):
    """An event, and its sample on the timeline of ``context["recording"]``."""

    event_id = serializers.CharField(source="public_id")
    session_id = serializers.CharField(source="session.public_id")
    timestamp = TimestampField(source="time_ns")
    sample = serializers.SerializerMethodField()
    stream_id = serializers.SerializerMethodField()
    stream_sample = serializers.IntegerField(source="sample", allow_null=True)

    class Meta:
        model = Event
        fields = (
            *("event_id", "session_id", "label", "value", "timestamp", "sample"),
            *("duration_seconds", "source", "stream_id", "stream_sample", "created_at"),
        )
        read_only_fields = fields

    def get_sample(self, event: Event) -> int | None:
        """Return the sample of the session's timeline; None if nothing was recorded then."""
        if event.sample is None:
            return None
        recording: Recording = self.context["recording"]
        return recording.sample_of(event.stream_id, event.sample)

    def get_stream_id(self, event: Event) -> str | None:
        """Return the stream, if there was one."""
        return event.stream_id or None


class StretchSerializer(StrictSerializer):
    """Which part of a recording: samples, times or seconds, some channels."""

    is_json = False

    start = serializers.IntegerField(
        required=False, min_value=0, max_value=2**53, help_text="First sample of the timeline."
    )
    stop = serializers.IntegerField(
        required=False, min_value=0, max_value=2**53, help_text="The sample after the last one."
    )
    start_time = TimestampField(required=False, help_text="Instead of `start`.")
    stop_time = TimestampField(required=False, help_text="Instead of `stop`.")
    tmin = serializers.FloatField(
        required=False,
        min_value=0,
        max_value=1e9,
        help_text="Seconds on the timeline, where pauses take no time, instead of `start`.",
    )
    tmax = serializers.FloatField(
        required=False, min_value=0, max_value=1e9, help_text="Likewise, instead of `stop`."
    )
    channels = serializers.RegexField(
        r"^\d{1,4}(,\d{1,4})*$",
        required=False,
        help_text="Numbers with commas between, in the order of the rows; all by default.",
    )
    aux = serializers.BooleanField(
        required=False, default=False, help_text="Also accelerometer and analog inputs."
    )
    output = serializers.ChoiceField(
        choices=["json", "npy", "arrow"], required=False, help_text="The form, as in `Accept`."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two ways to say the same."""
        for names in (("start", "start_time", "tmin"), ("stop", "stop_time", "tmax")):
            given = [name for name in names if name in attrs]
            if len(given) > 1:
                raise serializers.ValidationError(
                    {given[1]: f"Give only one of {', '.join(names)}."}
                )
        return attrs

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for, as keywords of the service."""
        asked = self.validated_data
        channels = asked.get("channels")
        return {
            "start": asked.get("start"),
            "stop": asked.get("stop"),
            "start_ns": asked.get("start_time"),
            "stop_ns": asked.get("stop_time"),
            "tmin": asked.get("tmin"),
            "tmax": asked.get("tmax"),
            "picks": channels and [int(channel) - 1 for channel in channels.split(",")],
            "with_aux": asked["aux"],
        }


def gap_on_the_wire(gap: Missing) -> shapes.Gap:
    """Return a gap's wire form."""
    return {
        "first_sample": gap.first_sample,
        "n_samples": gap.n_times,
        "reason": gap.reason,
    }


def stretch_on_the_wire(session: Session, stretch: Stretch) -> dict[str, Any]:
    """Return everything about a stretch but its samples."""
    pieces = stretch.pieces()
    return {
        "session_id": session.public_id,
        "channels": [pick + 1 for pick in stretch.picks],
        "ch_names": stretch.ch_names,
        "aux_names": list(stretch.aux_names),
        "sample_rate": hertz(stretch.recording.sfreq),
        "unit": UNIT,
        "first_sample": stretch.start,
        "n_samples": stretch.n_times,
        "start_time": to_iso(pieces[0].time_ns) if pieces else None,
        "segments": [
            {
                "first_sample": piece.first_sample,
                "n_samples": piece.n_times,
                "start_time": to_iso(piece.time_ns),
                "stream_id": piece.stream_id,
                "stream_sample": piece.stream_sample,
            }
            for piece in pieces
        ],
        "gaps": [gap_on_the_wire(gap) for gap in stretch.gaps()],
    }


# --- Ingestions ----------------------------------------------------------------------------------


def ingestion_on_the_wire(ingestion: Ingestion) -> shapes.Ingestion:
    """Return the seed document's answer to samples, and where they are."""
    return {
        "status": "accepted",
        "ingestion_id": ingestion.public_id,
        "processing_time_ms": math.ceil(ingestion.processing_time_ms),
        "session_id": ingestion.session.public_id,
        "device_id": ingestion.session.device.public_id,
        "samples": ingestion.n_times,
        "first_sample": place_on_timeline(ingestion),
        "stream_id": ingestion.stream.public_id,
        "stream_sample": ingestion.first_sample,
        "metadata": ingestion.metadata,
        "created_at": ingestion.created_at,
    }
