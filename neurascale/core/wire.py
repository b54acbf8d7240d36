"""JSON in and out: orjson, with what the contract asks of it.

Rule of this file: nothing of REST framework, which workers do not load. See `bodies` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from django.utils.functional import Promise

from neurascale.core.errors import InvalidError
from neurascale.core.wire_limits import check_value


class MalformedJSONError(InvalidError):
    """The body is not JSON as RFC 8259 has it."""

    code = "MALFORMED_JSON"


def _plain(value: Any) -> Any:
    """Return what orjson can write for what it does not know."""
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):  # arrays that are not contiguous, scalars of odd types
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: Any) -> bytes:
    """Return JSON; NaN and infinities become null, since JSON has neither."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
    return encode(value, default=_plain, option=options)


def encode(value: Any, *, option: int, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return what orjson writes, also of whole numbers that are beyond its 64 bits."""
    try:
        return orjson.dumps(value, default=default, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(_within_64_bits(value), default=default, option=option)


def _within_64_bits(value: Any) -> Any:
    """Return a value with floats for whole numbers that orjson cannot write.

    PostgreSQL keeps numbers of JSON as decimals: what came as 1e300 is read as a whole number.
    """
    if isinstance(value, dict):
        return {name: _within_64_bits(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_within_64_bits(inner) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def loads(body: bytes, *, apart: str | None = None) -> Any:
    """Return the value of a JSON text.

    Parameters
    ----------
    body : bytes
        UTF-8.
    apart : str, optional
        Name of a part that the caller checks itself: an object with arrays of many numbers.

    Raises
    ------
    MalformedJSONError
        If it is no JSON: NaN and Infinity are none, nor are other encodings than UTF-8. Also if a
        text holds the NUL character, which PostgreSQL cannot store.
    InvalidError
        If it is deeper, wider or has larger integers than `check_value` accepts.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedJSONError(
            f"The body is not JSON: {error}",
            position=error.pos,
            line=error.lineno,
            column=error.colno,
            suggestion="Send UTF-8 JSON, in which there is neither NaN nor Infinity.",
        ) from None
    if apart is not None and isinstance(value, dict):
        check_value({name: part for name, part in value.items() if name != apart}, body)
    else:
        check_value(value, body)
    if b"\\u0000" in body and _has_nul(value):
        raise MalformedJSONError(
            "A text in the body has a NUL character in it", position=body.index(b"\\u0000")
        )
    return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(map(_has_nul, value))
