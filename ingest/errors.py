"""What can go wrong between a sample and the disk, and with the sessions that record it."""

from neurascale.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooManyError,
)


class LeaseLostError(ConflictError):
    """Somebody else serves the stream now; whoever gets this must stop writing."""

    code = "LEASE_LOST"


class OverlapError(ConflictError):
    """Other samples are already stored at that place of the stream."""

    code = "OVERLAP"


class InvalidFilterError(InvalidError):
    """A filter is unknown, or its arguments cannot be met at this sampling frequency."""


class StreamAlreadyRunningError(ConflictError):
    """The device streams already, with other settings."""

    code = "STREAM_ALREADY_RUNNING"


class InvalidStreamIdError(NotFoundError):
    """No stream has that id, or the caller may not know that it has."""

    code = "INVALID_STREAM_ID"


class InvalidStreamSettingsError(InvalidError):
    """The board cannot stream as asked."""


class DeviceNotStreamingError(ConflictError):
    """There is no running stream to record from or to put a marker into."""

    code = "DEVICE_NOT_STREAMING"


class NoSuchSampleError(InvalidError):
    """The session has not recorded that sample."""


class InvalidArrayError(InvalidError):
    """Samples cannot be taken as they were sent."""


class InvalidIngestionError(InvalidError):
    """Samples do not fit the session they were sent to."""


class InvalidIngestionIdError(NotFoundError):
    """No ingestion has that id, or the caller may not know that it has."""

    code = "INVALID_INGESTION_ID"


class TooManySubscriptionsError(TooManyError):
    """The client watches as many devices at once as it may."""


class MayNotWatchError(ForbiddenError):
    """The client may not see devices, so a socket is of no use to it."""


class InvalidStretchError(InvalidError):
    """There is no such part of the recording."""
