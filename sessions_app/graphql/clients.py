"""Clients, who is a member of which study, and the audit log, in GraphQL.

A secret is in the answer to the change that made it, and nowhere else: such a change is declared
as `shown_once`, and its answer is kept nowhere (`neurascale.core.graphql.views`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import strawberry

from neurascale.core.auth import Principal, Scope
from neurascale.core.errors import NotFoundError
from neurascale.core.graphql.connections import connection
from neurascale.core.graphql.declare import extend, field, mutation, object_type
from neurascale.core.graphql.inputs import checked, input_of
from neurascale.core.graphql.scalars import JSON, DateTime, Long
from neurascale.core.graphql.things import Kind, Node
from neurascale.core.models import AuditEntry as EntryRow
from neurascale.core.services import change_client, delete_client, revoke_tokens
from sessions_app import services
from sessions_app.graphql.sessions import Study
from sessions_app.models import Study as StudyRow
from sessions_app.serializers import (
    AuditEntrySerializer,
    ClientChangeSerializer,
    ClientSerializer,
    MemberSerializer,
    NewClientSerializer,
)
from sessions_app.views.clients import (
    ClientViewSet,
    find_member,
    find_newcomer,
    wanted_client,
)
from sessions_app.views.subjects import AuditViewSet

Membership = StudyRow.members.through


def get_entry(principal: Principal | None, entry_id: str) -> EntryRow:
    """Return an entry of the audit log that a principal may read.

    Raises
    ------
    NotFoundError
        If there is none with that id, or the principal may not know that there is.
    """
    entry = services.visible_entries(principal).filter(public_id=entry_id).first()
    if entry is None:
        raise NotFoundError(
            f"Entry with ID '{entry_id}' not found",
            entry_id=entry_id,
            suggestion="Check entry ID or list the audit log at GET /v1/audit",
        )
    return entry


class MemberListing:
    """How lists of a study's members are narrowed and ordered: as `MemberViewSet` does."""

    plural = "members"
    filter_fields = {"name": "client__name"}
    search_fields = ("client__name", "client__public_id")
    ordering_fields = {"name": "client__name"}
    ordering = ("name",)
    tie_breaker = "client__public_id"


CLIENT = Kind(
    prefix="cli_",
    needs=Scope.ADMIN,
    get=services.get_client,
    rows=lambda principal: services.visible_clients(principal).prefetch_related("studies"),
    wire=lambda thing: ClientSerializer(thing.row).data,
    listing=ClientViewSet,
)
MEMBER = Kind(
    prefix="",
    needs=Scope.ADMIN,
    get=lambda principal, _: Membership.objects.none().get(),
    rows=lambda principal: Membership.objects.filter(
        study__in=services.visible_studies(principal).values("pk")
    ).select_related("client"),
    wire=lambda thing: MemberSerializer(thing.row.client).data,
    listing=MemberListing,
)
ENTRY = Kind(
    prefix="aud_",
    needs=Scope.ADMIN,
    get=get_entry,
    rows=services.visible_entries,
    wire=lambda thing: AuditEntrySerializer(thing.row).data,
    listing=AuditViewSet,
)


@CLIENT
class Client(Node):
    """A program that may use the API; never with its secret."""

    client_id: strawberry.ID
    name: str
    scopes: list[str]
    is_active: bool
    expires_at: DateTime | None
    studies: list[strawberry.ID]
    tokens_valid_after: DateTime | None
    last_used_at: DateTime | None
    created_at: DateTime


@MEMBER
class Member:
    """A client as the other members of its study know it."""

    client_id: strawberry.ID
    name: str


@object_type(Scope.ADMIN)
class ClientWithSecret:
    """A client with what is shown only now, when it was made or its secret changed."""

    client: Client
    client_id: strawberry.ID
    client_secret: str
    api_key: str


@object_type(Scope.ADMIN)
class Actor:
    """Who did something."""

    kind: str
    id: str
    name: str


