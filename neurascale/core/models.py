"""Public ids, API clients, and answers that are kept: the rows that every app may refer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import Q

from neurascale.core.errors import NotSupportedError
from neurascale.core.ids import make_public_id


class PublicIdField(models.CharField):
    """The id that leaves the server; the integer key never does.

    Parameters
    ----------
    prefix : str
        Says what the id names: ``"dev_"``, ``"sess_"``.
    """

    def __init__(self, *, prefix: str = "", **options: Any) -> None:
        self.prefix = prefix
        options |= {
            "max_length": 40,
            "unique": True,
            "editable": False,
            "default": partial(make_public_id, prefix),
        }
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Any, dict[str, Any]]:
        """Keep migrations to what the author wrote."""
        name, path, args, options = super().deconstruct()
        for implied in ("max_length", "unique", "editable", "default"):
            options.pop(implied, None)
        return name, path, args, {**options, "prefix": self.prefix}


def default_scopes() -> list[str]:
    """Return the scopes of a client that was given none: it may look, not touch."""
    return ["devices:read", "sessions:read"]


class Client(models.Model):
    """A program that may use the API.

    Only a keyed hash of the secret is kept: it is shown once, when it is made.
    """

    public_id = PublicIdField(prefix="cli_")
    name = models.CharField(max_length=200)
    secret_hash = models.CharField(max_length=128)
    scopes = models.JSONField(default=default_scopes)
    is_active = models.BooleanField(default=True)
    tokens_valid_after = models.DateTimeField(
        null=True, blank=True, help_text="Tokens issued before this moment are refused."
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="From this moment on the client gets and may do nothing."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    # DRF and Django ask these of whoever is behind a request.
    is_authenticated = True
    is_anonymous = False
    # Of the token behind this request; never stored.
    claims: Mapping[str, Any] | None = None

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def holds_at(self, now: datetime) -> bool:
        """Tell whether the client is switched on and has not expired."""
        return self.is_active and (self.expires_at is None or now < self.expires_at)


def clients_at(now: datetime | models.Expression) -> models.QuerySet[Client]:
    """Return the clients that are switched on and have not expired."""
    return Client.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), is_active=True)


class RevokedToken(models.Model):
    """A token that was used up or withdrawn before it expired, or a pair of them."""

    jti = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.jti


# --- The audit log -------------------------------------------------------------------------------


class AppendOnlyError(NotSupportedError):
    """An entry of the audit log was to be changed or deleted."""


def _refuse() -> NoReturn:
    raise AppendOnlyError(
        "The audit log is append-only: what was done is not undone by forgetting it"
    )


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Rows that are neither changed nor deleted; the database refuses it too."""

    def update(self, **changes: Any) -> NoReturn:
        """Refuse."""
        _refuse()

    def delete(self) -> NoReturn:
        """Refuse."""
        _refuse()


class AuditEntry(models.Model):
    """One thing that somebody did. `neurascale.core.audit` writes it and checks it."""

    public_id = PublicIdField(prefix="aud_")
    sequence = models.BigIntegerField(unique=True, help_text="From 1, none left out.")
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=200, db_index=True)
    actor_name = models.CharField(max_length=200)
    address = models.CharField(max_length=64)
    request_id = models.CharField(max_length=64)
    verb = models.CharField(max_length=64, db_index=True)
    object_id = models.CharField(max_length=200, db_index=True)
    study_id = models.CharField(max_length=40, db_index=True)
    details = models.JSONField()
    previous = models.CharField(max_length=64, help_text="The seal of the entry before.")
    seal = models.CharField(max_length=64, help_text="A keyed hash of all of the above.")

    objects = AppendOnly.as_manager()

    class Meta:
        ordering = ["-sequence"]
        verbose_name = "entry of the audit log"
        verbose_name_plural = "audit log"

    def __str__(self) -> str:
        return f"{self.sequence}: {self.verb} {self.object_id}"

    def save(self, *args: Any, **options: Any) -> None:
        """Refuse to change what is there."""
        if not self._state.adding:
            _refuse()
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse."""
        _refuse()


class AuditHead(models.Model):
    """The end of the audit log, one row: whoever appends holds it."""

    sequence = models.BigIntegerField()
    seal = models.CharField(max_length=64)
    mark = models.CharField(max_length=64, help_text="A keyed hash of both.")

    def __str__(self) -> str:
        return f"{self.sequence}:{self.seal}"


class KeptAnswer(models.Model):
    """The first answer to a request with an ``Idempotency-Key``; see `neurascale.core.idempotency`.

    Without a status it is a claim: somebody is at work on the answer, until ``lease_until``.
    """

    principal = models.CharField(max_length=60, help_text="Public id of the client, or the user.")
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    holder = models.CharField(max_length=32)
    lease_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["principal", "key"], name="one_answer_an_idempotency_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.principal}: {self.key}"

    @classmethod
    def forget(cls, public_ids: Iterable[str]) -> None:
        """Keep of the answers that name things only that they were given, not what they said."""
        names = [name.encode() for name in public_ids]
        found = [
            pk
            for pk, body in cls.objects.exclude(body=b"").values_list("pk", "body").iterator()
            if any(name in bytes(body) for name in names)
        ]
        for at in range(0, len(found), 500):
            cls.objects.filter(pk__in=found[at : at + 500]).update(
                body=b"", headers={"Cache-Control": "no-store"}
            )
