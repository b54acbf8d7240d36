"""Lists: filters, search, order, and cursors that stay in place while rows are added.

A view set declares, in wire names: ``plural``, ``filter_fields``, ``search_fields``,
``ordering_fields`` and ``ordering``. A page is found by the values of its neighbour and not by
counting, so nothing is shown twice and nothing left out when rows come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import models
from django.db.models import F, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpResponse
from rest_framework.filters import BaseFilterBackend
from rest_framework.generics import GenericAPIView
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from neurascale.core.bodies import json_response
from neurascale.core.errors import InvalidError
from neurascale.core.prepared import Prepared

M = TypeVar("M", bound=models.Model)

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
TIE_BREAKER = "public_id"  # unique, and unlike the primary key no secret
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
AT_MOST = f"Ask for 1 to {MAX_LIMIT} at once, and follow the pages."
FOLLOW = "Take it from `pagination.next` or `.previous`, or start without."
OWN_PARAMETERS = ("limit", "cursor", "ordering", "search")
UNCHANGING = {"limit", "ordering"}  # what may be asked of a list without changing what is in it

FilterFunction = Callable[[QuerySet[Any], str], QuerySet[Any]]


def invalid(name: str, problem: str, suggestion: str) -> InvalidError:
    """Return the error for one parameter of the URL: what is wrong, and what is accepted."""
    return InvalidError(f"{name}: {problem}", fields={name: [problem]}, suggestion=suggestion)


# --- Which rows ----------------------------------------------------------------------------------


class FieldFilters(BaseFilterBackend):
    """``?status=active&search=words``: exact matches of declared fields, and a search.

    ``view.filter_fields`` maps a wire name to a field (``"device__public_id"``) or to a function
    of (queryset, value). ``view.search_fields`` names texts; every word must be in one of them.
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any, Any], view: Any
    ) -> QuerySet[Any, Any]:
        """Return the rows that match.

        Raises
        ------
        InvalidError
            If a parameter is unknown, given twice, or no value of its field.
        """
        fields: Mapping[str, str | FilterFunction] = getattr(view, "filter_fields", {})
        texts: Sequence[str] = getattr(view, "search_fields", ())
        known = sorted({*OWN_PARAMETERS, *fields} - (set() if texts else {"search"}))
        for name, values in request.query_params.lists():
            if name not in known:
                told = ", ".join(known)
                raise invalid(name, f"This list knows only {told}.", f"Ask by any of {told}.")
            if len(values) > 1:
                raise invalid(name, "May be given once.", f"Give {name} once, or not at all.")
        given = {name: text for name, (text,) in request.query_params.lists() if name in fields}
        return narrowed(queryset, view, given, search=request.query_params.get("search", ""))


def narrowed(
    queryset: QuerySet[M], view: Any, given: Mapping[str, str], *, search: str = ""
) -> QuerySet[M]:
    """Return the rows that match every value given, and every word that is searched for.

    Parameters
    ----------
    view : any
        Declares ``filter_fields`` and ``search_fields``.
    given : mapping of str to str
        Values by the names of ``filter_fields``.

    Raises
    ------
    InvalidError
        If something is no value of its field.
    """
    for name, text in given.items():
        queryset = _match(queryset, name, view.filter_fields[name], text)
    if search.split() and not view.search_fields:
        narrower = ", ".join(sorted(view.filter_fields)) or "nothing"
        raise invalid("search", "This list cannot be searched.", f"Narrow it by {narrower}.")
    for word in search.split():
        searched = [Q((f"{text}__icontains", word)) for text in view.search_fields]
        queryset = queryset.filter(reduce(or_, searched))
    return queryset


def _match(
    queryset: QuerySet[M], name: str, matcher: str | FilterFunction, value: str
) -> QuerySet[M]:
    if callable(matcher):
        return matcher(queryset, value)
    field = field_of(queryset.model, matcher)
    if isinstance(field, models.BooleanField):
        if value.lower() not in BOOLEANS:
            raise invalid(name, "Must be true or false.", f"Send {name}=true or {name}=false.")
        return queryset.filter((matcher, BOOLEANS[value.lower()]))
    choices = [str(choice) for choice, _ in field.flatchoices]
    if choices and value not in choices:
        told = ", ".join(choices)
        raise invalid(name, f"{value!r} is not one of {told}.", f"Send one of {told}.")
    try:
        return queryset.filter((matcher, field.to_python(value)))
    except ValidationError as error:
        form = field.get_internal_type().removesuffix("Field").lower()
        raise invalid(name, " ".join(error.messages), f"Send a value of type {form}.") from None


