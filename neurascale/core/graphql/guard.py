"""What is looked at before anything of an operation runs: what it may cost, and what it needs.

One walk over the operation, in which every fragment is looked at once however often it is spread:
a document of a hundred lines can be made to mean 2**100 fields, so nothing may follow the spreads
before they are weighed. What is refused here has had no effect.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_introspection_query,
    get_named_type,
    is_introspection_type,
    parse,
)
from graphql.type import is_leaf_type

from neurascale.core.auth import MissingScopeError, Principal, Scope, lacking, scopes_of
from neurascale.core.errors import InvalidError, NeuraScaleError
from neurascale.core.graphql.declare import items_of, needs_of
from neurascale.core.paging import DEFAULT_LIMIT, MAX_LIMIT

log = logging.getLogger(__name__)

PAGE_ARGUMENTS = ("first", "last")
INTROSPECTION = {"__schema": "__Schema", "__type": "__Type"}  # its depth: see the schema's rules
MAX_TOKENS = 2000
MAX_ALIASES = 100


class QueryTooComplexError(InvalidError):
    """The operation asks for more than one request may."""

    code = "QUERY_TOO_COMPLEX"


@dataclass
class Weight:
    """What a part of an operation amounts to.

    Parameters
    ----------
    cost : int
        Fields that have to be found, at most, with lists taken as long as they may be.
    depth : int
        Fields within fields.
    aliases : int
        Fields that are called something else.
    introspection : int
        What is asked of the schema itself: as ``cost``, and not in it.
    needs : mapping
        For each scope the first field that needs it.
    undeclared : list of str
        Fields of which nobody said what they need.
    """

    cost: int = 0
    depth: int = 0
    aliases: int = 0
    introspection: int = 0
    needs: dict[Scope, str] = field(default_factory=dict)
    undeclared: list[str] = field(default_factory=list)

    def add(self, other: Weight, *, times: int = 1, deeper: int = 0) -> None:
        """Take in a part; ``times`` for each element of a list."""
        self.cost += other.cost * times
        self.depth = max(self.depth, other.depth + deeper)
        self.aliases += other.aliases
        self.introspection += other.introspection
        self.needs = other.needs | self.needs
        self.undeclared += [name for name in other.undeclared if name not in self.undeclared]


class Scale:
    """Weighs operations of one document.

    Parameters
    ----------
    schema : GraphQLSchema
        Says what the fields are.
    document : DocumentNode
        May not be valid yet.
    variables : mapping
        As they came.
    """

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any] | None
    ) -> None:
        self.schema = schema
        self.variables = dict(variables or {})
        self.fragments = {
            part.name.value: part
            for part in document.definitions
            if isinstance(part, FragmentDefinitionNode)
        }
        self._weighed: dict[str, Weight] = {}

    def weigh(self, operation: OperationDefinitionNode) -> Weight:
        """Return what an operation amounts to."""
        for known in operation.variable_definitions or ():
            if isinstance(known.default_value, IntValueNode):
                name, default = known.variable.name.value, int(known.default_value.value)
                self.variables.setdefault(name, default)
        root = self.schema.get_root_type(operation.operation)
        return self._selection(operation.selection_set, root, 1)

    def _selection(self, selected: SelectionSetNode, parent: Any, level: int) -> Weight:
        if level > settings.GRAPHQL_MAX_DEPTH and not is_introspection_type(parent):
            raise too_complex("nested levels", f"{level} or more", settings.GRAPHQL_MAX_DEPTH)
        whole = Weight()
        for part in selected.selections:
            if isinstance(part, FieldNode):
                whole.add(self._field(part, parent, level), deeper=1)
            elif isinstance(part, FragmentSpreadNode):
                whole.add(self._fragment(part.name.value, level))
            elif isinstance(part, InlineFragmentNode):
                known = part.type_condition
                inner = self.schema.get_type(known.name.value) if known else parent
                whole.add(self._selection(part.selection_set, inner, level))
        return whole

    def _fragment(self, name: str, level: int) -> Weight:
        if name not in self._weighed and name in self.fragments:
            self._weighed[name] = Weight()  # should it spread itself: validation refuses that
            found = self.fragments[name]
            on = self.schema.get_type(found.type_condition.name.value)
            # As if it stood at the top: how deep it is where it stands, `Weight.depth` adds up.
            self._weighed[name] = self._selection(found.selection_set, on, 1)
        return self._weighed.get(name, Weight())

    def _field(self, node: FieldNode, parent: Any, level: int) -> Weight:
        name = node.name.value
        weight = Weight(cost=1, aliases=int(node.alias is not None))
        if name in INTROSPECTION and node.selection_set is not None:
            asked = self._selection(
                node.selection_set, self.schema.get_type(INTROSPECTION[name]), 1
            )
            return Weight(cost=1, aliases=weight.aliases + asked.aliases, introspection=asked.cost)
        if name == "__typename" or name in INTROSPECTION:
            return weight
        known = getattr(parent, "fields", {}).get(name)
        if known is None:
            return weight  # validation says so
        is_of_types = is_introspection_type(parent)
        if not is_of_types:
            where = f"{parent.name}.{name}"
            needs = needs_of(parent, known)
            if needs is None:
                weight.undeclared.append(where)
            else:
                weight.needs = dict.fromkeys(sorted(needs), where)
        if node.selection_set is not None:
            inner = self._selection(node.selection_set, get_named_type(known.type), level + 1)
            times = self._types(name, known) if is_of_types else self._times(node, known)
            weight.add(inner, times=times)
        return weight

    def _times(self, node: FieldNode, known: Any) -> int:
        """Return how many things a field returns, at most or usually."""
        if any(name in known.args for name in PAGE_ARGUMENTS):
            given = {argument.name.value: argument.value for argument in node.arguments or ()}
            sizes = [self._size(given.get(name)) for name in PAGE_ARGUMENTS]
            return max((size for size in sizes if size), default=DEFAULT_LIMIT)
        return items_of(known) if _is_list(known) else 1

    def _types(self, name: str, known: Any) -> int:
        """Return how many things a field of the schema itself returns, on average."""
        return _size_of(self.schema).get(name, 1) if _is_list(known) else 1

    def _size(self, value: Any) -> int | None:
        """Return the size of a page, None if none is given; what is no size is refused later."""
        size: Any = None
        if isinstance(value, VariableNode):
            size = self.variables.get(value.name.value)
        elif isinstance(value, IntValueNode):
            size = int(value.value)
        if size is None:
            return None
        return size if isinstance(size, int) and 0 < size < MAX_LIMIT else MAX_LIMIT


def _is_list(known: Any) -> bool:
    kind = known.type
    while isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    return isinstance(kind, GraphQLList) and not is_leaf_type(get_named_type(kind))


@cache  # a process has one schema
def _size_of(schema: GraphQLSchema) -> dict[str, int]:
    """Return how many things the lists in a schema's description of itself have."""
    kinds = list(schema.type_map.values())
    fields = [part for kind in kinds for part in getattr(kind, "fields", {}).values()]
    n_fields = math.ceil(len(fields) / len(kinds))
    n_args = sum(len(getattr(part, "args", ())) for part in fields)
    return {
        "types": len(kinds),
        "directives": len(schema.directives),
        "fields": n_fields,
        "inputFields": n_fields,
        "args": math.ceil(n_args / len(fields)),
    }


