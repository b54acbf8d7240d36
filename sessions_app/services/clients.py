"""Use cases of clients that know of studies: make one, and who may administer which.

Whoever has a client's secret has what the client has. So a client with the scope ``admin``
administers itself and those clients that are members of no study but its own; people of the
portal's staff administer all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from neurascale.core import services
from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal
from neurascale.core.credentials import hash_secret, make_api_key, make_secret
from neurascale.core.models import Client
from sessions_app.errors import InvalidClientIdError
from sessions_app.models import Study
from sessions_app.services.sessions import is_staff, visible_studies


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client with what is shown only now, when it was made or its secret changed.

    Parameters
    ----------
    client : Client
        The row.
    client_id, client_secret : str
        For ``grant_type=client_credentials``.
    api_key : str
        Both in one string.
    """

    client: Client
    client_id: str
    client_secret: str
    api_key: str

    @classmethod
    def of(cls, client: Client, secret: str) -> NewClient:
        """Return a client with its secret in both forms."""
        return cls(client, client.public_id, secret, make_api_key(client, secret))


def create_client(
    *,
    name: str,
    scopes: Iterable[str],
    study: Study | None = None,
    expires_at: datetime | None = None,
    principal: Principal | None = None,
) -> NewClient:
    """Make a client that is a member of one study: a new one of its own, unless one is given.

    Parameters
    ----------
    name : str
        What people call the program.
    scopes : iterable of str
        Names of scopes and roles; ``"all"`` is every scope.
    study : Study, optional
        What it may see and record into.
    expires_at : datetime, optional
        From when on it may do nothing; of a client that expires itself, at the latest with it.
    principal : Client or user, optional
        Who asks; the lab itself by default. A client that makes another one is a member of the
        new study too.

    Raises
    ------
    InvalidError
        If a scope is unknown.
    MayNotGrantError
        If the principal gives more than it has.
    """
    granted = services.grantable_scopes(principal, scopes)
    if expires_at is None:
        expires_at = getattr(principal, "expires_at", None)
    expires_at = services.grantable_end(principal, expires_at)
    secret = make_secret()
    with recorded():
        client = Client.objects.create(
            name=name, secret_hash=hash_secret(secret), scopes=granted, expires_at=expires_at
        )
        if study is None:
            study = Study.objects.create(name=name)
            record("study.create", study, study=study)
            if isinstance(principal, Client):
                study.members.add(principal)
        study.members.add(client)
        record("client.create", client, study=study, scopes=granted)
    return NewClient.of(client, secret)


def rotate_client(*, client: Client, principal: Principal | None = None) -> NewClient:
    """Give a client a new secret, and return it: the only time.

    Raises
    ------
    MayNotGrantError
        If the client lives on when the principal, who gets to know the secret, has ended.
    """
    return NewClient.of(client, services.rotate_secret(client=client, principal=principal))


def visible_clients(principal: Principal | None) -> QuerySet[Client]:
    """Return the clients that a principal may administer."""
    if not isinstance(principal, Client):
        return Client.objects.all() if is_staff(principal) else Client.objects.none()
    memberships = Study.members.through.objects.filter(client=OuterRef("pk"))
    ours = visible_studies(principal).values("pk")
    return Client.objects.filter(
        Q(pk=principal.pk)
        | Q(Exists(memberships.filter(study__in=ours)))
        & ~Q(Exists(memberships.exclude(study__in=ours)))
    )


def get_client(principal: Principal | None, client_id: str) -> Client:
    """Return a client that a principal may administer.

    Raises
    ------
    InvalidClientIdError
        If there is none with that id, or the principal may not know that there is.
    """
    client = visible_clients(principal).filter(public_id=client_id).first()
    if client is None:
        raise InvalidClientIdError(
            f"Client with ID '{client_id}' not found",
            client_id=client_id,
            suggestion="Check client ID or list your clients at GET /v1/clients",
        )
    return client
