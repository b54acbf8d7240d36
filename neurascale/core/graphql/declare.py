"""How a type, a field, a mutation and a subscription are declared, and what each of them needs.

Every declaration names scopes. `neurascale.core.graphql.guard` reads them before anything of an
operation runs, and refuses what was not declared: there is no other place that decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry
from django.core.exceptions import ImproperlyConfigured
from strawberry.types.field import StrawberryField

from neurascale.core.auth import Scope

NEEDS, ITEMS, SHOWN_ONCE = "needs", "items", "shown_once"  # keys of a field's metadata
USUAL_ITEMS = 10  # of a list that is no connection, for the price of a query


def object_type(*needs: Scope, interface: bool = False) -> Callable[[type], type]:
    """Make a class a type of the schema.

    Parameters
    ----------
    *needs : Scope
        What its fields need, unless a field says otherwise; none: whoever is known may read them.
    interface : bool
        Whether other types implement it.
    """

    def decorate(cls: type) -> type:
        cls.needs = frozenset(needs)  # type: ignore[attr-defined]
        make = strawberry.interface if interface else strawberry.type
        return make(cls, description=first_line(cls.__doc__))

    return decorate


def extend(target: type) -> Callable[[type], type]:
    """Add the fields of a class to a type of an app to the left; each says itself what it needs."""

    def decorate(cls: type) -> type:
        made: Any = strawberry.type(cls)
        for added in made.__strawberry_definition__.fields:
            if NEEDS not in added.metadata:
                raise ImproperlyConfigured(f"{cls.__name__}.{added.python_name} needs no scope")
            target.__strawberry_definition__.fields.append(added)  # type: ignore[attr-defined]
        return cls

    return decorate


def field(*needs: Scope, items: int | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a method a field.

    Parameters
    ----------
    *needs : Scope
        What reading it needs.
    items : int, optional
        How many things it returns at most or usually, if it returns a list of things.
    """
    return _declared(strawberry.field, needs, items)


def mutation(*needs: Scope, shown_once: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Make a method a change.

    Parameters
    ----------
    *needs : Scope
        What making it needs.
    shown_once : bool
        Whether it answers with a secret, which nobody may keep to show it again.
    """
    return _declared(strawberry.mutation, needs, None, shown_once=shown_once)


def subscription(*needs: Scope) -> Callable[[Callable[..., Any]], Any]:
    """Make an asynchronous generator a subscription."""
    return _declared(strawberry.subscription, needs, None)


def _declared(
    make: Callable[..., Any],
    needs: tuple[Scope, ...],
    items: int | None,
    *,
    shown_once: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    told: dict[str, Any] = {NEEDS: frozenset(needs), SHOWN_ONCE: shown_once}
    if items is not None:
        told[ITEMS] = items

    def decorate(resolver: Callable[..., Any]) -> Any:
        return make(resolver=resolver, metadata=told, description=first_line(resolver.__doc__))

    return decorate


def first_line(docstring: str | None) -> str | None:
    """Return the sentence that says what a thing is for."""
    return docstring.strip().split("\n\n")[0].replace("\n", " ") if docstring else None


# --- Reading the declarations --------------------------------------------------------------------


def declared(graphql_thing: Any) -> Any:
    """Return the declaration behind a type or a field of graphql-core; None if there is none."""
    return (graphql_thing.extensions or {}).get("strawberry-definition")


def needs_of(parent: Any, graphql_field: Any) -> frozenset[Scope] | None:
    """Return what a field of a type needs; None if nobody said so.

    Parameters
    ----------
    parent : GraphQLObjectType or GraphQLInterfaceType
        Where the field is found.
    graphql_field : GraphQLField
        The field.
    """
    made: StrawberryField | None = declared(graphql_field)
    if made is not None and NEEDS in made.metadata:
        needs: frozenset[Scope] = made.metadata[NEEDS]
        return needs
    of_type = declared(parent)
    if of_type is None:
        return None
    # Of the class itself, or of the generic one that it was made of; what a base says is not said.
    return vars((of_type.concrete_of or of_type).origin).get("needs")


def is_shown_once(graphql_field: Any) -> bool:
    """Tell whether a field answers with a secret."""
    made: StrawberryField | None = declared(graphql_field)
    return made is not None and bool(made.metadata.get(SHOWN_ONCE))


def items_of(graphql_field: Any) -> int:
    """Return how many things a list is reckoned to have."""
    made: StrawberryField | None = declared(graphql_field)
    return USUAL_ITEMS if made is None else int(made.metadata.get(ITEMS, USUAL_ITEMS))
