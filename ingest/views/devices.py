"""Devices at work: connect, stream, status. The list of devices is served by `devices`."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from devices.errors import DeviceBusyError, DeviceUnavailableError
from devices.models import Device
from devices.serializers import DeviceSerializer
from devices.services import get_device
from ingest import shapes
from ingest.errors import StreamAlreadyRunningError
from ingest.serializers import (
    DiscoverSerializer,
    StartStreamSerializer,
    status_on_the_wire,
    stream_on_the_wire,
)
from ingest.services import streams
from neurascale.core.auth import Scope
from neurascale.core.openapi.operation import Operation
from neurascale.core.views import ApiViewSet


class DeviceControlViewSet(ApiViewSet):
    """What a device does, and making it do something else."""

    required_scopes = {"GET": Scope.DEVICES_READ, "POST": Scope.DEVICES_CONTROL}
    operations = {
        "discover": Operation(
            query=DiscoverSerializer, gives=shapes.Ports, raises=(DeviceUnavailableError,)
        ),
        "status": Operation(gives=shapes.DeviceStatus),
        "connect": Operation(gives=DeviceSerializer, raises=(DeviceUnavailableError,)),
        "disconnect": Operation(gives=DeviceSerializer, raises=(DeviceBusyError,)),
        "start": Operation(
            takes=StartStreamSerializer,
            needs_body=False,
            gives=shapes.StartedStream,
            raises=(StreamAlreadyRunningError, DeviceBusyError, DeviceUnavailableError),
        ),
        "stop": Operation(gives=shapes.DeviceStatus, raises=(DeviceBusyError,)),
    }

    def get_object(self) -> Device:
        """Return the device that the URL names."""
        return get_device(self.kwargs["device_id"])

    def discover(self, request: Request) -> Response:
        """List the serial ports of a lab host (``?host=``), this one by default."""
        asked = DiscoverSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response({"ports": streams.discover(host=asked.validated_data.get("host"))})

    def status(self, request: Request, device_id: str) -> Response:
        """Say how a device is."""
        return self._status(self.get_object())

    def connect(self, request: Request, device_id: str) -> Response:
        """Open the device's port and ask the board who it is."""
        device = streams.connect_device(device=self.get_object())
        return Response(DeviceSerializer(device).data)

    def disconnect(self, request: Request, device_id: str) -> Response:
        """Stop what the device streams and forget that it was connected."""
        device = streams.disconnect_device(device=self.get_object(), principal=request.user)
        return Response(DeviceSerializer(device).data)

    def start(self, request: Request, device_id: str) -> Response:
        """Make a device stream; asking again with the same settings changes nothing."""
        device = self.get_object()
        asked = StartStreamSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        stream = streams.start_stream(device=device, **asked.arguments)
        return Response({"device_id": device.public_id, **stream_on_the_wire(stream)})

    def stop(self, request: Request, device_id: str) -> Response:
        """Stop a device's stream, and complete the session that records it."""
        device = self.get_object()
        streams.stop_stream(device=device, principal=request.user)
        device.refresh_from_db()
        return self._status(device)

    def _status(self, device: Device) -> Response:
        known = streams.device_status(device=device, principal=self.request.user)
        return Response(status_on_the_wire(device, known))