@cache
def introspection_limit(schema: GraphQLSchema) -> int:
    """Return how much of the schema may be asked for at once: twice what tools ask for."""
    document = parse(get_introspection_query(input_value_deprecation=True))
    (whole,) = (p for p in document.definitions if isinstance(p, OperationDefinitionNode))
    return 2 * Scale(schema, document, None).weigh(whole).introspection


def check(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    *,
    variables: Mapping[str, Any] | None,
    principal: Principal | None,
) -> None:
    """Raise unless the operation is affordable, and all that it needs is granted.

    Raises
    ------
    QueryTooComplexError
        If it asks for more than one request may; the message says of what.
    MissingScopeError
        If the principal lacks a scope that any of its fields needs.
    NeuraScaleError
        If nobody declared what a field needs: then nobody gets it.
    """
    try:
        weight = Scale(schema, document, variables).weigh(operation)
    except RecursionError:
        limit = settings.GRAPHQL_MAX_DEPTH
        raise too_complex("nested levels", "hundreds of", limit) from None
    limits = (
        ("nested levels", weight.depth, settings.GRAPHQL_MAX_DEPTH),
        ("fields of all things on its pages", weight.cost, settings.GRAPHQL_MAX_COST),
        ("aliases", weight.aliases, MAX_ALIASES),
        ("fields of the schema itself", weight.introspection, introspection_limit(schema)),
    )
    for what, found, limit in limits:
        if found > limit:
            raise too_complex(what, str(found), limit)
    if weight.undeclared:
        log.error("GraphQL: %s needs no scope, so nobody gets it", ", ".join(weight.undeclared))
        raise NeuraScaleError(f"{weight.undeclared[0]} is not declared, so nobody gets it")
    require(principal, weight.needs, weight.needs)


def require(
    principal: Principal | None, needs: Iterable[Scope], where: Mapping[Scope, str] | None = None
) -> None:
    """Raise unless a principal has scopes.

    Raises
    ------
    MissingScopeError
        If one is missing; the details say which.
    """
    missing = sorted(set(needs) - scopes_of(principal))
    if missing:
        named = [where[scope] for scope in missing] if where else ["This"]
        raise MissingScopeError(
            f"{' and '.join(dict.fromkeys(named))} needs the scope {' and '.join(missing)}",
            **lacking(principal, missing),
        )


def too_complex(what: str, found: str, limit: int) -> QueryTooComplexError:
    """Return the error of an operation that is beyond a limit."""
    return QueryTooComplexError(
        f"The operation has {found[:40]} {what}; {limit} is the limit",
        limit=limit,
        suggestion="Ask for less at once: smaller pages (first), fewer levels, several requests.",
    )
