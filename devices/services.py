"""Use cases of the lab's list of devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from devices.boards import boards
from devices.errors import (
    DeviceBusyError,
    DeviceExistsError,
    DeviceInUseError,
    InvalidBoardSettingsError,
    InvalidDeviceIdError,
)
from devices.models import Device, local_host
from neurascale.core.audit import record, recorded
from neurascale.core.errors import InvalidError

DEFAULT_BOARDS = {"openbci": "cyton"}  # where a type has several
WIRING = ("board", "port", "host", "settings")  # cannot change under a running stream
BUSY = (Device.Status.CONNECTING, Device.Status.STREAMING, Device.Status.RECONNECTING)
# Of the URLs that pyserial opens, those that reach a board: spy:// would write files.
PORT_SCHEMES = ("socket", "rfc2217")


def get_device(device_id: str) -> Device:
    """Return the device with a public id.

    Raises
    ------
    InvalidDeviceIdError
        If there is none, or the id is none at all.
    """
    device = Device.objects.filter(public_id=device_id).first()
    if device is None:
        raise InvalidDeviceIdError(
            f"Device with ID '{device_id}' not found",
            device_id=device_id,
            suggestion="Check device ID or register device first",
        )
    return device


def register_device(
    *,
    name: str,
    port: str,
    type: str | None = None,  # noqa: A002 - the wire's word
    board: str | None = None,
    host: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Device:
    """Add a device to the lab; nothing is opened yet.

    Parameters
    ----------
    name : str
        What people call it.
    port : str
        A serial port, or ``socket://host:port``.
    type : str, optional
        Maker of the board (``"openbci"``); enough where it has one board, or a usual one.
    board : str, optional
        The board itself (``"cyton_daisy"``).
    host : str, optional
        Lab host that the board is plugged into; this one by default.
    settings : mapping, optional
        The board's own.

    Raises
    ------
    InvalidError
        If there is no such board, or it does not take these settings.
    DeviceExistsError
        If another device has that port.
    """
    board = find_board(type=type, board=board)
    device = Device(
        name=name, board=board, port=port, host=host or local_host(), settings=dict(settings or {})
    )
    with recorded():
        _checked_and_saved(device)
        record("device.create", device)
    return device


def change_device(*, device: Device, **changes: Any) -> Device:
    """Change a device's name or, while it does not stream, how it is wired.

    Raises
    ------
    DeviceBusyError
        If the wiring is to change while the device is in use.
    InvalidError, DeviceExistsError
        As for `register_device`.
    """
    with recorded():
        device = Device.objects.select_for_update().get(pk=device.pk)
        fields = sorted(changes)
        if "type" in changes or "board" in changes:
            asked = {"type": changes.pop("type", None), "board": changes.pop("board", None)}
            changes["board"] = find_board(**asked)
        rewired = [
            name
            for name in WIRING
            if changes.get(name, getattr(device, name)) != getattr(device, name)
        ]
        if rewired and device.status in BUSY:
            raise DeviceBusyError(
                f"{device.name} is {device.status}; its {' and '.join(rewired)} cannot change now",
                device_id=device.public_id,
                status=device.status,
                suggestion="Stop its stream first.",
            )
        for name, value in changes.items():
            setattr(device, name, value)
        device = _checked_and_saved(device)
        if rewired and device.status != Device.Status.DISCONNECTED:
            device.mark(Device.Status.DISCONNECTED)  # what is known of it was known of another port
        record("device.change", device, fields=fields)
    return device


def remove_device(*, device: Device) -> None:
    """Take a device off the lab's list, and with it what it streamed and nobody recorded.

    Raises
    ------
    DeviceBusyError
        If it is in use.
    DeviceInUseError
        If sessions were recorded from it.
    """
    with recorded():
        device = Device.objects.select_for_update().get(pk=device.pk)
        if device.status in BUSY:
            raise DeviceBusyError(
                f"{device.name} is {device.status} and cannot be removed now",
                device_id=device.public_id,
                status=device.status,
                suggestion="Stop its stream first.",
            )
        try:
            with transaction.atomic():
                device.delete()
        except ProtectedError:
            raise DeviceInUseError(
                f"{device.name} has recorded sessions, which would lose their device",
                device_id=device.public_id,
                suggestion="Delete its sessions first; to keep them, rename the device instead.",
            ) from None
        record("device.delete", device)


def find_board(
    *,
    type: str | None = None,  # noqa: A002 - the wire's word
    board: str | None = None,
) -> str:
    """Return the name of the board that a type, a board, or both together mean.

    Raises
    ------
    InvalidError
        If there is none, or if the two contradict each other.
    """
    if board is not None:
        if board not in boards:
            raise _no_board("board", board, boards.names)
        if type is not None and type != boards[board].make.type:
            raise _no_board("type", type, [boards[board].make.type])
        return board
    of_type = {plugin.name for plugin in boards if plugin.make.type == type}
    if not of_type:
        known = sorted({plugin.make.type for plugin in boards})
        raise _no_board("type", type, known)
    usual = DEFAULT_BOARDS.get(str(type))
    if usual not in of_type and len(of_type) > 1:
        raise _no_board("board", None, sorted(of_type))
    return usual if usual in of_type else of_type.pop()


def _no_board(name: str, asked: str | None, known: list[str]) -> InvalidError:
    found = "is missing" if asked is None else f"{asked!r} does not fit"
    problem = f"Must be {' or '.join(known)}."
    return InvalidError(f"{name} {found}. {problem}", fields={name: [problem]})


def check_port(port: str) -> None:
    """Raise unless a port is the name of one, or a URL that leads to one.

    Raises
    ------
    InvalidError
        If it is another kind of URL.
    """
    scheme, separator, _ = port.partition("://")
    if separator and scheme not in PORT_SCHEMES:
        problem = f"A serial port such as /dev/ttyUSB0, or a URL of {' or '.join(PORT_SCHEMES)}."
        raise InvalidError(f"port {port!r} cannot be opened", fields={"port": [problem]})


def check_wiring(device: Device) -> None:
    """Raise unless a device's port can be one, and its board takes its settings.

    Raises
    ------
    InvalidError
        If not; ``details["fields"]`` says which of the two, and why.
    """
    check_port(device.port)
    try:
        device.make_board()
    except InvalidBoardSettingsError as error:
        told = {"fields": {"settings": [error.message]}, **error.details}
        raise InvalidBoardSettingsError(error.message, **told) from None


def _checked_and_saved(device: Device) -> Device:
    """Save a device that its driver takes as it is."""
    check_wiring(device)
    try:
        with transaction.atomic():
            device.save()
    except IntegrityError:
        other = Device.objects.get(host=device.host, port=device.port)
        raise DeviceExistsError(
            f"{other.name} has port {device.port} of {device.host} already",
            device_id=other.public_id,
            suggestion="Use that device, or remove it first.",
        ) from None
    return device
