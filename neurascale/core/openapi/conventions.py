"""What holds for every operation: headers that are read and written, and their errors.

A feature of the whole API is described here once, for all views that have it. Which do is not said
again: a view tells by its ``limit``, ``kind`` and ``tag_now``, as it tells the code that acts on
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from neurascale.core import errors
from neurascale.core.errors import NeuraScaleError
from neurascale.core.idempotency import MAX_KEY_LENGTH, REPLAYED, Idempotency
from neurascale.core.limits import Bucket, RateLimitExceededError
from neurascale.core.openapi.operation import Operation, Schema, said_of
from neurascale.core.openapi.parameters import REQUEST_ID

CHANGES = {"PUT", "PATCH", "DELETE"}
# Those that say no to the request itself are given again; before they are, the caller is let in.
KEPT = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
# In the names of the responses of errors: which of them have these headers besides.
NAMES = {"X-RateLimit-Limit": "limited", REPLAYED: "repeated"}
REQUEST_ID_ANSWER: Schema = {
    "description": "Names the request; what was sent as such, if it was sane.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
}
CHALLENGE: Schema = {
    "description": "How to say who one is (RFC 6750).",
    "required": True,
    "schema": {"type": "string", "pattern": "^Bearer "},
}
RETRY_AFTER: Schema = {
    "description": "Seconds to wait.",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
}
RETRY_LATER: Schema = {
    "description": "Seconds to wait, with `IDEMPOTENCY_IN_PROGRESS`.",
    "schema": {"type": "integer", "minimum": 0},
}
RATE_LIMIT: dict[str, Schema] = {
    "X-RateLimit-Limit": {
        "description": "Requests that are allowed in a window.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "Those that are left of it.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-RateLimit-Reset": {
        "description": "When all are there again, in seconds since the Unix epoch.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
TAG: Schema = {
    "description": "Tells whether the thing has changed: for `If-None-Match` and `If-Match`.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[^"]+"$'},
}
LOCATION: Schema = {
    "description": "The address of what was made.",
    "required": True,
    "schema": {"type": "string", "format": "uri-reference"},
}
ALLOW: Schema = {
    "description": "The methods that there are.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
}
REPEATED: Schema = {
    "description": "`true`: the first answer to this `Idempotency-Key`, given again.",
    "schema": {"type": "string", "enum": ["true"]},
}


def in_header(name: str, description: str, **schema: Any) -> Schema:
    """Return a parameter that is a header."""
    told = {"type": "string", **schema}
    return {"name": name, "in": "header", "description": description, "schema": told}


IF_NONE_MATCH = in_header("If-None-Match", "Tags that the caller has: 304 if one still holds.")
UNLESS_THERE = in_header("If-None-Match", "Tags of what not to change: 412 if one holds now.")
IF_MATCH = in_header("If-Match", "The tag of what is to be changed: 412 if it has another now.")
CONTENT_ENCODING = in_header("Content-Encoding", "How the body is packed: `gzip`, or not at all.")
IDEMPOTENCY_KEY = in_header(
    "Idempotency-Key",
    "Makes a repetition safe: the same key with the same request is done once.",
    minLength=1,
    maxLength=MAX_KEY_LENGTH,
)


# --- Which features an operation has -------------------------------------------------------------


def is_limited(view: Any, method: str) -> bool:
    """Tell whether requests are counted: of all views, unless their ``limit`` says None."""
    declared = getattr(view, "limit", Bucket.STANDARD)
    if isinstance(declared, Mapping):
        action = getattr(view, "action", None)
        declared = declared.get(action, declared.get(method, Bucket.STANDARD))
    return declared is not None


def keeps_answers(view: Any, method: str) -> bool:
    """Tell whether a request with an ``Idempotency-Key`` is done once."""
    return method == "POST" and view.kind is not Idempotency.NONE


def has_preconditions(view: Any, method: str) -> bool:
    """Tell whether a change can be made to depend on what is there."""
    return method in CHANGES and hasattr(view, "tag_now")


def tells_what_it_made(view: Any, method: str) -> bool:
    """Tell whether an answer to a change has the tag of the thing as it is now."""
    action = getattr(view, "action", None)
    return bool(
        getattr(view, "detail_path", None) and action in view.together and method != "DELETE"
    )


# --- What they add -------------------------------------------------------------------------------


def request_headers(view: Any, method: str) -> list[Schema]:
    """Return the header parameters of an operation."""
    headers = [REQUEST_ID]
    if keeps_answers(view, method):
        headers.append(IDEMPOTENCY_KEY)
    if method == "GET":
        headers.append(IF_NONE_MATCH)
    if has_preconditions(view, method):
        headers += [IF_MATCH, UNLESS_THERE]
    if said_of(view, method).takes is not None:
        headers.append(CONTENT_ENCODING)
    return headers


def response_headers(view: Any, method: str, status: int) -> Schema:
    """Return the headers of one of its answers."""
    headers = {"X-Request-ID": REQUEST_ID_ANSWER}
    if is_limited(view, method):
        headers |= RATE_LIMIT
    if status < HTTPStatus.BAD_REQUEST:
        return headers | _headers_of_good_answer(view, method, status)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ALLOW
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = RETRY_AFTER
    if keeps_answers(view, method) and status in KEPT:
        headers[REPLAYED] = REPEATED
        if status == HTTPStatus.CONFLICT and view.kind is not Idempotency.TOGETHER:
            headers["Retry-After"] = RETRY_LATER
    return headers


def _headers_of_good_answer(view: Any, method: str, status: int) -> Schema:
    headers: Schema = {}
    if keeps_answers(view, method):
        headers[REPLAYED] = REPEATED
    if method == "GET" or tells_what_it_made(view, method):
        headers["ETag"] = TAG
    if status == HTTPStatus.CREATED and tells_what_it_made(view, method):
        headers["Location"] = LOCATION
    return headers


def bare_answers(view: Any, method: str) -> list[HTTPStatus]:
    """Return the statuses of answers without a body that are no errors."""
    return [HTTPStatus.NOT_MODIFIED] if method == "GET" else []


def raised(view: Any, method: str) -> Iterator[type[NeuraScaleError]]:
    """Yield the errors that come of features of the whole API."""
    said: Operation = said_of(view, method)
    yield from (errors.UrlTooLongError, errors.HeadersTooLargeError)
    if is_limited(view, method):
        yield RateLimitExceededError
    if said.takes is not None:
        yield from (errors.MalformedGzipError, errors.LengthRequiredError)
    if keeps_answers(view, method):
        yield errors.IdempotencyConflictError
        if view.kind is not Idempotency.TOGETHER:  # its twin, or another request with the key
            yield errors.IdempotencyInProgressError
    if has_preconditions(view, method):
        yield errors.PreconditionFailedError
