"""Queries of hot paths: the ORM says what they are once, and is not asked again.

Django makes the SQL of a query each time it is asked, which takes five to twenty times as long as
the database does for a row. A query whose only variables are values need not be made more than
once a process:

    _BY_ID = Prepared(lambda: Device.objects.filter(public_id=Slot("public_id")))
    device = _BY_ID.first(public_id="dev_…")

What comes out are the instances or tuples that the query itself would give, with what it relates.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import Expression, Field, JSONField, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.query import ValuesListIterable
from django.db.models.signals import post_init, pre_init
from django.db.transaction import TransactionManagementError

from neurascale.core.statements import Statement


class Slot(Expression):
    """The place of a value in a query that is prepared.

    Parameters
    ----------
    name : str
        The keyword that fills it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(output_field=Field())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return a parameter that holds the slot itself."""
        return "%s", [self]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What of a query does not change.

    Parameters
    ----------
    statement : Statement
        What the database is asked.
    params : sequence
        Its parameters; a `Slot` where one is filled in.
    converters : sequence of (int, list of callable, Expression)
        How the columns that need it become values.
    make : callable
        Makes what the query yields of a row.
    locks : bool
        Whether the rows are locked, for which there has to be a transaction.
    """

    statement: Statement
    params: Sequence[Any]
    converters: Sequence[tuple[int, list[Callable[..., Any]], Any]]
    make: Callable[[Any], Any]
    locks: bool


class Prepared:
    """A query whose values are filled in each time it is asked.

    Parameters
    ----------
    build : callable
        Returns the query, of instances or ``values_list``, with a `Slot` for each value.
    """

    def __init__(self, build: Callable[[], QuerySet[Any, Any]]) -> None:
        self._build = build
        self._plan: _Plan | None = None
        self._lock = threading.Lock()

    def all(self, **values: Any) -> list[Any]:
        """Return what the query yields with these values."""
        plan = self._plan or self._prepare()
        # Itself and not Django's proxy, which looks for it anew with each attribute.
        connection = connections[DEFAULT_DB_ALIAS]
        if plan.locks and not connection.in_atomic_block:
            raise TransactionManagementError("Rows can be locked in a transaction only")
        params = [
            _adapted(values[p.name], connection) if type(p) is Slot else p for p in plan.params
        ]
        found = plan.statement.rows_of(connection, params)
        if not plan.converters:
            return [plan.make(row) for row in found]
        rows = [list(row) for row in found]
        for position, converters, expression in plan.converters:
            for row in rows:
                value = row[position]
                for convert in converters:
                    value = convert(value, expression, connection)
                row[position] = value
        return [plan.make(row) for row in rows]

    def first(self, **values: Any) -> Any:
        """Return the first of what the query yields with these values, None if that is nothing."""
        found = self.all(**values)
        return found[0] if found else None

    def _prepare(self) -> _Plan:
        with self._lock:
            if self._plan is None:
                self._plan = _plan_of(self._build())
        return self._plan


def _adapted(value: Any, connection: Any) -> Any:
    """Return a value as the database takes it."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


def _plan_of(query: QuerySet[Any, Any]) -> _Plan:
    compiler = query.query.get_compiler(query.db)
    sql, params = compiler.as_sql()
    converters = compiler.get_converters([expression for expression, _, _ in compiler.select])
    return _Plan(
        statement=Statement(sql),
        params=tuple(params),
        converters=[
            (position, [_faster(convert) for convert in chain], expression)
            for position, (chain, expression) in converters.items()
        ],
        make=tuple if query._iterable_class is ValuesListIterable else _maker(compiler, query.db),
        locks=query.query.select_for_update,
    )


def _faster(convert: Callable[..., Any]) -> Callable[..., Any]:
    """Return a converter, or one that does the same in less time."""
    owner = getattr(convert, "__self__", None)
    if type(owner) is JSONField and owner.decoder is None:
        return partial(_from_text, convert)
    if connection.vendor == "sqlite" and convert.__name__ == "convert_datetimefield_value":
        return partial(_aware, convert)
    return convert


def _from_text(convert: Callable[..., Any], value: Any, expression: Any, connection: Any) -> Any:
    """Return the value of a JSON text as `JSONField.from_db_value` does.

    But for whole numbers beyond 64 bits, which become floats: PostgreSQL writes 1e300 as one.
    """
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:  # such as half a surrogate pair, which Python reads
        return convert(value, expression, connection)


def _aware(convert: Callable[..., Any], value: Any, expression: Any, connection: Any) -> Any:
    """Return a moment of SQLite as `convert_datetimefield_value` does."""
    if type(value) is datetime and value.tzinfo is None and connection.timezone is UTC:
        return value.replace(tzinfo=UTC)
    return convert(value, expression, connection)


def _maker(compiler: Any, alias: str) -> Callable[[Sequence[Any]], Any]:
    """Return what makes an instance of a row, and those it relates: `ModelIterable` does it so."""
    make = _instance_maker(compiler.klass_info, compiler.select, alias)
    annotations = tuple((compiler.annotation_col_map or {}).items())
    if not annotations:
        return make

    def make_annotated(row: Sequence[Any]) -> Any:
        instance = make(row)
        for name, position in annotations:
            setattr(instance, name, row[position])
        return instance

    return make_annotated


def _instance_maker(
    info: Mapping[str, Any], select: Sequence[Any], alias: str
) -> Callable[[Sequence[Any]], Any]:
    """Return what makes an instance of its part of a row, with what it relates."""
    if info.get("from_parent"):
        raise NotImplementedError("Rows of models that inherit from others are not prepared")
    model, first, stop = info["model"], info["select_fields"][0], info["select_fields"][-1] + 1
    names = [expression.target.attname for expression, _, _ in select[first:stop]]
    key = first + names.index(model._meta.pk.attname)
    new = partial(_instance, model) if _is_plain(model) else model.from_db
    related = [
        (_instance_maker(each, select, alias), each["local_setter"], each["remote_setter"])
        for each in info.get("related_klass_infos", ())
    ]

    def make(row: Sequence[Any]) -> Any:
        if row[key] is None:
            return None  # of what is related: there is none
        instance = new(alias, names, row[first:stop])
        for make_related, set_here, set_there in related:
            other = make_related(row)
            set_here(instance, other)
            if other is not None:
                set_there(other, instance)
        return instance

    return make


def _is_plain(model: type[Model]) -> bool:
    """Tell whether nobody has said that more is to be done when an instance is made."""
    return (
        model.__init__ is Model.__init__
        and model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
    )


def _instance(model: type[Model], alias: str, names: Sequence[str], row: Sequence[Any]) -> Model:
    """Return an instance as `Model.from_db` does, without a signal and a loop over the fields."""
    instance = model.__new__(model)
    state = instance._state = ModelState()
    state.adding, state.db = False, alias
    instance.__dict__.update(zip(names, row, strict=True))
    return instance
