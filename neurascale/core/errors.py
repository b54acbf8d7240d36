"""The root and the branches of the error tree; leaves live in each app's ``errors.py``.

The domain knows codes and what to do about them. Only `neurascale.core.api` knows HTTP.
"""

from __future__ import annotations

from typing import Any


class NeuraScaleError(Exception):
    """Something a caller asked for cannot be done, and the message says why.

    Parameters
    ----------
    message : str
        What was asked, what was found, and what to do.
    **details
        Facts for programs; ``suggestion`` wherever one helps. Must be JSON-serialisable.
    """

    code = "INTERNAL_ERROR"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidError(NeuraScaleError):
    """The request itself is wrong; sending it again will not help."""

    code = "VALIDATION_ERROR"


class NotFoundError(NeuraScaleError):
    """There is no such thing, or the caller may not know that there is."""

    code = "NOT_FOUND"


class ConflictError(NeuraScaleError):
    """The thing is in a state in which this cannot be done."""

    code = "CONFLICT"


class ForbiddenError(NeuraScaleError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class NotAuthenticatedError(NeuraScaleError):
    """Nobody knows who is asking: no token, or one that does not hold."""

    code = "NOT_AUTHENTICATED"


class TooLargeError(NeuraScaleError):
    """What was sent is larger than what is accepted here."""

    code = "PAYLOAD_TOO_LARGE"


class TooManyError(NeuraScaleError):
    """The caller asked too often; ``details["retry_after"]`` says in how many seconds again."""

    code = "RATE_LIMIT_EXCEEDED"


class PreconditionFailedError(NeuraScaleError):
    """The thing is not as the caller believed it to be when it asked for a change."""

    code = "PRECONDITION_FAILED"


class LengthRequiredError(NeuraScaleError):
    """What was sent does not say how long it is, and there is no other way to know."""

    code = "LENGTH_REQUIRED"


class UnsupportedFormError(NeuraScaleError):
    """What was sent is in a form that nobody here reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class HardwareError(NeuraScaleError):
    """A board, a cable or a port does not do what it should."""

    code = "DEVICE_UNAVAILABLE"


class NotSupportedError(NeuraScaleError):
    """The board, format or installation cannot do this at all."""

    code = "NOT_SUPPORTED"


# --- Leaves of the core itself -------------------------------------------------------------------


class UrlTooLongError(TooLargeError):
    """The URL is longer than is accepted here."""

    code = "URI_TOO_LONG"


class HeadersTooLargeError(TooLargeError):
    """There are more headers, or longer ones, than are accepted here."""

    code = "REQUEST_HEADER_FIELDS_TOO_LARGE"


class MalformedGzipError(InvalidError):
    """The body is said to be gzip and is not, or ends too soon."""

    code = "MALFORMED_GZIP"


class IdempotencyConflictError(ConflictError):
    """The same idempotency key was used before, with another request."""

    code = "IDEMPOTENCY_CONFLICT"


class IdempotencyInProgressError(ConflictError):
    """The first request with the same idempotency key has no answer yet."""

    code = "IDEMPOTENCY_IN_PROGRESS"
