"""Devices on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.boards import Board, boards
from devices.models import Device
from neurascale.core.errors import InvalidError
from neurascale.core.serializers import StrictSerializer, Written
from neurascale.core.wire import encode


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """A device as it is read.

    The fields say what there is; `device_on_the_wire` writes it without asking each of them, which
    is most of the time that a list takes.
    """

    device_id = serializers.CharField(source="public_id")
    type = serializers.CharField(allow_null=True)
    channels = serializers.IntegerField(allow_null=True)
    sample_rate = serializers.FloatField(allow_null=True)

    class Meta:
        model = Device
        fields = (
            *("device_id", "name", "type", "status", "channels", "sample_rate"),
            *("board", "port", "host", "settings", "error", "board_info"),
            *("status_since", "last_seen_at", "created_at"),
        )
        read_only_fields = fields

    @classmethod
    def many_init(cls, rows: Iterable[Device] = (), **options: Any) -> Written:  # type: ignore[override]
        """Return what writes a list."""
        return Written(rows, device_on_the_wire)

    def to_representation(self, instance: Device) -> dict[str, Any]:
        """Return the device's wire form."""
        return device_on_the_wire(instance)


def device_on_the_wire(device: Device) -> dict[str, Any]:
    """Return a device's wire form; what only its driver knows is null without one."""
    settings = encode(device.settings, option=orjson.OPT_SORT_KEYS)
    kind, n_channels, sfreq = facts_of(device.board, settings)
    return {
        "device_id": device.public_id,
        "name": device.name,
        "type": kind,
        "status": device.status,
        "channels": n_channels,
        "sample_rate": sfreq,
        "board": device.board,
        "port": device.port,
        "host": device.host,
        "settings": device.settings,
        "error": device.error,
        "board_info": device.board_info,
        "status_since": device.status_since,
        "last_seen_at": device.last_seen_at,
        "created_at": device.created_at,
    }


@lru_cache(maxsize=256)
def facts_of(board: str, settings: bytes) -> tuple[str | None, int | None, float | None]:
    """Return maker, number of channels and sampling frequency of a board with its settings.

    All None if its file is gone, or it takes other settings now. In Hz as the seed document writes
    it: 250, not 250.0.
    """
    try:
        driver: Board = Device(board=board, settings=orjson.loads(settings)).make_board()
    except InvalidError:
        return None, None, None
    sfreq = driver.sfreq
    return driver.type, driver.n_channels, int(sfreq) if float(sfreq).is_integer() else sfreq


@extend_schema_field({"type": "string", "enum": sorted({p.make.type for p in boards})})
class TypeField(serializers.CharField):
    """A maker of boards; the service says which there are."""


@extend_schema_field({"type": "string", "enum": boards.names})
class BoardField(serializers.CharField):
    """A board; likewise."""


class DeviceWriteSerializer(StrictSerializer):
    """What can be said of a device."""

    name = serializers.CharField(max_length=200)
    type = TypeField(max_length=50, required=False)
    board = BoardField(max_length=50, required=False)
    port = serializers.CharField(max_length=500)
    host = serializers.CharField(max_length=255, required=False)
    settings = serializers.DictField(required=False)
