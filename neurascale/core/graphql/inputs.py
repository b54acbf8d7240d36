"""Inputs made of REST's serializers, so that both take the same and refuse the same.

The types are made while a module is imported, so this file's annotations are types and no texts.
"""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import strawberry
from django.db.models import BooleanField, Model
from rest_framework import serializers

from neurascale.core.errors import InvalidError
from neurascale.core.graphql.declare import first_line
from neurascale.core.graphql.scalars import JSON, Long
from neurascale.core.paging import field_of

SerializerType = type[serializers.Serializer[Any]]
S = TypeVar("S", bound=serializers.Serializer[Any])

TYPES: dict[type[serializers.Field], Any] = {  # the first that a field is an instance of
    serializers.BooleanField: bool,
    serializers.IntegerField: Long,
    serializers.FloatField: float,
    serializers.CharField: str,
    serializers.DictField: JSON,
    serializers.JSONField: JSON,
}


def input_of(name: str, serializer: SerializerType, *, partial: bool = False) -> Any:
    """Return an input type with the fields that a serializer writes.

    Parameters
    ----------
    name : str
        In the schema.
    serializer : type
        Of REST.
    partial : bool
        Whether everything may be left out: for changes.
    """
    fields = []
    for field_name, field in serializer().fields.items():
        if field.read_only:
            continue
        kind = _type_of(field_name, field)
        if partial or not field.required:
            unset = strawberry.field(default=strawberry.UNSET, description=help_of(field))
            fields.append((field_name, kind | None, unset))
        else:
            fields.append((field_name, kind, strawberry.field(description=help_of(field))))
    made = dataclasses.make_dataclass(name, fields, kw_only=True)
    made.__module__ = __name__
    return strawberry.input(made, name=name, description=first_line(serializer.__doc__))


def help_of(field: Any) -> str | None:
    """Return what REST says that a field is for."""
    return str(field.help_text) if field.help_text else None


def _type_of(name: str, field: Any) -> Any:
    if name.endswith("_id"):
        return strawberry.ID
    if isinstance(field, serializers.ListField):
        return list[_type_of("", field.child)]  # type: ignore[misc]
    return next((kind for known, kind in TYPES.items() if isinstance(field, known)), str)


def checked(serializer: type[S], given: Any, *, partial: bool = False) -> S:
    """Return the serializer of REST over an input, valid.

    Raises
    ------
    ValidationError
        Of REST framework, with REST's names and texts.
    """
    asked = serializer(data=given_in(given), partial=partial)
    asked.is_valid(raise_exception=True)
    return asked


def given_in(value: Any) -> dict[str, Any]:
    """Return what was given of an input, by REST's names; empty for none."""
    if value is None or value is strawberry.UNSET:
        return {}
    given = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: part for name, part in given.items() if part is not strawberry.UNSET}


def or_none(value: Any) -> Any:
    """Return an argument; None for one that was left out."""
    return None if value is strawberry.UNSET else value


# --- Lists ---------------------------------------------------------------------------------------


def filter_of(name: str, filter_fields: Mapping[str, Any], model: type[Model]) -> Any:
    """Return an input type that narrows a list: one value a filter of REST; all must fit.

    Parameters
    ----------
    name : str
        In the schema.
    filter_fields : mapping
        Of the view set of REST: from its names to fields of the rows, or functions.
    model : type
        Of the rows.
    """
    fields = [
        (wanted, _type_of_filter(wanted, matcher, model) | None, _unset())
        for wanted, matcher in filter_fields.items()
    ]
    made = dataclasses.make_dataclass(name, fields, kw_only=True)
    made.__module__ = __name__
    return strawberry.input(made, name=name, description="Exact values; all given must fit.")


def _unset() -> Any:
    return strawberry.field(default=strawberry.UNSET)


def _type_of_filter(name: str, matcher: Any, model: type[Model]) -> Any:
    if name.endswith("_id"):
        return strawberry.ID
    is_truth = isinstance(matcher, str) and isinstance(field_of(model, matcher), BooleanField)
    return bool if is_truth else str


def filters_in(value: Any) -> dict[str, str]:
    """Return the filters that were given, as REST has them; null is as good as none.

    Raises
    ------
    InvalidError
        If one holds what no database can look up.
    """
    given = {
        name: str(part).lower() if isinstance(part, bool) else part
        for name, part in given_in(value).items()
        if part is not None
    }
    for name, text in given.items():
        if "\0" in text:
            raise InvalidError(
                f"{name} has a NUL character in it", fields={name: ["Leave out the NUL."]}
            )
    return given


def order_of(name: str, ordering_fields: Mapping[str, str]) -> Any:
    """Return an enum of the orders of REST: ``NAME`` rising, ``NAME_DESC`` falling."""
    members = {}
    for wanted in ordering_fields:
        members[wanted.upper()] = wanted
        members[f"{wanted.upper()}_DESC"] = f"-{wanted}"
    return strawberry.enum(Enum(name, members))  # type: ignore[call-overload]
