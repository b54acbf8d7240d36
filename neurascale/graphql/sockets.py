"""GraphQL's sockets, looked after like those of `/v1/stream`: they end when access is lost."""

from __future__ import annotations

from typing import Any

from neurascale.core.auth import Principal
from neurascale.core.graphql.sockets import GraphQLSocket
from sessions_app.watch import Watched, current_watch


class WatchedSocket(GraphQLSocket):
    """One connection to `/graphql`, for as long as who opened it keeps what it was opened with."""

    def __init__(self, schema: Any, **options: Any) -> None:
        super().__init__(schema, **options)
        self.watched: Watched | None = None

    async def speaks_for(self, principal: Principal) -> None:
        """Act for somebody from now on, as long as they may."""
        session = self.scope.get("session")
        self.watched = Watched(principal, getattr(session, "session_key", None), self.dismiss)
        await current_watch().add(self.watched)

    def ended(self) -> None:
        """Act for nobody any more."""
        if self.watched is not None:
            current_watch().remove(self.watched)
