"""Sessions of the portal, of which the database knows no key: only a keyed hash of it.

Django keeps the key itself, which is the cookie: whoever had a copy of the database was logged in.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends import db
from django.utils import timezone
from django.utils.crypto import salted_hmac


def stored_key(session_key: str) -> str:
    """Return under which key a session is stored."""
    return salted_hmac("neurascale.session", session_key, algorithm="sha256").hexdigest()[:40]


class SessionStore(db.SessionStore):
    """Django's store in the database, with another key there than in the cookie."""

    def _get_session_from_db(self) -> Any:
        row = self._rows().first() if self.session_key else None
        if row is None:
            self._session_key = None
        return row

    async def _aget_session_from_db(self) -> Any:
        row = await self._rows().afirst() if self.session_key else None
        if row is None:
            self._session_key = None
        return row

    def _rows(self) -> Any:
        key = stored_key(str(self.session_key))
        return self.model.objects.filter(session_key=key, expire_date__gt=timezone.now())

    def exists(self, session_key: str) -> bool:
        """Say whether there is a session with a key."""
        return super().exists(stored_key(session_key))

    async def aexists(self, session_key: str) -> bool:
        """Say whether there is a session with a key."""
        return await super().aexists(stored_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """Return the row of this session."""
        row = super().create_model_instance(data)
        row.session_key = stored_key(row.session_key)
        return row

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        """Return the row of this session."""
        row = await super().acreate_model_instance(data)
        row.session_key = stored_key(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        """Forget a session, this one by default."""
        if key := session_key or self.session_key:
            super().delete(stored_key(key))

    async def adelete(self, session_key: str | None = None) -> None:
        """Forget a session, this one by default."""
        if key := session_key or self.session_key:
            await super().adelete(stored_key(key))
