"""Who has an open socket, and whether they still may.

Each web process asks the database every `RECHECK_SECONDS`, once for all of its sockets, and ends
those whose token was withdrawn or has expired, whose client or user was switched off, and those of
whom something was taken away: a scope, a study. A socket keeps what it was opened with, so whoever
lost any of it comes back with what is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session as PortalSession
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from neurascale.core.auth import (
    CLOCK_SKEW_SECONDS,
    InvalidTokenError,
    Principal,
    Scope,
    is_withdrawn,
    names_of,
    scopes_of,
)
from neurascale.core.errors import ForbiddenError, NeuraScaleError, NotAuthenticatedError
from neurascale.core.models import Client, RevokedToken
from neurascale.core.portal_sessions import stored_key

log = logging.getLogger(__name__)

RECHECK_SECONDS = 2.0
End = Callable[[NeuraScaleError], Awaitable[None]]


class AccessLostError(ForbiddenError):
    """Something was taken away that the connection was opened with."""


@dataclass(eq=False)
class Watched:
    """One connection.

    Parameters
    ----------
    principal : Client or user
        As it was when the connection was opened.
    session_key : str or None
        Of a person's session in the portal, as the cookie has it.
    end : callable
        Ends the connection with an error.

    Attributes
    ----------
    scopes, studies : frozenset or None
        What the principal had when the connection was added; None until then.
    """

    principal: Principal
    session_key: str | None
    end: End
    scopes: frozenset[Scope] | None = field(init=False, default=None)
    studies: frozenset[int] | None = field(init=False, default=None)

    @property
    def claims(self) -> Mapping[str, Any]:
        """Of the token; a person has none."""
        return getattr(self.principal, "claims", None) or {}

    @property
    def stored_key(self) -> str:
        """Under which key the database has the session."""
        return stored_key(self.session_key or "")

    def loses(self, scopes: frozenset[Scope], studies: frozenset[int]) -> AccessLostError | None:
        """Return an error if this is less than the connection began with."""
        began_with = scopes_of(self.principal) if self.scopes is None else self.scopes
        self.scopes = began_with
        self.studies = studies if self.studies is None else self.studies
        what = []
        if lost := sorted(began_with - scopes):
            what.append(f"the scope {' and '.join(lost)}")
        if self.studies - studies:
            what.append("a study")
        if not what:
            return None
        return AccessLostError(
            f"You lost {' and '.join(what)} since the connection was opened",
            missing=lost,
            suggestion="Connect again to go on with what is left.",
        )


class Standing:
    """What the database says, at one moment, of everybody who has a socket.

    Parameters
    ----------
    watched : iterable of Watched
        Their connections.
    """

    def __init__(self, watched: Iterable[Watched]) -> None:
        watched = list(watched)
        programs = [w for w in watched if isinstance(w.principal, Client)]
        people = [w for w in watched if not isinstance(w.principal, Client)]
        self.now = timezone.now()
        self.clients: dict[int, Client] = {}
        self.studies: dict[int, frozenset[int]] = {}
        self.revoked: set[str] = set()
        self.users: dict[int, Any] = {}
        self.sessions: set[str] = set()
        if programs:
            self._look_up_programs(programs)
        if people:
            self._look_up_people(people)

    def _look_up_programs(self, programs: list[Watched]) -> None:
        keys = {w.principal.pk for w in programs}
        for client in Client.objects.filter(pk__in=keys).prefetch_related("studies"):
            self.clients[client.pk] = client
            self.studies[client.pk] = frozenset(study.pk for study in client.studies.all())
        names = {name for w in programs for name in names_of(w.claims)}
        revoked = RevokedToken.objects.filter(jti__in=names)
        self.revoked.update(revoked.values_list("jti", flat=True))

    def _look_up_people(self, people: list[Watched]) -> None:
        keys = {w.principal.pk for w in people}
        users = get_user_model().objects.filter(pk__in=keys).prefetch_related("groups")
        self.users.update((user.pk, user) for user in users)
        sessions = PortalSession.objects.filter(
            session_key__in={w.stored_key for w in people}, expire_date__gt=self.now
        )
        self.sessions.update(sessions.values_list("session_key", flat=True))

    def problem(self, watched: Watched) -> NeuraScaleError | None:
        """Return why a connection has to end; None if it may go on."""
        if isinstance(watched.principal, Client):
            return self._problem_of_program(watched)
        return self._problem_of_person(watched)

    def _problem_of_program(self, watched: Watched) -> NeuraScaleError | None:
        client, claims = self.clients.get(watched.principal.pk), watched.claims
        if claims and claims["exp"] + CLOCK_SKEW_SECONDS < self.now.timestamp():
            return InvalidTokenError(
                "The token has expired",
                suggestion="Connect again with a fresh one; or send it as auth before that.",
            )
        if (
            client is None
            or not client.holds_at(self.now)
            or is_withdrawn(claims, client.tokens_valid_after)
            or not self.revoked.isdisjoint(names_of(claims))
        ):
            return InvalidTokenError(
                "The token has been withdrawn", suggestion="Get a new one at /v1/auth/token."
            )
        client.claims = claims
        return watched.loses(scopes_of(client), self.studies[client.pk])

    def _problem_of_person(self, watched: Watched) -> NeuraScaleError | None:
        user, before = self.users.get(watched.principal.pk), watched.principal
        if (
            user is None
            or not user.is_active
            or watched.stored_key not in self.sessions
            or user.password != getattr(before, "password", None)
        ):
            return NotAuthenticatedError(
                "The session in the portal is over", suggestion="Log in again."
            )
        return watched.loses(scopes_of(user), frozenset())


class Watch:
    """The connections of one process, looked at together."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.Task[None] | None = None

    async def add(self, watched: Watched) -> None:
        """Note what a connection begins with, and look after it from now on.

        Await it before anything is looked up for the connection: what is taken away after that is
        missed at the next look.
        """
        with suppress(OperationalError, InterfaceError):  # then the next look notes it
            await database_sync_to_async(_problems, thread_sensitive=False)([watched])
        self._watched.add(watched)
        self._wait()

    def remove(self, watched: Watched) -> None:
        """Look after a connection no more; twice does no harm."""
        self._watched.discard(watched)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        """Look again in a while, if there is anybody."""
        if self._watched and self._timer is None and self._check is None:
            loop = asyncio.get_running_loop()
            # In a context of its own, so that it does not act for who happened to come first.
            self._timer = loop.call_later(RECHECK_SECONDS, self._begin, context=Context())

    def _begin(self) -> None:
        self._timer = None
        self._check = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        try:
            watched = list(self._watched)
            problems = await database_sync_to_async(_problems, thread_sensitive=False)(watched)
            ended = [(w, error) for w, error in problems if w in self._watched]
            for who, _ in ended:
                self._watched.discard(who)
            await asyncio.gather(*(w.end(error) for w, error in ended), return_exceptions=True)
        except (OperationalError, InterfaceError) as error:
            log.warning("Cannot see who may keep an open socket; asking again soon: %s", error)
        finally:
            self._check = None
            self._wait()


def _problems(watched: list[Watched]) -> list[tuple[Watched, NeuraScaleError]]:
    """Return the connections that have to end, and why; reads the database."""
    standing = Standing(watched)
    found = [(w, standing.problem(w)) for w in watched]
    return [(w, error) for w, error in found if error is not None]


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def current_watch() -> Watch:
    """Return the watch of the running event loop; a web process has one loop."""
    return _watches.setdefault(asyncio.get_running_loop(), Watch())
