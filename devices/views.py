"""The lab's list of devices; what makes a device work is served by `ingest`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from devices import services
from devices.boards import boards
from devices.errors import DeviceBusyError, DeviceExistsError, DeviceInUseError
from devices.models import Device
from devices.serializers import DeviceSerializer, DeviceWriteSerializer
from neurascale.core.auth import Scope
from neurascale.core.openapi.operation import Operation
from neurascale.core.views import ResourceViewSet


def of_type(queryset: QuerySet[Device], value: str) -> QuerySet[Device]:
    """Return the devices of one maker."""
    return queryset.filter(board__in=[p.name for p in boards if p.make.type == value])


class DeviceViewSet(ListModelMixin, RetrieveModelMixin, ResourceViewSet[Device]):
    """List, register, read, change and remove devices."""

    plural = "devices"
    detail_path = "device-detail"
    queryset = Device.objects.all()
    serializer_class = DeviceSerializer
    required_scopes = {
        "GET": Scope.DEVICES_READ,
        "POST": Scope.DEVICES_CONTROL,
        "PATCH": Scope.DEVICES_CONTROL,
        "DELETE": Scope.DEVICES_CONTROL,
    }
    filter_fields = {
        "name": "name",
        "type": of_type,
        "board": "board",
        "status": "status",
        "host": "host",
        "port": "port",
    }
    search_fields = ("name", "public_id", "board", "host", "port")
    ordering_fields = {
        "name": "name",
        "status": "status",
        "last_seen_at": "last_seen_at",
        "created_at": "created_at",
    }
    ordering = ("name",)
    operations = {
        "create": Operation(takes=DeviceWriteSerializer, raises=(DeviceExistsError,)),
        "partial_update": Operation(
            takes=DeviceWriteSerializer, raises=(DeviceBusyError, DeviceExistsError)
        ),
        "destroy": Operation(raises=(DeviceBusyError, DeviceInUseError)),
    }

    def states(self, rows: Sequence[Device]) -> list[Any]:
        """Return nothing for each: a device shows its own columns, and what its driver is."""
        return [None] * len(rows)

    def get_object(self) -> Device:
        """Return the device that the URL names."""
        return services.get_device(self.kwargs["device_id"])

    def create(self, request: Request) -> Response:
        """Register a device."""
        asked = DeviceWriteSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        device = services.register_device(**asked.validated_data)
        return Response(self.get_serializer(device).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, device_id: str) -> Response:
        """Change a device."""
        device = self.get_object()
        asked = DeviceWriteSerializer(data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        device = services.change_device(device=device, **asked.validated_data)
        return Response(self.get_serializer(device).data)

    def destroy(self, request: Request, device_id: str) -> Response:
        """Remove a device."""
        services.remove_device(device=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)
