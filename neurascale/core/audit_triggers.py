"""What makes the database itself refuse to change or delete an entry of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

_WHY = "the audit log is append-only"
_SQLITE = {
    f"audit_no_{verb.lower()}": f"""
        CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON core_auditentry
        BEGIN SELECT RAISE(ABORT, '{_WHY}'); END
    """
    for verb in ("UPDATE", "DELETE")
}
_POSTGRESQL = f"""
    CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{_WHY}'; END $$;
    CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON core_auditentry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
    CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON core_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""
_POSTGRESQL_GONE = """
    DROP TRIGGER IF EXISTS audit_no_change ON core_auditentry;
    DROP TRIGGER IF EXISTS audit_no_truncate ON core_auditentry;
    DROP FUNCTION IF EXISTS audit_refuse();
"""


def create_triggers(connection: BaseDatabaseWrapper) -> None:
    """Make SQLite or PostgreSQL refuse; other databases have only the model's refusal."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for statement in _SQLITE.values():
                cursor.execute(statement)
        elif connection.vendor == "postgresql":
            cursor.execute(_POSTGRESQL)


def drop_triggers(connection: BaseDatabaseWrapper) -> None:
    """Undo `create_triggers`."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for name in _SQLITE:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        elif connection.vendor == "postgresql":
            cursor.execute(_POSTGRESQL_GONE)


@contextmanager
def without_triggers(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let the log be emptied, as the tests do between two of them."""
    drop_triggers(connection)
    try:
        yield
    finally:
        create_triggers(connection)
