"""What an operation reads from the path, the query and the headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from drf_spectacular.openapi import AutoSchema

from neurascale.core.openapi.operation import Schema
from neurascale.core.openapi.shapes import summary_of
from neurascale.core.paging import DEFAULT_LIMIT, MAX_LIMIT, field_of

REQUEST_ID: Schema = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "A name for the request, 8 to 64 of `A-Za-z0-9._-`; another is replaced.",
    "schema": {"type": "string"},
}


def in_path(name: str) -> Schema:
    """Return a parameter of the path: the public id of a thing."""
    thing = name.removesuffix("_id").replace("_", " ")
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"Public id of the {thing}.",
        "schema": {"type": "string", "minLength": 1},
    }


def in_query(name: str, description: str, schema: Schema, *, required: bool = False) -> Schema:
    """Return a parameter of the URL's query."""
    parameter = {"name": name, "in": "query", "description": description, "schema": schema}
    return parameter | ({"required": True} if required else {})


def of_list(view: Any, inspector: AutoSchema) -> list[Schema]:
    """Return what a list reads: page, order, search, and its filters."""
    names = sorted(view.ordering_fields)
    orders = [sign + name for name in names for sign in ("", "-")]
    usual = ",".join(view.ordering)
    parameters = [
        in_query(
            "limit",
            "How many to return.",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        in_query("cursor", "From `pagination.next` or `.previous`.", {"type": "string"}),
    ]
    if orders:
        one = "|".join(orders)
        parameters.append(
            in_query(
                "ordering",
                f"Any of {', '.join(names)}, with commas between; `-` before: falling.",
                {"type": "string", "pattern": f"^(({one})(,({one}))*)?$", "default": usual},
            )
        )
    if view.search_fields:
        parameters.append(
            in_query("search", "Words that must all be found in the texts.", {"type": "string"})
        )
    return parameters + [
        in_query(name, *_filter(view, inspector, name, matcher))
        for name, matcher in view.filter_fields.items()
    ]


def _filter(
    view: Any, inspector: AutoSchema, name: str, matcher: str | Callable[..., Any]
) -> tuple[str, Schema]:
    """Return description and schema of a filter: a field's own, or what a function says."""
    if callable(matcher):
        return summary_of(matcher), {"type": "string"}
    field = field_of(_model_of(view), matcher)
    schema: Schema = inspector._map_model_field(field, direction="request")
    kept = {"type", "format", "enum", "minimum", "maximum"}
    plain = {key: value for key, value in schema.items() if key in kept}
    if isinstance(plain.get("type"), list):
        plain["type"] = next(kind for kind in plain["type"] if kind != "null")
    return f"Only those with this {name}.", plain


def _model_of(view: Any) -> type[models.Model]:
    """Return the model that a list shows."""
    model: type[models.Model] = view.serializer_class.Meta.model
    return model


def of_serializer(serializer_class: Any, inspector: AutoSchema) -> list[Schema]:
    """Return the parameters that a serializer reads from the query."""
    schema = inspector._map_serializer(serializer_class(), "request")
    required = schema.get("required", [])
    return [
        in_query(name, field.pop("description", ""), field, required=name in required)
        for name, field in schema["properties"].items()
    ]
