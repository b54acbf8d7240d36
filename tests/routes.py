"""Every path of the project, found by asking Django and not by remembering: what a sweep sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import admin
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver

API = "v1/"
METHODS = ("get", "post", "put", "patch", "delete")
SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Path:
    """One path, and what answers it.

    Parameters
    ----------
    path : str
        As it is declared: ``v1/devices/<str:device_id>``.
    name : str
        Of the pattern.
    callback : callable
        What the resolver finds.
    view : type or callable
        The view's class, where it has one.
    actions : mapping
        From method (``"post"``) to the name of the view's method.
    """

    path: str
    name: str | None
    callback: Any
    view: Any
    actions: dict[str, str]

    @property
    def methods(self) -> set[str]:
        return {method.upper() for method in self.actions}

    def instance(self, method: str) -> Any:
        """Return a view as it is when it serves a method."""
        view = self.view()
        view.action = self.actions[method.lower()]
        return view

    def __str__(self) -> str:
        return self.path


class Route(NamedTuple):
    """A method of a path of the API: ``("POST", "sessions/<str:session_id>/start")``."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def paths(prefix: str = API) -> list[Path]:
    """Return every path below a prefix, in the order in which Django asks them."""
    return [path for path in _walk(get_resolver(), "") if path.path.startswith(prefix)]


def api_routes() -> list[Route]:
    """Return every method of every path below /v1/."""
    return sorted({_route(method, path) for path in paths() for method in path.methods})


def unsafe_routes() -> list[Route]:
    """Return the routes that may change something."""
    return [route for route in api_routes() if route.method not in SAFE]


def view_of(route: Route) -> Any:
    """Return the class that answers a route."""
    return next(path.view for path in paths() for m in path.methods if _route(m, path) == route)


def _route(method: str, path: Path) -> Route:
    return Route(method, path.path.removeprefix(API))


def _walk(resolver: URLResolver, before: str) -> Iterator[Path]:
    for entry in resolver.url_patterns:
        here = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry, here)
        elif isinstance(entry, URLPattern):
            callback = entry.callback
            view = getattr(callback, "cls", getattr(callback, "view_class", callback))
            actions = getattr(callback, "actions", None) or {
                name: name for name in METHODS if hasattr(view, name)
            }
            actions = {m: name for m, name in actions.items() if m in METHODS}
            yield Path(here, entry.name, callback, view, actions)


def rooms() -> list[type[Model]]:
    """Return the models that have pages in the portal."""
    assert get_resolver().url_patterns  # whoever loads the URLs opens the rooms
    return sorted(admin.site._registry, key=lambda model: model._meta.label)
