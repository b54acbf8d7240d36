"""From types and serializers to JSON schemas."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, force_instance, is_serializer
from drf_spectacular.plumbing import resolve_type_hint as basic

from neurascale.core.openapi.operation import Schema

BYTES: Schema = {"type": "string", "format": "binary"}


def summary_of(thing: Any) -> str:
    """Return the first paragraph of a docstring, as plain text."""
    text = (getattr(thing, "__doc__", None) or "").strip().split("\n\n")[0]
    return " ".join(text.replace("``", "`").split())


def schema_of(shape: Any, inspector: AutoSchema, direction: str = "response") -> Schema:
    """Return the schema of a shape; what has a name becomes a component and is referred to.

    Parameters
    ----------
    shape : serializer, type or dict
        See `neurascale.core.openapi.operation.Operation`.
    inspector : AutoSchema
        Knows serializers and the components so far.
    direction : str
        ``"request"`` or ``"response"``.
    """
    if isinstance(shape, dict):
        return shape
    if is_serializer(shape):
        serializer = force_instance(shape)
        serializer.partial = direction == "request" and inspector.method == "PATCH"
        component: Schema = inspector.resolve_serializer(serializer, direction).ref  # type: ignore[arg-type]
        return component
    return _of_type(shape, inspector)


def _of_type(hint: Any, inspector: AutoSchema) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_of_type(arguments[0], inspector), "description": arguments[1]}
    if is_typeddict(hint) or dataclasses.is_dataclass(hint):
        return _of_fields(hint, inspector)
    if hint is Any:
        return {}
    if origin in {Union, types.UnionType}:
        return _of_union(arguments, inspector)
    return _of_plain_type(hint, origin, arguments, inspector)


def _of_plain_type(
    hint: Any, origin: Any, arguments: tuple[Any, ...], inspector: AutoSchema
) -> Schema:
    """Return the schema of a container, a few words, or what drf-spectacular knows."""
    if origin is list:
        return {"type": "array", "items": _of_type(arguments[0], inspector)}
    if origin in {dict, Mapping}:
        return {"type": "object", "additionalProperties": {}}
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    return dict(basic(hint))


def _of_union(arguments: tuple[Any, ...], inspector: AutoSchema) -> Schema:
    """Return the schema of one thing or null; there are no other unions on this wire."""
    (only,) = (argument for argument in arguments if argument is not types.NoneType)
    schema = _of_type(only, inspector)
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"oneOf": [schema, {"type": "null"}]}


def _of_fields(hint: Any, inspector: AutoSchema) -> Schema:
    """Return the schema of a TypedDict or a dataclass, all of whose fields are always there."""
    component = ResolvedComponent(name=hint.__name__, type=ResolvedComponent.SCHEMA, object=hint)
    if component not in inspector.registry:
        inspector.registry.register(component)
        fields = get_type_hints(hint, include_extras=True)
        component.schema = {
            "type": "object",
            "description": summary_of(hint),
            "properties": {name: _of_type(kind, inspector) for name, kind in fields.items()},
            "required": sorted(fields),
        }
    reference: Schema = component.ref
    return reference
