"""Values that GraphQL has no name for, as REST writes them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NewType

import strawberry
from graphql import (
    FloatValueNode,
    Undefined,
    ValueNode,
    Visitor,
    value_from_ast_untyped,
    visit,
)
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from neurascale.core.errors import InvalidError
from neurascale.core.wire_limits import check_shape

LARGEST = 2**53  # what a double, and so JavaScript, holds exactly

DateTime = NewType("DateTime", str)
Long = NewType("Long", int)
Samples = NewType("Samples", list)

__all__ = ["CONFIG", "JSON", "DateTime", "Long", "Samples"]


def plain(source: Any, name: str) -> Any:
    """Return what a field without a method reads: a key of a mapping, or an attribute."""
    return source[name] if isinstance(source, dict) else getattr(source, name)


def _moment(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidError(f"A DateTime must be a text, not {_shown(value)}")
    return value


def _whole(value: Any) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or abs(value) > LARGEST:
        raise InvalidError(f"A Long must be a whole number of 53 bits, not {_shown(value)}")
    return int(value)


def _exact(value: Any) -> int:
    if abs(value) > LARGEST:
        raise ValueError(f"{value} does not fit into 53 bits")  # a bug of ours, not of the caller
    return int(value)


def _samples(value: Any) -> Any:
    raise InvalidError("Samples are only read, and cannot be given")


def _json(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    """Return the JSON value that a literal is, with the values of variables in it.

    As in any other literal, a field whose variable was given no value is left out, and an item of
    a list is null.
    """
    visit(node, _RefuseInfinities())
    value = _whole_value(value_from_ast_untyped(node, variables))
    check_shape(value)
    return value


class _RefuseInfinities(Visitor):
    """Raises for a number beyond a double, of which Python makes an infinity."""

    def enter_float_value(self, node: FloatValueNode, *_: Any) -> None:
        """Look at a number."""
        if not math.isfinite(float(node.value)):
            raise InvalidError(
                f"The number {_short(node.value)} is too large for a double",
                suggestion="Send it as a text.",
            )


def _whole_value(value: Any) -> Any:
    """Return a value without what a variable left undefined."""
    if isinstance(value, dict):
        return {k: _whole_value(inner) for k, inner in value.items() if inner is not Undefined}
    if isinstance(value, list):
        return [None if inner is Undefined else _whole_value(inner) for inner in value]
    return value


def _shown(value: Any) -> str:
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


SCALARS: dict[object, Any] = {
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value: what REST takes in the same place.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
        parse_literal=_json,
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="ISO 8601 with zone: `2025-07-26T10:30:00Z`.",
        serialize=_moment,
        parse_value=_text,
    ),
    Long: strawberry.scalar(
        name="Long",
        description="A whole number of up to 53 bits: a sample's place outgrows `Int`.",
        serialize=_exact,
        parse_value=_whole,
    ),
    Samples: strawberry.scalar(
        name="Samples",
        description="Microvolts: a row a sample, a column a channel; null where one is missing.",
        serialize=lambda rows: rows,
        parse_value=_samples,
    ),
}

CONFIG = StrawberryConfig(default_resolver=plain, scalar_map=SCALARS)
