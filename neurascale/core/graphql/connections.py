"""Lists of things, as Relay asks for them, on the cursors of REST.

A page is found by the values of its neighbour, so nothing is shown twice and nothing left out while
rows come and go. The lists of many parents are found by one query: the window function numbers the
rows of each. The types are made while a module is imported, so this file's annotations are types.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import strawberry
from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber

from neurascale.core.auth import Principal, Scope
from neurascale.core.errors import InvalidError
from neurascale.core.graphql.declare import field, object_type
from neurascale.core.graphql.inputs import filter_of, filters_in, or_none, order_of
from neurascale.core.graphql.things import Kind, Thing
from neurascale.core.paging import (
    AT_MOST,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Cursor,
    beyond,
    invalid,
    keys_of,
    narrowed,
    values_of,
)
from neurascale.core.paging import order_of as order_of_rows

T = TypeVar("T")
FOLLOW = "Take it from `pageInfo`, or start without."
RANK = "rank_among_siblings"


@object_type()
class PageInfo:
    """Where a page is in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@object_type()
class Edge(Generic[T]):
    """A thing at its place in a list."""

    cursor: str
    node: T


@object_type()
class Connection(Generic[T]):
    """A page of a list."""

    @field(items=1)  # the list's own field has reckoned with its length
    def edges(self) -> list[Edge[T]]:
        """The things with their places."""
        return self.edges

    @field(items=1)
    def nodes(self) -> list[T]:
        """The things."""
        return self.nodes

    page_info: PageInfo
    total_count: int


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of a list, checked.

    Parameters
    ----------
    limit : int
        Longest page.
    backwards : bool
        Whether the page is the last one before the cursor.
    cursor : str or None
        Where it begins, or ends.
    filters : tuple of (str, str)
        Names and values.
    search : str
        Words.
    ordering : str or None
        As REST writes it.
    """

    limit: int
    backwards: bool
    cursor: str | None
    filters: tuple[tuple[str, str], ...]
    search: str
    ordering: str | None


class Page:
    """A page of a list, of which is found what is asked for.

    Parameters
    ----------
    kind : Kind
        Of the things.
    principal : Client or user
        Who asks.
    asked : Asked
        For what.
    parent : Thing, optional
        Whose list it is.
    through : str
        The field by which a row names its parent.
    """

    def __init__(
        self,
        kind: Kind,
        principal: Principal | None,
        asked: Asked,
        *,
        parent: Thing | None = None,
        through: str = "",
    ) -> None:
        self.kind, self.principal, self.asked = kind, principal, asked
        self.parent, self.through = parent, through
        self.keys = keys_of(kind.listing, asked.ordering)
        self.order = order_of_rows(kind.rows(principal), self.keys)
        self.cursor = self._cursor()

    # --- what the schema shows -------------------------------------------------------------------

    @property
    def nodes(self) -> list[Thing]:
        """The things on the page."""
        return self._found[0]

    @property
    def edges(self) -> Iterator["Place"]:
        """The things with their places."""
        return (Place(self, thing) for thing in self.nodes)

    @property
    def page_info(self) -> "Page":
        """Where the page is in the list: itself."""
        return self

    @property
    def total_count(self) -> int:
        """How many things the whole list has."""
        return int(self._look("total", self._totals, 0))

    @property
    def has_next_page(self) -> bool:
        """Whether there are things after the page."""
        return self._came_from if self.asked.backwards else self._found[1]

    @property
    def has_previous_page(self) -> bool:
        """Whether there are things before the page."""
        return self._found[1] if self.asked.backwards else self._came_from

    @property
    def start_cursor(self) -> str | None:
        """The place of the first thing."""
        return self.cursor_of(self.nodes[0]) if self.nodes else None

    @property
    def end_cursor(self) -> str | None:
        """The place of the last thing."""
        return self.cursor_of(self.nodes[-1]) if self.nodes else None

    def cursor_of(self, thing: Thing) -> str:
        """Return the place of a thing."""
        return Cursor(self.order, values_of(thing.row, self.keys), backwards=False).encode()

    # --- how it is found -------------------------------------------------------------------------

    def _cursor(self) -> Cursor | None:
        if self.asked.cursor is None:
            return None
        try:
            cursor = Cursor.decode(self.asked.cursor, self.order)
        except InvalidError as error:
            name = "before" if self.asked.backwards else "after"
            raise invalid(name, error.details["fields"]["cursor"][0], FOLLOW) from None
        return dataclasses.replace(cursor, backwards=self.asked.backwards)

    def _rows(self) -> QuerySet[Any]:
        """Return the rows of the list, in no order."""
        rows = self.kind.rows(self.principal)
        return narrowed(rows, self.kind.listing, dict(self.asked.filters), search=self.asked.search)

    def _look(self, what: str, find: Any, default: Any) -> Any:
        """Return what belongs to this page; for all parents at once if there are any."""
        if self.parent is None:
            return find(None).get(None, default)
        key = (what, self.kind.prefix, self.through, self.asked)
        return self.parent.load(key, find, default)

    def _of(self, parents: Any) -> QuerySet[Any]:
        """Return the rows of the lists of some parents; all if there are none."""
        rows = self._rows()
        return rows if parents is None else rows.filter((f"{self.through}__in", parents))

    @cached_property
    def _found(self) -> tuple[list[Thing], bool]:
        """The things of the page, and whether there are more in the same direction."""
        found: tuple[list[Thing], bool] = self._look("page", self._pages, ([], False))
        return found

    def _pages(self, parents: Any) -> Mapping[Any, tuple[list[Thing], bool]]:
        limit, backwards = self.asked.limit, self.asked.backwards
        nearest = [key.expression(backwards=backwards) for key in self.keys]
        rows = beyond(self._of(parents), self.keys, self.cursor).order_by(*nearest)
        if parents is None:
            rows = rows[: limit + 1]
        else:
            rank = Window(RowNumber(), partition_by=[F(self.through)], order_by=nearest)
            rows = rows.annotate(**{RANK: rank}).filter((f"{RANK}__lte", limit + 1))
        pages: defaultdict[Any, list[Any]] = defaultdict(list)
        for row in rows:
            pages[None if parents is None else getattr(row, f"{self.through}_id")].append(row)
        shown = {pk: page[:limit][:: -1 if backwards else 1] for pk, page in pages.items()}
        # All that was found together, for all parents: peers.
        things = iter(self.kind.things([row for page in shown.values() for row in page]))
        return {
            pk: ([next(things) for _ in page], len(pages[pk]) > limit) for pk, page in shown.items()
        }

    @cached_property
    def _came_from(self) -> bool:
        """Whether there are things on the other side of the cursor."""
        if self.cursor is None:
            return False
        return bool(self._look("behind", self._behind, False))

    def _behind(self, parents: Any) -> Mapping[Any, bool]:
        assert self.cursor is not None  # noqa: S101 - `_came_from` looked
        turned = dataclasses.replace(
            self.cursor, backwards=not self.asked.backwards, including=True
        )
        rows = beyond(self._of(parents), self.keys, turned)
        if parents is None:
            return {None: rows.exists()}
        return dict.fromkeys(rows.order_by().values_list(self.through, flat=True).distinct(), True)

    def _totals(self, parents: Any) -> Mapping[Any, int]:
        rows = self._of(parents).order_by()
        if parents is None:
            return {None: rows.count()}
        return dict(rows.values_list(self.through).annotate(n=Count("pk")))


@dataclasses.dataclass
class Place:
    """A thing on a page."""

    page: Page
    node: Thing

    @property
    def cursor(self) -> str:
        """Where it is in the list."""
        return self.page.cursor_of(self.node)


def connection(kind: Kind, *needs: Scope, through: str = "") -> Any:
    """Return a field that is a list of things: of all that are visible, or of those of a parent.

    Parameters
    ----------
    kind : Kind
        Of the things; its type must exist.
    *needs : Scope
        What the kind needs, unless said.
    through : str
        The field by which a row names its parent; none for a list of the query itself.
    """
    filters: Any = filter_of(f"{kind.name}Filter", kind.listing.filter_fields, kind.model)
    orders: Any = order_of(f"{kind.name}Order", kind.listing.ordering_fields)
    filters, orders = _made.setdefault(kind.name, (filters, orders))
    page_type: Any = Connection[kind.type]  # type: ignore[name-defined]

    def resolve(
        self: Any,
        info: strawberry.Info,
        first: int | None = strawberry.UNSET,
        after: str | None = strawberry.UNSET,
        last: int | None = strawberry.UNSET,
        before: str | None = strawberry.UNSET,
        filter: filters | None = strawberry.UNSET,
        search: str | None = strawberry.UNSET,
        order_by: list[orders] | None = strawberry.UNSET,
    ) -> page_type:
        asked = read_asked(
            first=or_none(first),
            after=after or None,
            last=or_none(last),
            before=before or None,
            filters=filters_in(filter),
            search=search or "",
            ordering=[order.value for order in order_by or ()],
        )
        parent = self if isinstance(self, Thing) else None
        return Page(kind, info.context.principal, asked, parent=parent, through=through)

    resolve.__doc__ = f"{kind.listing.plural.capitalize()}, a page at a time."
    return field(*(needs or (kind.needs,)))(resolve)


_made: dict[str, Any] = {}  # the types of a kind's lists: one each, however many lists there are


def read_asked(
    *,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    filters: Mapping[str, str],
    search: str,
    ordering: list[str],
) -> Asked:
    """Return what is asked of a list.

    Raises
    ------
    InvalidError
        If both ends are asked for, or a page is longer than `MAX_LIMIT`.
    """
    backwards = last is not None or before is not None
    forwards = first is not None or after is not None
    if backwards and forwards:
        either = "Ask for first and after, or for last and before."
        raise invalid("last", "A page is counted from one end.", either)
    name, limit = ("last", last) if backwards else ("first", first)
    limit = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid(name, f"A whole number from 1 to {MAX_LIMIT}, not {limit}.", AT_MOST)
    if "\0" in search:
        raise invalid("search", "There is a NUL character in it.", "Leave out the NUL.")
    return Asked(
        limit=limit,
        backwards=backwards,
        cursor=before if backwards else after,
        filters=tuple(sorted(filters.items())),
        search=search,
        ordering=",".join(ordering) or None,
    )
