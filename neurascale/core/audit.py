"""The audit log: who did what, when, from where; in a chain that cannot be changed unseen.

`docs/design/0002-audit-log.md` says why it is as it is. A service says what it did with `record`,
inside `recorded`, which writes at the end of the transaction of the change itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from neurascale.core.actor import actor, edge
from neurascale.core.models import AuditEntry, AuditHead, Client, make_public_id
from neurascale.core.statements import Statement
from neurascale.core.turns import turn

GENESIS = "0" * 64  # the seal before the first
HEAD_PK = 1
BEGINNING = timedelta(minutes=10)  # of a lab: a transaction that makes somebody, and its entry
BATCH = 1000  # entries read at a time when the chain is checked

# This comes with every request that changes something, so it does without the ORM, which would
# take longer than the database does.
_FIELDS = (
    *("sequence", "public_id", "at", "actor_kind", "actor_id", "actor_name", "address"),
    *("request_id", "verb", "object_id", "study_id", "details", "previous"),
)
_READ_HEAD = "SELECT sequence, seal FROM core_audithead WHERE id = %s"
# On SQLite a transaction has the only write lock from its first statement on.
_LOCK_HEAD = {
    "sqlite": Statement(_READ_HEAD),
    "postgresql": Statement(f"{_READ_HEAD} FOR UPDATE"),
}
_MOVE_HEAD = Statement(
    "UPDATE core_audithead SET sequence = %s, seal = %s, mark = %s "
    "WHERE id = %s AND sequence = %s AND seal = %s"
)
_INSERT = Statement(
    f"INSERT INTO core_auditentry ({', '.join(_FIELDS)}, seal) "  # noqa: S608 - constants
    f"VALUES ({', '.join(['%s'] * (len(_FIELDS) + 1))})"
)
Fact = str | int | bool | None | Sequence[str]


@dataclass(frozen=True, slots=True)
class _Note:
    """What is to be written when the transaction ends."""

    verb: str
    object_id: str
    study_id: str
    details: Mapping[str, Any]


_End = tuple[int, str]  # number and seal of the last entry


class _Left:
    """Where this process left the chain. That may have been rolled back, or others gone on."""

    end: _End | None = None


_left = _Left()
_pending: ContextVar[list[_Note] | None] = ContextVar("neurascale_audit_pending", default=None)


# --- Writing -------------------------------------------------------------------------------------


@contextmanager
def recorded() -> Iterator[None]:
    """Make a transaction whose entries are its last statements.

    The end of the chain is one row that all who change something have to lock, so it is locked as
    late and as shortly as can be; and since nothing is locked after it, no two transactions can
    wait for each other over it. Inside another one it is a savepoint: the outermost writes.
    """
    notes = _pending.get()
    if notes is not None:
        n_before = len(notes)
        try:
            with transaction.atomic():
                yield
        except BaseException:
            del notes[n_before:]
            raise
        return
    notes = []
    token = _pending.set(notes)
    try:
        with turn(), transaction.atomic():
            yield
            if notes:
                _append(notes)
    finally:
        _pending.reset(token)


def record(verb: str, thing: Any, *, study: Any = None, **details: Fact) -> None:
    """Note that something was done, for the log; by whom and from where is known.

    Outside of `recorded` it is written at once, in a transaction of its own.

    Parameters
    ----------
    verb : str
        ``"session.stop"``: what it was done to, and what.
    thing : model or str
        What it was done to; a row is named by its public id.
    study : Study, optional
        Whose members may know of it. That of ``thing``, if it says one.
    **details
        Facts, such as the names of changed ``fields``; texts, whole numbers, lists of texts. Never
        a secret, a token or a subject's code.
    """
    whose = getattr(thing, "study", None) if study is None else study
    note = _Note(verb, name_of(thing), getattr(whose, "public_id", ""), details)
    notes = _pending.get()
    if notes is not None:
        notes.append(note)
        return
    with transaction.atomic():
        _append([note])


def name_of(thing: Any) -> str:
    """Return what a row is called in the log: never by its integer key, which is nobody's matter.

    What has no public id are the portal's own people and groups.
    """
    if isinstance(thing, models.Model):
        public_id = getattr(thing, "public_id", None)
        return str(public_id or getattr(thing, "username", None) or thing)
    return str(thing)


def _append(notes: Sequence[_Note]) -> None:
    """Write entries at the end of the chain; the caller has a transaction.

    Mostly the chain ends where this process left it, and then the end is moved without having been
    read: it moves only from exactly there, whatever else happened meanwhile.
    """
    end = _left.end or _lock_head()
    while True:
        rows, new_end = _chained(notes, end)
        if _MOVE_HEAD(*new_end, mark_of(*new_end), HEAD_PK, *end):
            break
        end = _lock_head()
    for row in rows:
        _INSERT(*row)
    _left.end = new_end


def _chained(notes: Sequence[_Note], end: _End) -> tuple[list[list[Any]], _End]:
    """Return rows that follow on the end of a chain, and the end that it has then."""
    who, where, now = actor(), edge(), timezone.now()
    at = connection.ops.adapt_datetimefield_value(now)
    sequence, seal = end
    rows = []
    for note in notes:
        sequence += 1
        values = {
            "sequence": sequence,
            "public_id": make_public_id("aud_"),
            "at": now,
            "actor_kind": who.kind,
            "actor_id": who.id[:200],
            "actor_name": who.name[:200],
            "address": where.address[:64],
            "request_id": where.request_id[:64],
            "verb": note.verb,
            "object_id": note.object_id[:200],
            "study_id": note.study_id,
            "details": canonical(note.details).decode(),
            "previous": seal,
        }
        seal = seal_of(values)
        rows.append([*(values | {"at": at}).values(), seal])
    return rows, (sequence, seal)


def _lock_head() -> _End:
    """Return the end of the chain, held until the transaction ends; a new chain begins here."""
    lock = _LOCK_HEAD[connection.vendor]
    found = lock.rows(HEAD_PK)
    if not found:
        # Were there entries already, theirs would be the number 1: nothing can be appended to a
        # chain whose end was taken away.
        AuditHead.objects.bulk_create(
            [AuditHead(pk=HEAD_PK, sequence=0, seal=GENESIS, mark=mark_of(0, GENESIS))],
            ignore_conflicts=True,
        )
        found = lock.rows(HEAD_PK)
    [(sequence, seal)] = found
    return sequence, seal


# --- Seals ---------------------------------------------------------------------------------------


def canonical(details: Mapping[str, Any]) -> bytes:
    """Return facts as the one JSON text that stands for them, on every database."""
    return orjson.dumps(details, default=_plain, option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence | set | frozenset) else str(value)


@cache
def _key(secret_key: str) -> bytes:
    """Return the key of the seals: who can write to the database cannot make one."""
    return salted_hmac("neurascale.audit", "", secret=secret_key, algorithm="sha256").digest()


def _keyed_hash(parts: Sequence[str], secret_key: str | None = None) -> str:
    # As JSON, so that no two entries have the same bytes.
    key = _key(settings.SECRET_KEY if secret_key is None else secret_key)
    return hmac.new(key, orjson.dumps(parts), hashlib.sha256).hexdigest()


def _parts(values: Mapping[str, Any]) -> list[str]:
    at: datetime = values["at"]
    texts = {**values, "at": at.astimezone(UTC).isoformat(timespec="microseconds")}
    return ["entry", *(str(texts[name]) for name in _FIELDS)]


def seal_of(values: Mapping[str, Any]) -> str:
    """Return the keyed hash of an entry's fields."""
    return _keyed_hash(_parts(values))