def field_of(model: type[models.Model], path: str) -> Any:
    """Return the field at the end of a path such as ``device__public_id``."""
    *relations, name = path.split(LOOKUP_SEP)
    for relation in relations:
        model = model._meta.get_field(relation).related_model  # type: ignore[assignment]
    return model._meta.get_field(name)


# --- In which order ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """One field of an order, with null as the smallest value on every database."""

    path: str
    descending: bool

    def __str__(self) -> str:
        return f"-{self.path}" if self.descending else self.path

    def expression(self, *, backwards: bool) -> Any:
        """Return what to order by."""
        if self.descending != backwards:
            return F(self.path).desc(nulls_last=True)
        return F(self.path).asc(nulls_first=True)

    def beyond(self, value: Any, *, backwards: bool) -> Q:
        """Return the rows that come after ``value`` in this key."""
        is_null = Q((f"{self.path}__isnull", True))
        if self.descending != backwards:
            return Q(pk__in=[]) if value is None else Q((f"{self.path}__lt", value)) | is_null
        return ~is_null if value is None else Q((f"{self.path}__gt", value))

    def same(self, value: Any) -> Q:
        """Return the rows that have ``value``."""
        return Q((f"{self.path}__isnull", True)) if value is None else Q((self.path, value))


def keys_of(view: Any, asked: str | None) -> list[Key]:
    """Return the order asked for, or the view's own, made total by the public id."""
    known: Mapping[str, str] = getattr(view, "ordering_fields", {})
    names = asked.split(",") if asked else list(view.ordering)
    keys = []
    for name in names:
        bare = name.removeprefix("-")
        if bare not in known:
            told = ", ".join(sorted(known))
            raise invalid(
                "ordering",
                f"{bare!r} is not one of {told} (- before: falling).",
                f"Order by any of {told}, with commas between." if known else "Leave it out.",
            )
        keys.append(Key(known[bare], descending=name.startswith("-")))
    unique = getattr(view, "tie_breaker", TIE_BREAKER)
    return [*keys, Key(unique, descending=bool(keys) and keys[-1].descending)]


# --- From where ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows, and the direction in which to read from it.

    Parameters
    ----------
    order : list of str
        What the values belong to.
    values : list
        Of the row beside the place, one a key.
    backwards : bool
        Read towards the beginning.
    including : bool
        The row itself, should it still be there, is the first to read.
    """

    order: list[str]
    values: list[Any]
    backwards: bool
    including: bool = False

    def encode(self) -> str:
        """Return the cursor as signed text: whoever changes a letter gets a clear answer."""
        return _signer().sign_object([self.order, self.values, self.backwards, self.including])

    @classmethod
    def decode(cls, text: str, order: list[str]) -> Cursor:
        """Return the cursor that a text is, if it is one of ours and of this order."""
        try:
            cursor = cls(*_signer().unsign_object(text))
        except (BadSignature, ValueError, TypeError):
            raise invalid("cursor", "That is no cursor of this lab.", FOLLOW) from None
        if cursor.order != order:
            raise invalid("cursor", "It belongs to another list or ordering.", FOLLOW)
        return cursor


def _signer() -> Signer:
    return Signer(salt="neurascale.cursor")


def order_of(queryset: QuerySet[M], keys: Sequence[Key]) -> list[str]:
    """Return what a cursor of these rows in this order says that it belongs to."""
    return [queryset.model._meta.label, *map(str, keys)]


def values_of(row: models.Model, keys: Sequence[Key]) -> list[Any]:
    """Return a row's place in an order, as a cursor holds it."""
    return [_text(row, key.path) for key in keys]


def beyond(queryset: QuerySet[M], keys: Sequence[Key], cursor: Cursor | None) -> QuerySet[M]:
    """Return the rows beyond a cursor, in no order; all where there is none."""
    if cursor is None:
        return queryset
    found, same = Q(pk__in=[]), Q()
    for key, text in zip(keys, cursor.values, strict=True):
        value = None if text is None else field_of(queryset.model, key.path).to_python(text)
        found |= same & key.beyond(value, backwards=cursor.backwards)
        same &= key.same(value)
    return queryset.filter(found | same if cursor.including else found)


