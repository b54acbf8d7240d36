"""Who is at work, and from where: said once at each edge, read by whoever keeps a record.

An edge is where work enters the process: a request, a socket, a command, a task. It says so with
`enter`, in a context variable, which Python hands on to threads and tasks by itself; no service
passes it through its signature.

Rule of this file: it knows no models, so that the Celery application may import it.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from neurascale.core.middleware import Middleware

COMMAND, WORKER = "command", "worker"  # in the place of an address


@dataclass(slots=True)
class Edge:
    """Where work entered.

    Parameters
    ----------
    address : str
        Network address of the peer, or `COMMAND`, or `WORKER`.
    request_id : str
        Of the request, the connection or the task.
    name : str
        Of a command or task.
    principal : callable
        Returns the client or user behind it, once that is known; None before.
    """

    address: str = ""
    request_id: str = ""
    name: str = ""
    principal: Callable[[], Any] = lambda: None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something.

    Parameters
    ----------
    kind : str
        ``"client"``, ``"user"``, ``"system"``, or ``"nobody"`` who has not said.
    id : str
        Public id of a client, login of a user, name of a command or task.
    name : str
        What people call it.
    """

    kind: str
    id: str
    name: str


_edge: ContextVar[Edge | None] = ContextVar("neurascale_edge", default=None)
_NOWHERE = Edge()


def enter(edge: Edge) -> None:
    """Say that the work of this context comes through an edge, from now on."""
    _edge.set(edge)


def leave() -> None:
    """Say that the work of this context comes from nowhere in particular."""
    _edge.set(None)


def edge() -> Edge:
    """Return where the work of this context came from."""
    return _edge.get() or _NOWHERE


def speak_for(principal: Any) -> None:
    """Say who is behind the work: for who proves it only on the way, as at the token endpoint."""
    entered = _edge.get()
    if entered is not None:
        entered.principal = lambda: principal


def actor() -> Actor:
    """Return who is at work in this context."""
    entered = edge()
    principal = entered.principal()
    if getattr(principal, "is_authenticated", False):
        if hasattr(principal, "public_id"):
            return Actor("client", principal.public_id, principal.name)
        login = principal.get_username()
        return Actor("user", login, principal.get_full_name() or login)
    if entered.name or _edge.get() is None:
        return Actor("system", entered.name or "system", entered.name or "system")
    return Actor("nobody", "", "")


# --- Edges ---------------------------------------------------------------------------------------


def address_of(remote: str, forwarded: str) -> str:
    """Return the address of the peer that a request came from.

    Parameters
    ----------
    remote : str
        Of the connection.
    forwarded : str
        The header X-Forwarded-For. Anybody can write anything into it, so it counts only as far
        as ``settings.TRUSTED_PROXIES`` proxies of our own have written it: the last so many
        entries.
    """
    if not settings.TRUSTED_PROXIES:
        return remote
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    if len(hops) < settings.TRUSTED_PROXIES:
        return remote
    hop = hops[-settings.TRUSTED_PROXIES]
    try:
        return str(ip_address(hop))
    except ValueError:
        return remote


def socket_edge(scope: Mapping[str, Any], *, name: str, principal: Callable[[], Any]) -> Edge:
    """Return the edge of a WebSocket, from its ASGI scope."""
    client = scope.get("client") or ("",)
    forwarded = ",".join(
        value.decode("latin1") for key, value in scope["headers"] if key == b"x-forwarded-for"
    )
    return Edge(address_of(str(client[0]), forwarded), name, "", principal)


def command_edge(name: str) -> Edge:
    """Return the edge of a command, which names the account of the machine that runs it."""
    return Edge(COMMAND, "", f"{name} by {getpass.getuser()}@{socket.gethostname()}")


def task_edge(name: str, task_id: str) -> Edge:
    """Return the edge of a task that a worker runs."""
    return Edge(WORKER, task_id, name)


class ActorMiddleware(Middleware):
    """Say who is behind each request and where it came from.

    Behind the middleware that knows the portal's sessions. REST framework puts whom its
    authentication found into the same place, ``request.user``, so it is read when it is asked for.
    """

    def __call__(self, request: HttpRequest) -> Any:  # noqa: D102 - Django's protocol
        enter(self._edge(request))
        if self.is_async:
            return self.get_response(request)  # each request has a context of its own
        try:
            return self.get_response(request)
        finally:
            leave()  # the thread serves another one next

    @staticmethod
    def _edge(request: HttpRequest) -> Edge:
        return Edge(
            address_of(
                request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", "")
            ),
            getattr(request, "id", ""),
            "",
            lambda: getattr(request, "user", None),
        )