def mark_of(sequence: int, seal: str) -> str:
    """Return the keyed hash of the end of the chain."""
    return _keyed_hash(["head", str(sequence), seal])


# --- Checking ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of the whole chain found.

    Parameters
    ----------
    n_entries : int
        How many entries there are.
    head : str
        ``<number>:<seal>`` of the last one: to be noted elsewhere, and shown to the next check.
    problems : list of str
        What is wrong, and with which entry.
    """

    n_entries: int
    head: str
    problems: list[str]


def verify(*, noted: str | None = None) -> Checked:
    """Check every entry, that none is missing between them, and the end of the chain.

    Parameters
    ----------
    noted : str, optional
        The head that an earlier check returned (``<number>:<seal>``, or the seal alone). Against
        somebody who puts back an old copy of the log with its end nothing else helps.
    """
    problems = [*_problems_of_beginning()]
    reached, seal, n_entries = 0, GENESIS, 0
    noted_seal = noted.rpartition(":")[2] if noted else None
    was_noted = noted_seal in {None, GENESIS}
    while True:
        # What is appended meanwhile is found in the next round: the end is read after the entries.
        head = AuditHead.objects.filter(pk=HEAD_PK).first()
        batch = list(AuditEntry.objects.filter(sequence__gt=reached).order_by("sequence")[:BATCH])
        if not batch:
            break
        for entry in batch:
            n_entries += 1
            if entry.sequence != reached + 1:
                problems.append(_missing(reached + 1, entry.sequence - 1))
            elif entry.previous != seal:
                problems.append(f"Entry {entry.sequence} does not follow on the one before it")
            if not _is_sealed(entry):
                problems.append(
                    f"Entry {entry.sequence} ({entry.public_id}) was altered or put in: it does "
                    f"not bear its seal"
                )
            was_noted = was_noted or entry.seal == noted_seal
            reached, seal = entry.sequence, entry.seal
    problems += _problems_of_head(head, reached, seal)
    if not was_noted:
        problems.append(f"The noted head {noted} is not in the log: it, and what followed, is gone")
    return Checked(n_entries, f"{reached}:{seal}", problems)


def _problems_of_beginning() -> Iterator[str]:
    """Yield what is before the first entry, and whether that comes too late to be the first."""
    for entry in AuditEntry.objects.filter(sequence__lt=1):
        yield f"Entry {entry.sequence} ({entry.public_id}) was put in before the first"
    first = AuditEntry.objects.filter(sequence=1).values_list("at", flat=True).first()
    people = get_user_model()._default_manager.order_by("date_joined")
    clients = Client.objects.order_by("created_at")
    made = [people.values_list("date_joined", flat=True).first()]
    made += [clients.values_list("created_at", flat=True).first()]
    oldest = min((moment for moment in made if moment is not None), default=None)
    if oldest is None or (first is None and AuditEntry.objects.exists()):  # which is named below
        return
    if first is None or first - oldest > BEGINNING:
        yield (
            f"The log begins {first or 'nowhere'}, but people or programs were made from {oldest} "
            f"on: what was written of them is gone"
        )


def _is_sealed(entry: AuditEntry) -> bool:
    values = {name: getattr(entry, name) for name in _FIELDS}
    parts = _parts({**values, "details": canonical(entry.details).decode()})
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(_keyed_hash(parts, key), entry.seal) for key in keys)


def _problems_of_head(head: AuditHead | None, reached: int, seal: str) -> Iterator[str]:
    """Yield what is wrong with the end of the chain, given the last entry there is."""
    if head is None:
        if reached:
            yield "The row with the end of the log is gone"
        return
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    parts = ["head", str(head.sequence), head.seal]
    if not any(constant_time_compare(_keyed_hash(parts, key), head.mark) for key in keys):
        yield "The row with the end of the log was altered: it does not bear its mark"
    if head.sequence > reached:
        yield _missing(reached + 1, head.sequence)
    elif head.sequence < reached:
        yield f"Entries {head.sequence + 1} to {reached} were put in behind the end of the log"
    elif head.seal != seal:
        yield f"Entry {reached} is not the one with which the log ended"


def _missing(first: int, last: int) -> str:
    return f"Entry {first} is missing" if first == last else f"Entries {first}-{last} are missing"
