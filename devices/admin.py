"""Devices in the portal. The page with the live scope is `ingest.admin`, which owns the stream."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from devices import services
from devices.models import Device
from neurascale.core.errors import InvalidError
from neurascale.core.portal import AuditedAdmin

STATUS_COLOURS = {
    Device.Status.STREAMING: "success",
    Device.Status.CONNECTED: "info",
    Device.Status.CONNECTING: "warning",
    Device.Status.RECONNECTING: "warning",
    Device.Status.ERROR: "danger",
}


class DeviceForm(forms.ModelForm):
    """What the driver would refuse is refused here, at the field that is to blame."""

    def clean(self) -> dict[str, Any]:
        """Ask the driver."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not {"board", "port", "settings"} <= cleaned.keys():
            return cleaned
        cleaned["settings"] = cleaned["settings"] or {}
        try:
            services.check_wiring(
                Device(board=cleaned["board"], port=cleaned["port"], settings=cleaned["settings"])
            )
        except InvalidError as error:
            for name, problems in error.details["fields"].items():
                self.add_error(name, problems)
        return cleaned


class DeviceAdmin(AuditedAdmin):
    """The boards that the lab knows."""

    form = DeviceForm
    noted_by_services = frozenset({"change", "delete"})
    list_display = ("name", "status_label", "board", "port", "host", "last_seen_at")
    list_filter = ("status", "board", "host")
    search_fields = ("name", "public_id", "port")
    add_fields = (("name", "board"), ("port", "host"), "settings")
    fields = (
        *add_fields,
        ("status", "status_since"),
        "problem",
        ("firmware", "last_seen_at"),
        "found",
        "public_id",
    )
    readonly_fields = (
        "public_id",
        "status",
        "status_since",
        "problem",
        "firmware",
        "last_seen_at",
        "found",
    )

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_label(self, device: Device) -> tuple[str, str]:
        """Return the status with the colour it is shown in."""
        return device.status, device.get_status_display()

    @display(description="Problem")
    def problem(self, device: Device) -> str | None:
        """Return what is the matter with it, and what to do."""
        if device.error is None:
            return None
        return f"{device.error['message']}. {device.error['details'].get('suggestion', '')}"

    @display(description="Firmware")
    def firmware(self, device: Device) -> str | None:
        """Return what the board said when it was reset; one that was streaming says nothing."""
        return device.board_info.get("firmware")

    @display(description="Found at the port")
    def found(self, device: Device) -> str | None:
        """Return what the operating system says of the port."""
        port = device.board_info.get("port", {})
        names = ("description", "serial_number", "latency_timer_note")
        return ", ".join(str(port[name]) for name in names if port.get(name)) or None

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> Any:
        """Leave out what is not known of a device that is only being added."""
        return self.add_fields if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> Any:
        """Keep what a running stream depends on from being changed under it."""
        fields = super().get_readonly_fields(request, obj)
        if obj is not None and obj.status in services.BUSY:
            return (*fields, *services.WIRING)
        return fields

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        """Change a device as the API does: what was known of another port is forgotten."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        services.change_device(device=obj, **changes)

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        """Say no to a device in use: its stream has to be stopped first."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and (obj is None or obj.status not in services.BUSY)

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        """Remove a device as the API does."""
        services.remove_device(device=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Remove several."""
        for device in queryset:
            services.remove_device(device=device)
