"""The lab's list of devices in GraphQL; what makes a device work is added by `ingest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import strawberry

from devices import services
from devices.models import Device as DeviceRow
from devices.serializers import DeviceSerializer, DeviceWriteSerializer
from devices.views import DeviceViewSet
from neurascale.core.auth import Scope
from neurascale.core.graphql.connections import connection
from neurascale.core.graphql.declare import field, mutation
from neurascale.core.graphql.inputs import checked, input_of
from neurascale.core.graphql.scalars import JSON, DateTime
from neurascale.core.graphql.things import Kind, Node

DEVICE = Kind(
    prefix="dev_",
    needs=Scope.DEVICES_READ,
    get=lambda principal, device_id: services.get_device(device_id),
    rows=lambda principal: DeviceRow.objects.all(),
    wire=lambda thing: DeviceSerializer(thing.row).data,
    listing=DeviceViewSet,
)


@DEVICE
class Device(Node):
    """A board that the lab knows, whether it is plugged in or not."""

    device_id: strawberry.ID
    name: str
    type: str | None
    status: str
    channels: int | None
    sample_rate: float | None
    board: str
    port: str
    host: str
    settings: JSON
    error: JSON | None
    board_info: JSON
    status_since: DateTime
    last_seen_at: DateTime | None
    created_at: DateTime


if TYPE_CHECKING:
    NewDevice = DeviceChange = object
else:
    NewDevice = input_of("NewDevice", DeviceWriteSerializer)
    DeviceChange = input_of("DeviceChange", DeviceWriteSerializer, partial=True)


@strawberry.type
class Query:
    """Devices, one and all."""

    devices = connection(DEVICE)

    @field(Scope.DEVICES_READ)
    def device(self, id: strawberry.ID) -> Device | None:
        """Return a device."""
        return DEVICE.thing(services.get_device(id))


@strawberry.type
class Mutation:
    """Changes of the list of devices."""

    @mutation(Scope.DEVICES_CONTROL)
    def register_device(self, input: NewDevice) -> Device | None:
        """Add a device to the lab; nothing is opened yet."""
        asked = checked(DeviceWriteSerializer, input)
        return DEVICE.thing(services.register_device(**asked.validated_data))

    @mutation(Scope.DEVICES_CONTROL)
    def change_device(
        self,
        id: strawberry.ID,
        input: DeviceChange,
    ) -> Device | None:
        """Change a device's name or, while it does not stream, how it is wired."""
        device = services.get_device(id)
        asked = checked(DeviceWriteSerializer, input, partial=True)
        return DEVICE.thing(services.change_device(device=device, **asked.validated_data))

    @mutation(Scope.DEVICES_CONTROL)
    def remove_device(self, id: strawberry.ID) -> strawberry.ID | None:
        """Take a device off the lab's list, and return its id."""
        services.remove_device(device=services.get_device(id))
        return id
