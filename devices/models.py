"""A device: one board, one port, one lab host."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from devices.boards import Board, BoardInfo, boards
from neurascale.core.errors import NeuraScaleError
from neurascale.core.models import PublicIdField


def local_host() -> str:
    """Return the name of the lab host this process runs on."""
    return str(settings.NEURASCALE_HOST)


def board_choices() -> list[tuple[str, str]]:
    """Return the boards there are: a new file is a new choice, without a migration."""
    return [(plugin.name, plugin.make.label) for plugin in boards]


class Device(models.Model):
    """A board that the lab knows, whether it is plugged in or not."""

    class Status(models.TextChoices):
        """The life cycle of the contract."""

        DISCONNECTED = "disconnected"
        CONNECTING = "connecting"
        CONNECTED = "connected"
        STREAMING = "streaming"
        RECONNECTING = "reconnecting"
        ERROR = "error"

    public_id = PublicIdField(prefix="dev_")
    name = models.CharField(max_length=200)
    board = models.CharField(max_length=50, choices=board_choices)
    port = models.CharField(
        max_length=500,
        help_text="A serial port (/dev/ttyUSB0), or any URL pyserial opens (socket://host:port).",
    )
    host = models.CharField(
        max_length=255, default=local_host, help_text="The lab host the board is attached to."
    )
    settings = models.JSONField(
        default=dict, blank=True, help_text="The board's own settings, such as channel gains."
    )

    status = models.CharField(
        max_length=20, choices=Status, default=Status.DISCONNECTED, editable=False
    )
    status_since = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(
        null=True, editable=False, help_text="When the board last answered."
    )
    error = models.JSONField(
        null=True, editable=False, help_text="Why the status is `error`: code, message, details."
    )
    board_info = models.JSONField(
        default=dict, editable=False, help_text="What the board and its port said of themselves."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["host", "port"], name="one_device_a_port"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def board_class(self) -> type[Board]:
        """The driver class of the device's board."""
        return boards[self.board].make

    @property
    def n_channels(self) -> int:
        """Number of EEG channels."""
        return self.make_board().n_channels

    def make_board(self) -> Board:
        """Return a fresh driver with the device's settings."""
        return self.board_class(self.settings)

    def mark(
        self,
        status: Device.Status,
        *,
        info: BoardInfo | None = None,
        port_info: dict[str, Any] | None = None,
        error: NeuraScaleError | None = None,
    ) -> None:
        """Record what became of the device; an error of before is forgotten unless given again."""
        now = timezone.now()
        if status != self.status:
            self.status_since = now
        self.status = status
        self.error = error and {
            "code": error.code,
            "message": error.message,
            "details": error.details,
        }
        if info is not None:
            self.last_seen_at = now
            self.board_info = {
                "firmware": info.firmware,
                "sample_rate": info.sfreq,
                "channels": info.n_channels,
                "details": dict(info.details),
                "port": port_info or {},
            }
        self.save(update_fields=["status", "status_since", "error", "last_seen_at", "board_info"])
