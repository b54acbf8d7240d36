"""Statements of hot paths, given to the driver itself.

Django's cursors note down each statement where `settings.DEBUG` is set, translate its placeholders
and ask whoever may want to wrap it, which takes about as long as the database does for a row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

_PLACEHOLDER = re.compile(r"(?<!%)%s")


class Statement:
    """A statement without Django on its way; unless somebody watches, as tests do.

    Parameters
    ----------
    sql : str
        As Django takes it: with ``%s`` for each value, and ``%%`` for a per cent sign.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._of_sqlite = _PLACEHOLDER.sub("?", sql).replace("%%", "%")

    def __call__(self, *values: Any) -> int:
        """Do it, and return how many rows it changed."""
        return int(self._execute(connections[DEFAULT_DB_ALIAS], values).rowcount)

    def rows(self, *values: Any) -> list[Sequence[Any]]:
        """Do it, and return the rows that it gives."""
        return self.rows_of(connections[DEFAULT_DB_ALIAS], values)

    def rows_of(self, connection: Any, values: Sequence[Any]) -> list[Sequence[Any]]:
        """Do as `rows` does, on a connection of Django's that is at hand: looking for it costs."""
        cursor = self._execute(connection, values)
        try:
            rows: list[Sequence[Any]] = cursor.fetchall()
        except Exception:
            with connection.wrap_database_errors:  # names it as Django does
                raise
        return rows

    def _execute(self, connection: Any, values: Sequence[Any]) -> Any:
        """Do it, and return the driver's cursor.

        Raises
        ------
        TransactionManagementError
            If the transaction is broken, and has to be rolled back first.
        """
        if connection.force_debug_cursor or connection.execute_wrappers:
            watched = connection.cursor()
            watched.execute(self.sql, values)
            return watched
        if connection.connection is None:
            connection.ensure_connection()
        if connection.needs_rollback:
            connection.validate_no_broken_transaction()
        try:
            if connection.vendor == "sqlite":
                return connection.connection.execute(self._of_sqlite, values)
            return connection.create_cursor().execute(self.sql, values)
        except Exception:
            with connection.wrap_database_errors:
                raise
