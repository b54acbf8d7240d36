"""Devices at work in GraphQL: streams, their gaps, how a device is, connect, start, stop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import strawberry

from devices.graphql import DEVICE, Device
from devices.models import Device as DeviceRow
from devices.services import get_device
from ingest.models import Gap as GapRow
from ingest.serializers import (
    StartStreamSerializer,
    gap_on_the_wire,
    status_on_the_wire,
    stream_on_the_wire,
)
from ingest.services import streams
from neurascale.core.auth import Principal, Scope
from neurascale.core.graphql.connections import connection
from neurascale.core.graphql.declare import extend, field, mutation, object_type
from neurascale.core.graphql.inputs import checked, input_of
from neurascale.core.graphql.scalars import JSON, DateTime, Long
from neurascale.core.graphql.things import Kind, Node, Thing, related

# --- Streams and their gaps ----------------------------------------------------------------------


class StreamListing:
    """How lists of streams are narrowed and ordered; REST has none."""

    plural = "streams"
    filter_fields = {
        "device_id": "device__public_id",
        "origin": "origin",
        "state": "state",
        "wanted": "wanted",
    }
    search_fields = ("public_id", "device__name")
    ordering_fields = {"started_at": "started_at", "stopped_at": "stopped_at"}
    ordering = ("-started_at",)


class GapListing:
    """How lists of gaps are narrowed and ordered."""

    plural = "gaps"
    filter_fields = {"reason": "reason"}
    search_fields = ("reason",)
    ordering_fields = {"first_sample": "first_sample"}
    ordering = ("first_sample",)
    tie_breaker = "first_sample"  # told once a stream, and a list of gaps is of one stream


def stream_wire(thing: Thing) -> dict[str, Any]:
    """Return REST's form of a stream, and how it came to be and to end."""
    row = thing.row
    told = ("state", "wanted", "origin", "stopped_at", "next_sequence", "kept_from_sample", "error")
    return {**stream_on_the_wire(row), **{name: getattr(row, name) for name in told}}


STREAM = Kind(
    prefix="strm_",
    needs=Scope.DEVICES_READ,
    get=streams.get_stream,
    rows=streams.visible_streams,
    wire=stream_wire,
    listing=StreamListing,
)
GAP = Kind(
    prefix="",
    needs=Scope.DEVICES_READ,
    get=lambda principal, _: GapRow.objects.none().get(),
    rows=lambda principal: GapRow.objects.filter(
        stream__in=streams.visible_streams(principal).values("pk")
    ),
    wire=lambda thing: gap_on_the_wire(thing.row),
    listing=GapListing,
)


@GAP
class Gap:
    """Samples that are missing in a stream, and why."""

    first_sample: Long
    n_samples: Long
    reason: str


@STREAM
class Stream(Node):
    """One run of one device, from start to stop, through crashes and unplugged cables."""

    stream_id: strawberry.ID
    state: str
    wanted: str
    origin: str
    channels: list[int]
    ch_names: list[str]
    sample_rate: float
    filters: JSON
    started_at: DateTime
    stopped_at: DateTime | None
    samples: Long
    next_sequence: Long
    kept_from_sample: Long
    error: JSON | None
    gaps = connection(GAP, through="stream")

    @field(Scope.DEVICES_READ)
    def device(self: Any) -> Device:
        """What streams."""
        return related(self, DEVICE, "device")


# --- Devices at work -----------------------------------------------------------------------------


@object_type(Scope.DEVICES_READ)
class ChannelQuality:
    """How one channel is."""

    channel: int
    impedance: float | None
    quality: str | None
    reason: str | None
    measured_at: DateTime | None


@object_type(Scope.DEVICES_READ)
class SignalQuality:
    """How a device's signal is."""

    overall: str | None
    channels: list[ChannelQuality]


@object_type(Scope.DEVICES_READ)
class DeviceStatus:
    """How a device is; null is what the board does not report."""

    device_id: strawberry.ID
    connected: bool
    battery_level: float | None
    signal_quality: SignalQuality
    streaming: bool
    uptime_seconds: Long
    status: str
    status_since: DateTime
    last_seen_at: DateTime | None
    stream: Stream | None
    session_id: strawberry.ID | None
    samples_lost: Long | None
    error: JSON | None
    firmware: str | None
    latency_timer_ms: float | None
    latency_timer_note: str | None


def statuses(principal: Principal | None, devices: Collection[DeviceRow]) -> Mapping[int, Any]:
    """Return how devices are; a session that the principal does not see is not spoken of."""
    known = streams.device_statuses(devices=devices, principal=principal)
    rows = [status["stream"] for status in known.values() if status["stream"]]
    things = {thing.row.pk: thing for thing in STREAM.things(rows)}
    told = {}
    for device in devices:
        stream = known[device.pk]["stream"]
        on_the_wire = status_on_the_wire(device, known[device.pk])
        told[device.pk] = {**on_the_wire, "stream": stream and things[stream.pk]}
    return told


def status_of(principal: Principal | None, device: DeviceRow) -> Any:
    """Return how a device is."""
    return statuses(principal, [device])[device.pk]


@extend(Device)
class DeviceAtWork:
    """What a device does and did."""

    streams = connection(STREAM, through="device")

    @field(Scope.DEVICES_READ)
    def current_status(self: Any, info: strawberry.Info) -> DeviceStatus:
        """How the device is now."""
        principal = info.context.principal
        return self.load("status", lambda rows: statuses(principal, rows))


# --- What can be asked and done ------------------------------------------------------------------


if TYPE_CHECKING:
    StreamSettings = object
else:
    StreamSettings = input_of("StreamSettings", StartStreamSerializer)


@strawberry.type
class Query:
    """Streams, one and all, and the ports of a lab host."""

    streams = connection(STREAM)

    @field(Scope.DEVICES_READ)
    def stream(self, info: strawberry.Info, id: strawberry.ID) -> Stream | None:
        """Return a stream."""
        return STREAM.thing(streams.get_stream(info.context.principal, id))

    @field(Scope.DEVICES_READ)
    def ports(self, host: str | None = strawberry.UNSET) -> JSON | None:
        """List the serial ports of a lab host, this one by default."""
        return streams.discover(host=host or None)


@strawberry.type
class Mutation:
    """Making a device do something else."""

    @mutation(Scope.DEVICES_CONTROL)
    def connect_device(self, id: strawberry.ID) -> Device | None:
        """Open the device's port and ask the board who it is."""
        return DEVICE.thing(streams.connect_device(device=get_device(id)))

    @mutation(Scope.DEVICES_CONTROL)
    def disconnect_device(self, info: strawberry.Info, id: strawberry.ID) -> Device | None:
        """Stop what the device streams and forget that it was connected."""
        principal = info.context.principal
        device = streams.disconnect_device(device=get_device(id), principal=principal)
        return DEVICE.thing(device)

    @mutation(Scope.DEVICES_CONTROL)
    def start_stream(
        self, device_id: strawberry.ID, input: StreamSettings | None = strawberry.UNSET
    ) -> Stream | None:
        """Make a device stream; asking again with the same settings changes nothing."""
        device = get_device(device_id)
        asked = checked(StartStreamSerializer, input)
        return STREAM.thing(streams.start_stream(device=device, **asked.arguments))

    @mutation(Scope.DEVICES_CONTROL)
    def stop_stream(self, info: strawberry.Info, device_id: strawberry.ID) -> DeviceStatus | None:
        """Stop a device's stream, and complete the session that records it."""
        device = get_device(device_id)
        streams.stop_stream(device=device, principal=info.context.principal)
        device.refresh_from_db()
        return status_of(info.context.principal, device)
