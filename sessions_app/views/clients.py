"""Clients, their life cycle, and their membership of studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from neurascale.core.auth import Principal, Scope
from neurascale.core.models import Client
from neurascale.core.openapi.operation import Operation
from neurascale.core.services import change_client, delete_client, revoke_tokens
from neurascale.core.views import ResourceViewSet
from sessions_app import services
from sessions_app.errors import InvalidClientIdError, InvalidStudyIdError
from sessions_app.models import Study
from sessions_app.serializers import (
    ClientChangeSerializer,
    ClientSerializer,
    ClientWithSecretSerializer,
    MemberSerializer,
    NewClientSerializer,
    NewMemberSerializer,
)

SHOWN_ONCE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
NO_STORE = {"Cache-Control": "`no-store`: no cache may keep a secret."}


def wanted_client(principal: Principal | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked of a new client, as keywords of the service that makes one."""
    wanted = dict(asked)
    study_id = wanted.pop("study_id", None)
    study = services.get_study(principal, study_id) if study_id else None
    return {"principal": principal, "study": study, **wanted}


def find_newcomer(principal: Principal | None, study: Study, client_id: str) -> Client:
    """Return who may become a member: a member already, or one that the principal administers."""
    client = study.members.filter(public_id=client_id).first()
    return client or services.get_client(principal, client_id)


def find_member(study: Study, client_id: str) -> Client:
    """Return a member of a study.

    Raises
    ------
    InvalidClientIdError
        If there is none with that id.
    """
    client = study.members.filter(public_id=client_id).first()
    if client is None:
        raise InvalidClientIdError(
            f"Client with ID '{client_id}' is no member of study '{study.public_id}'",
            client_id=client_id,
            suggestion=f"List the members at GET /v1/studies/{study.public_id}/members",
        )
    return client


class ClientViewSet(ListModelMixin, RetrieveModelMixin, ResourceViewSet[Client]):
    """List, make, read, change, rotate, revoke and delete the clients one administers."""

    plural = "clients"
    serializer_class = ClientSerializer
    required_scopes = dict.fromkeys(("GET", "POST", "PATCH", "DELETE"), Scope.ADMIN)
    filter_fields = {"name": "name", "is_active": "is_active", "study_id": "studies__public_id"}
    search_fields = ("name", "public_id")
    ordering_fields = {
        "name": "name",
        "created_at": "created_at",
        "last_used_at": "last_used_at",
        "expires_at": "expires_at",
    }
    ordering = ("name",)
    together = frozenset({"create", "partial_update", "destroy", "rotate", "revoke"})
    operations = {
        "create": Operation(
            takes=NewClientSerializer,
            gives=ClientWithSecretSerializer,
            raises=(InvalidStudyIdError,),
            headers=NO_STORE,
        ),
        "partial_update": Operation(takes=ClientChangeSerializer),
        "rotate": Operation(gives=ClientWithSecretSerializer, headers=NO_STORE),
        "revoke": Operation(),
    }

    def get_queryset(self) -> QuerySet[Client]:
        """Return the clients that the caller administers."""
        return services.visible_clients(self.request.user).prefetch_related("studies")

    def get_object(self) -> Client:
        """Return the client that the URL names."""
        return services.get_client(self.request.user, self.kwargs["client_id"])

    def create(self, request: Request) -> Response:
        """Make a client; its secret and API key are in this answer and nowhere else."""
        asked = NewClientSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        new = services.create_client(**wanted_client(request.user, asked.validated_data))
        told = ClientWithSecretSerializer(new).data
        return Response(told, status=status.HTTP_201_CREATED, headers=SHOWN_ONCE)

    def partial_update(self, request: Request, client_id: str) -> Response:
        """Change a client."""
        client = self.get_object()
        asked = ClientChangeSerializer(data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        client = change_client(client=client, principal=request.user, **asked.validated_data)
        return self._answer(client)

    def destroy(self, request: Request, client_id: str) -> Response:
        """Delete a client; what it recorded stays."""
        delete_client(client=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def rotate(self, request: Request, client_id: str) -> Response:
        """Give a client a new secret, which is in this answer and nowhere else."""
        new = services.rotate_client(client=self.get_object(), principal=request.user)
        return Response(ClientWithSecretSerializer(new).data, headers=SHOWN_ONCE)

    def revoke(self, request: Request, client_id: str) -> Response:
        """Withdraw all tokens of a client."""
        client = self.get_object()
        revoke_tokens(client=client)
        return self._answer(client)

    def _answer(self, client: Client) -> Response:
        return Response(self.get_serializer(client).data)


class MemberViewSet(ListModelMixin, ResourceViewSet[Client]):
    """Who sees a study."""

    plural = "members"
    serializer_class = MemberSerializer
    required_scopes = dict.fromkeys(("GET", "POST", "DELETE"), Scope.ADMIN)
    filter_fields = {"name": "name"}
    search_fields = ("name", "public_id")
    ordering_fields = {"name": "name"}
    ordering = ("name",)
    operations = {
        "create": Operation(takes=NewMemberSerializer, raises=(InvalidClientIdError,)),
    }

    def get_queryset(self) -> QuerySet[Client]:
        """Return the study's members."""
        return self._study().members.all()

    def get_object(self) -> Client:
        """Return the member that the URL names."""
        return find_member(self._study(), self.kwargs["client_id"])

    def create(self, request: Request, study_id: str) -> Response:
        """Let a client see the study: one that the caller administers, or a member already."""
        study = self._study()
        asked = NewMemberSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        client = find_newcomer(request.user, study, asked.validated_data["client_id"])
        services.add_member(study=study, client=client)
        told: dict[str, Any] = self.get_serializer(client).data
        return Response(told, status=status.HTTP_201_CREATED)

    def destroy(self, request: Request, study_id: str, client_id: str) -> Response:
        """Let a client see the study no more."""
        services.remove_member(study=self._study(), client=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _study(self) -> Study:
        return services.get_study(self.request.user, self.kwargs["study_id"])
