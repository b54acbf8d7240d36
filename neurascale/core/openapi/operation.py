"""What a view says of itself because nobody could tell by looking at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurascale.core.errors import NeuraScaleError

Schema = dict[str, Any]
NOTHING_TO_SAY: Schema = {"type": "object", "maxProperties": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One action or method of a view.

    A *shape* is a serializer class, a type (a TypedDict becomes a named schema), or a JSON schema.

    Parameters
    ----------
    takes : shape or mapping of media type to shape, optional
        The body. One shape is taken in every media type that the view's parsers read.
    needs_body : bool
        Whether the body may not be left out.
    query : serializer class, optional
        Reads the URL's query.
    gives : shape or mapping of media type to shape, optional
        The body of the good answer; by default what ``serializer_class`` writes.
    status : int, optional
        Of the good answer; by default 201 for ``create``, 204 for ``destroy``, else 200.
    raises : tuple of error classes
        Those of the domain. Ids that are not found and all that is true of every view are known.
    also : mapping of int to mapping of media type to shape
        Bodies that errors have besides the envelope, by status.
    headers : mapping of str to str
        Of the good answer, and what each says.
    parameters : tuple of dict
        Parameters of OpenAPI, such as headers that are read.
    """

    takes: Any = None
    needs_body: bool = True
    query: Any = None
    gives: Any = None
    status: int | None = None
    raises: tuple[type[NeuraScaleError], ...] = ()
    also: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[Schema, ...] = ()


def said_of(view: Any, method: str) -> Operation:
    """Return what a view says of what it is about to do; nothing, if it says nothing."""
    said: Mapping[str, Operation] = getattr(view, "operations", {})
    action = getattr(view, "action", None) or method.lower()
    return said.get(action) or said.get(method.upper()) or Operation()