def ordered(queryset: QuerySet[M], keys: Sequence[Key], *, backwards: bool) -> QuerySet[M]:
    """Return rows in an order, or in the opposite one."""
    return queryset.order_by(*(key.expression(backwards=backwards) for key in keys))


@lru_cache(maxsize=256)
def _first_page(view: Any, keys: tuple[Key, ...], limit: int) -> Prepared:
    """Return the query of the first page of a list that is the same for all who may see it."""
    return Prepared(lambda: ordered(view.queryset.all(), keys, backwards=False)[: limit + 1])


class CursorPaging(BasePagination):
    """Pages of ``limit`` rows, with links to their neighbours and the number of all."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Return the rows of the page asked for.

        Raises
        ------
        InvalidError
            If limit, ordering or cursor are not what they should be.
        """
        self.request, self.plural = request, view.plural
        query = request.query_params
        limit = _limit(query.get("limit"))
        self.keys = keys_of(view, query.get("ordering"))
        self.order = order_of(queryset, self.keys)
        text = query.get("cursor")
        self.cursor = Cursor.decode(text, self.order) if text else None
        backwards = self.cursor is not None and self.cursor.backwards

        if query.keys() <= UNCHANGING and type(view).get_queryset is GenericAPIView.get_queryset:
            kind: Any = type(view)
            rows = _first_page(kind, tuple(self.keys), limit).all()
        else:
            rows = list(self._from(queryset, self.cursor, backwards=backwards)[: limit + 1])
        more = len(rows) > limit
        page = rows[:limit][::-1] if backwards else rows[:limit]
        is_all = self.cursor is None and not more  # then there is nothing to count
        self.total = len(rows) if is_all else queryset.count()
        self._link(queryset, page, more=more, backwards=backwards)
        return page

    @property
    def state(self) -> list[Any]:
        """What a page shows besides its rows, as JSON values."""
        ends = [end and (end.values, end.backwards, end.including) for end in self._ends]
        return [self.total, *ends]

    def get_paginated_response(  # type: ignore[override]  # any answer of Django's will do
        self, data: Sequence[Any]
    ) -> HttpResponse:
        """Return ``{"<plural>": [...], "pagination": {...}}``."""
        return json_response(
            {
                self.plural: data,
                "pagination": {
                    "next": self._url(self.next),
                    "previous": self._url(self.previous),
                    "total": self.total,
                },
            }
        )

    def _from(
        self, queryset: QuerySet[M], cursor: Cursor | None, *, backwards: bool
    ) -> QuerySet[M]:
        """Return the rows beyond a cursor, the nearest first."""
        return ordered(beyond(queryset, self.keys, cursor), self.keys, backwards=backwards)

    def _link(self, queryset: QuerySet[M], page: list[M], *, more: bool, backwards: bool) -> None:
        """Find out whether there are rows after and before the page."""
        last, first = self._beside(page, -1, backwards=False), self._beside(page, 0, backwards=True)
        behind = last if backwards else first
        came_from = behind is not None and (
            self.cursor is not None
            and self._from(queryset, behind, backwards=behind.backwards).exists()
        )
        after, before = (came_from, more) if backwards else (more, came_from)
        self.next = last if after else None
        self.previous = first if before else None
        self._ends = (self.next, self.previous)

    def _beside(self, page: list[M], place: int, *, backwards: bool) -> Cursor | None:
        """Return the cursor beside a row of the page; where there is none, beside the old one."""
        if page:
            return Cursor(self.order, values_of(page[place], self.keys), backwards)
        old = self.cursor
        if old is None or old.backwards == backwards:
            return old
        return Cursor(self.order, old.values, backwards, not old.including)

    def _url(self, cursor: Cursor | None) -> str | None:
        if cursor is None:
            return None
        url = self.request.build_absolute_uri()
        return replace_query_param(url, "cursor", cursor.encode())


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT))
    if not is_number or not 1 <= int(text) <= MAX_LIMIT:
        raise invalid("limit", f"A whole number from 1 to {MAX_LIMIT}, not {text!r}.", AT_MOST)
    return int(text)


def _text(row: models.Model, path: str) -> Any:
    """Return the value of a row's field as JSON has it."""
    *relations, name = path.split(LOOKUP_SEP)
    for relation in relations:
        row = getattr(row, relation)
    value = getattr(row, name)
    return value if value is None or isinstance(value, int | float) else str(value)
