"""What can go wrong between a researcher and a board."""

from neurascale.core.errors import ConflictError, HardwareError, InvalidError, NotFoundError


class InvalidDeviceIdError(NotFoundError):
    """No device has that id."""

    code = "INVALID_DEVICE_ID"


class InvalidBoardSettingsError(InvalidError):
    """A board setting is unknown or out of range."""


class DeviceExistsError(ConflictError):
    """Another device has that port of that host."""

    code = "DEVICE_EXISTS"


class DeviceInUseError(ConflictError):
    """Recordings refer to the device."""

    code = "DEVICE_IN_USE"


class DeviceBusyError(ConflictError):
    """Somebody else uses the device or its port."""

    code = "DEVICE_BUSY"


class DeviceNotConnectedError(ConflictError):
    """The board is away, so nothing can be recorded from the device until it is back."""

    code = "DEVICE_NOT_CONNECTED"


class DeviceUnavailableError(HardwareError):
    """The device, or the lab host it is attached to, does not answer."""


class PortMissingError(HardwareError):
    """There is no such port."""


class PortBusyError(HardwareError):
    """Another program holds the port."""


class PortForbiddenError(HardwareError):
    """The operating system does not let us open the port."""


class NoAnswerError(HardwareError):
    """The port opened and nothing answered."""


class WrongBoardError(HardwareError):
    """Something answered, but not the board that was expected."""


class BoardRefusedError(HardwareError):
    """The right board answered, and did not do what it was told."""