@ENTRY
class AuditEntry(Node):
    """One thing that somebody did."""

    entry_id: strawberry.ID
    sequence: Long
    at: DateTime
    actor: Actor
    address: str
    request_id: str
    verb: str
    object_id: str
    study_id: strawberry.ID | None
    details: JSON
    seal: str


@extend(Study)
class StudyMembers:
    """Who sees a study."""

    members = connection(MEMBER, through="study")


def with_secret(new: services.NewClient) -> Any:
    """Return what is shown only once."""
    return {
        "client": CLIENT.thing(new.client),
        "client_id": new.client_id,
        "client_secret": new.client_secret,
        "api_key": new.api_key,
    }


if TYPE_CHECKING:
    NewClient = ClientChange = object
else:
    NewClient = input_of("NewClient", NewClientSerializer)
    ClientChange = input_of("ClientChange", ClientChangeSerializer, partial=True)


@strawberry.type
class Query:
    """Clients that one administers, and what was done."""

    clients = connection(CLIENT)
    audit_log = connection(ENTRY)

    @field(Scope.ADMIN)
    def client(self, info: strawberry.Info, id: strawberry.ID) -> Client | None:
        """Return a client that the caller administers."""
        return CLIENT.thing(services.get_client(info.context.principal, id))


@strawberry.type
class Mutation:
    """Changes of clients and of who sees a study."""

    @mutation(Scope.ADMIN, shown_once=True)
    def create_client(self, info: strawberry.Info, input: NewClient) -> ClientWithSecret | None:
        """Make a client; its secret and API key are in this answer and nowhere else."""
        principal = info.context.principal
        asked = checked(NewClientSerializer, input)
        wanted = wanted_client(principal, asked.validated_data)
        return with_secret(services.create_client(**wanted))  # type: ignore[no-any-return]

    @mutation(Scope.ADMIN)
    def change_client(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
        input: ClientChange,
    ) -> Client | None:
        """Change a client's name, scopes, end, or whether it is switched on."""
        principal = info.context.principal
        client = services.get_client(principal, id)
        asked = checked(ClientChangeSerializer, input, partial=True)
        changed = change_client(client=client, principal=principal, **asked.validated_data)
        return CLIENT.thing(changed)

    @mutation(Scope.ADMIN, shown_once=True)
    def rotate_client(self, info: strawberry.Info, id: strawberry.ID) -> ClientWithSecret | None:
        """Give a client a new secret, which is in this answer and nowhere else."""
        principal = info.context.principal
        client = services.get_client(principal, id)
        new = services.rotate_client(client=client, principal=principal)
        return with_secret(new)  # type: ignore[no-any-return]

    @mutation(Scope.ADMIN)
    def revoke_client(self, info: strawberry.Info, id: strawberry.ID) -> Client | None:
        """Withdraw all tokens of a client."""
        client = services.get_client(info.context.principal, id)
        revoke_tokens(client=client)
        return CLIENT.thing(client)

    @mutation(Scope.ADMIN)
    def delete_client(self, info: strawberry.Info, id: strawberry.ID) -> strawberry.ID | None:
        """Delete a client, and return its id; what it recorded stays."""
        delete_client(client=services.get_client(info.context.principal, id))
        return id

    @mutation(Scope.ADMIN)
    def add_member(
        self, info: strawberry.Info, study_id: strawberry.ID, client_id: strawberry.ID
    ) -> Member | None:
        """Let a client see a study: one that the caller administers, or a member already."""
        principal = info.context.principal
        study = services.get_study(principal, study_id)
        client = find_newcomer(principal, study, client_id)
        services.add_member(study=study, client=client)
        return MEMBER.thing(Membership.objects.get(study=study, client=client))

    @mutation(Scope.ADMIN)
    def remove_member(
        self, info: strawberry.Info, study_id: strawberry.ID, client_id: strawberry.ID
    ) -> strawberry.ID | None:
        """Let a client see a study no more, and return the client's id."""
        study = services.get_study(info.context.principal, study_id)
        services.remove_member(study=study, client=find_member(study, client_id))
        return client_id
