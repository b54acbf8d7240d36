"""What a JSON value may be like before anything else looks at it: how deep, how wide, how large.

The parser takes values a thousand levels deep, which nothing behind it can walk, write or store;
and it makes a float of an integer beyond 64 bit, which would then be another number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from neurascale.core.errors import InvalidError

MAX_DEPTH = 64
MAX_FIELDS = 1000  # of one object
LEAST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
SUSPICIOUS = 2.0**63  # a float from here on may have been an integer


def check_value(value: Any, text: bytes) -> None:
    """Raise unless everything in a parsed JSON text can be handled.

    Parameters
    ----------
    value : JSON value
        As it was parsed, or a part of it.
    text : bytes
        What it was parsed from.

    Raises
    ------
    InvalidError
        If it is too deep, or an object too wide, or an integer is too large; the details name the
        limit.
    """
    if check_shape(value):
        json.loads(text, parse_int=check_integer)


def check_shape(value: Any) -> bool:
    """Raise unless a JSON value is flat and narrow enough to be handled.

    Returns
    -------
    bool
        Whether a float in it is so large that it may have been an integer.

    Raises
    ------
    InvalidError
        If it is too deep, or an object too wide; the details name the limit.
    """
    level: list[Any] = [value]
    is_suspicious = False
    for _ in range(MAX_DEPTH + 1):
        is_suspicious = is_suspicious or any(
            type(item) is float and not -SUSPICIOUS < item < SUSPICIOUS for item in level
        )
        inner = [item for item in level if type(item) is dict or type(item) is list]
        if not inner:
            return is_suspicious
        level = list(_inside(inner))
    raise InvalidError(
        f"The JSON nests deeper than the {MAX_DEPTH} levels that are accepted",
        limit_depth=MAX_DEPTH,
        suggestion="Send it flatter.",
    )


def _inside(containers: Iterable[Any]) -> Iterator[Any]:
    """Yield what is in lists and objects."""
    for container in containers:
        if type(container) is list:
            yield from container
            continue
        if len(container) > MAX_FIELDS:
            raise InvalidError(
                f"An object in the JSON has {len(container)} fields; {MAX_FIELDS} are accepted",
                limit_fields=MAX_FIELDS,
                suggestion="Send less at once, or lists instead of objects.",
            )
        yield from container.values()


def check_integer(digits: str) -> int:
    """Return the integer that digits are.

    Raises
    ------
    InvalidError
        If it does not fit into 64 bit.
    """
    # Of thousands of digits Python would make no integer at all.
    if len(digits) > 21 or not LEAST_INTEGER <= int(digits) <= LARGEST_INTEGER:
        shown = digits if len(digits) <= 24 else f"{digits[:20]}…"
        raise InvalidError(
            f"The integer {shown} in the JSON does not fit into 64 bit",
            limit_bits=64,
            suggestion="Send it as a text, or as a float such as 1e30.",
        )
    return int(digits)
