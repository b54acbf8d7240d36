"""Things with public ids, and how what belongs to many of them is found at once.

Whatever is found together stays together: things of one list are *peers*, and the first that is
asked for something finds it for all. So a query costs as many look-ups as it has levels, however
long its lists are. All of an operation runs in one thread, one field after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import strawberry
from django.db.models import Model, QuerySet

from neurascale.core.auth import Principal, Scope
from neurascale.core.errors import NotFoundError
from neurascale.core.graphql.declare import field, object_type
from neurascale.core.graphql.guard import require

Finder = Callable[[Sequence[Any]], Mapping[Any, Any]]


@dataclass(eq=False)
class Kind:
    """One kind of thing.

    Parameters
    ----------
    prefix : str
        Of its public ids; empty for what has none, and is only found through something else.
    needs : Scope
        To read it.
    get : callable
        ``(principal, public_id) -> row``; raises what REST answers for an unknown id.
    rows : callable
        ``(principal) -> queryset`` of those that the principal sees.
    wire : callable
        ``(thing) -> mapping`` of REST's names to REST's values.
    listing : any
        How its lists are filtered, searched and ordered: the view set of REST.
    """

    prefix: str
    needs: Scope
    get: Callable[[Principal | None, str], Any]
    rows: Callable[[Principal | None], QuerySet[Any]]
    wire: Callable[[Thing], Mapping[str, Any]]
    listing: Any
    type: Any = None

    def __call__(self, cls: type) -> type:
        """Make a class the type of the schema for things of this kind."""
        self.type = object_type(self.needs)(cls)
        if self.prefix:
            KINDS[self.prefix] = self
        return self.type

    @property
    def name(self) -> str:
        """What the schema calls it."""
        return str(self.type.__strawberry_definition__.name)

    @property
    def model(self) -> type[Model]:
        """What its rows are."""
        return self.rows(None).model

    def thing(self, row: Model) -> Thing:
        """Return a thing without peers."""
        return self.things([row])[0]

    def things(self, rows: Sequence[Model]) -> list[Thing]:
        """Return things that are each other's peers."""
        peers: list[Thing] = []
        loaded: dict[Hashable, Mapping[Any, Any]] = {}
        peers += [Thing(self, row, peers, loaded) for row in rows]
        return peers


KINDS: dict[str, Kind] = {}


class Thing:
    """A row, as resolvers see it; its plain fields are those of its wire form.

    Parameters
    ----------
    kind : Kind
        What it is.
    row : Model
        Where it is kept.
    peers : list of Thing
        Found together with it, itself included.
    loaded : dict
        What was found for all peers.
    """

    def __init__(
        self,
        kind: Kind,
        row: Any,
        peers: list[Thing],
        loaded: dict[Hashable, Mapping[Any, Any]],
    ) -> None:
        self.kind, self.row = kind, row
        self._peers, self._loaded = peers, loaded

    @property
    def id(self) -> str:
        """The public id."""
        return str(self.row.public_id)

    @cached_property
    def wire(self) -> Mapping[str, Any]:
        """What REST says of it."""
        return self.kind.wire(self)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.wire[name]
        except KeyError:
            raise AttributeError(f"{self.kind.name} has no {name}") from None

    def load(self, key: Hashable, find: Finder, default: Any = None) -> Any:
        """Return what belongs to this thing, found for all its peers when first asked.

        Parameters
        ----------
        key : hashable
            Says what is looked for.
        find : callable
            ``(rows) -> mapping`` of primary keys to what was found.
        default : any
            Where nothing was found.
        """
        if key not in self._loaded:
            self._loaded[key] = find([peer.row for peer in self._peers])
        return self._loaded[key].get(self.row.pk, default)


def related(thing: Thing, kind: Kind, name: str) -> Any:
    """Return what a row refers to, or None; the things that peers refer to are peers."""

    def find(rows: Any) -> dict[Any, Thing]:
        referring = [row for row in rows if getattr(row, f"{name}_id") is not None]
        others = {getattr(row, f"{name}_id"): getattr(row, name) for row in referring}
        made = {other.row.pk: other for other in kind.things(list(others.values()))}
        return {row.pk: made[getattr(row, f"{name}_id")] for row in referring}

    return thing.load(("related", name), find)


@object_type(interface=True)
class Node:
    """A thing with a public id."""

    id: strawberry.ID

    @classmethod
    def is_type_of(cls, thing: Any, _info: Any) -> bool:
        """Tell whether a thing is of this type."""
        return isinstance(thing, Thing) and thing.kind.type is cls

    @classmethod
    def resolve_type(cls, thing: Thing, _info: Any, _abstract: Any) -> str:
        """Return the name of a thing's type."""
        return thing.kind.name


def find_thing(principal: Principal | None, public_id: str) -> Thing:
    """Return a thing of any kind.

    Raises
    ------
    MissingScopeError
        If the principal may not read such things.
    NotFoundError
        If there is no such thing, or the principal may not know that there is.
    """
    kind = next((kind for prefix, kind in KINDS.items() if public_id.startswith(prefix)), None)
    if kind is None:
        raise NotFoundError(
            f"There is nothing with ID '{public_id}'",
            id=public_id,
            suggestion=f"Ids begin with {', '.join(sorted(KINDS))}",
        )
    require(principal, {kind.needs}, {kind.needs: f"Query.node of {kind.prefix}…"})
    return kind.thing(kind.get(principal, public_id))


@strawberry.type
class Query:
    """Any thing by its id."""

    @field()
    def node(self, info: strawberry.Info, id: strawberry.ID) -> Node | None:
        """Return the thing with a public id, of whatever kind."""
        return find_thing(info.context.principal, id)  # type: ignore[return-value]
