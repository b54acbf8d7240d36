"""Studies, and the half of the session resource that needs no samples.

`ingest.views` adds the other half to `SessionViewSet` and serves its URLs.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from devices.errors import DeviceBusyError, InvalidDeviceIdError
from devices.services import get_device
from neurascale.core.auth import Principal, Scope
from neurascale.core.openapi.operation import Operation
from neurascale.core.views import ResourceViewSet
from sessions_app import services
from sessions_app.errors import InvalidStudyIdError, SessionStateError, SubjectWithdrawnError
from sessions_app.models import Session, Study
from sessions_app.serializers import (
    NewSessionSerializer,
    NewStudySerializer,
    SessionChangeSerializer,
    SessionSerializer,
    StudyChangeSerializer,
    StudySerializer,
)


class StudyViewSet(ListModelMixin, RetrieveModelMixin, ResourceViewSet[Study]):
    """List, found, read and change the studies one is a member of."""

    plural = "studies"
    detail_path = "study-detail"
    serializer_class = StudySerializer
    required_scopes = {"GET": Scope.SESSIONS_READ, "POST": Scope.ADMIN, "PATCH": Scope.ADMIN}
    filter_fields = {"name": "name"}
    search_fields = ("name", "public_id")
    ordering_fields = {"name": "name", "created_at": "created_at"}
    ordering = ("name",)
    operations = {
        "create": Operation(takes=NewStudySerializer),
        "partial_update": Operation(takes=StudyChangeSerializer),
    }

    def get_queryset(self) -> QuerySet[Study]:
        """Return the studies that the caller sees."""
        return services.visible_studies(self.request.user)

    def get_object(self) -> Study:
        """Return the study that the URL names."""
        return services.get_study(self.request.user, self.kwargs["study_id"])

    def create(self, request: Request) -> Response:
        """Found a study."""
        asked = NewStudySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        study = services.create_study(principal=request.user, **asked.validated_data)
        return Response(self.get_serializer(study).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, study_id: str) -> Response:
        """Change a study."""
        study = self.get_object()
        asked = StudyChangeSerializer(data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        study = services.change_study(study=study, **asked.validated_data)
        return Response(self.get_serializer(study).data)


def read_new_session(principal: Principal, data: Any) -> dict[str, Any]:
    """Return what is asked of a new session, as keywords of the service that creates one."""
    asked = NewSessionSerializer(data=data)
    asked.is_valid(raise_exception=True)
    wanted = dict(asked.validated_data)
    study_id = wanted.pop("study_id", None)
    return {
        "principal": principal,
        "device": get_device(wanted.pop("device_id")),
        "study": services.get_study(principal, study_id) if study_id else None,
        "subject_code": wanted.pop("subject_id", None),
        **wanted,
    }


class SessionViewSet(ListModelMixin, RetrieveModelMixin, ResourceViewSet[Session]):
    """List, read, change and delete the sessions of one's studies."""

    plural = "sessions"
    detail_path = "session-detail"
    serializer_class = SessionSerializer
    required_scopes = {
        "GET": Scope.SESSIONS_READ,
        "POST": Scope.SESSIONS_WRITE,
        "PATCH": Scope.SESSIONS_WRITE,
        "DELETE": Scope.SESSIONS_WRITE,
    }
    filter_fields = {
        "status": "status",
        "device_id": "device__public_id",
        "study_id": "study__public_id",
        "subject_id": "subject__public_id",
        "experiment_type": "experiment_type",
    }
    search_fields = ("public_id", "experiment_type", "device__name", "subject__public_id")
    ordering_fields = {
        "created_at": "created_at",
        "start_time": "start_time",
        "end_time": "end_time",
        "status": "status",
        "experiment_type": "experiment_type",
    }
    ordering = ("-created_at",)
    operations = {
        "create": Operation(
            takes=NewSessionSerializer,
            raises=(
                *(InvalidDeviceIdError, InvalidStudyIdError),
                *(DeviceBusyError, SubjectWithdrawnError),
            ),
        ),
        "partial_update": Operation(takes=SessionChangeSerializer, raises=(SubjectWithdrawnError,)),
        "destroy": Operation(raises=(SessionStateError,)),
    }

    def get_queryset(self) -> QuerySet[Session]:
        """Return the sessions that the caller sees."""
        return services.visible_sessions(self.request.user)

    def get_object(self) -> Session:
        """Return the session that the URL names."""
        return services.get_session(self.request.user, self.kwargs["session_id"])

    def new_session(self) -> dict[str, Any]:
        """Return what a request to create a session asks for, as keywords of the service."""
        return read_new_session(self.request.user, self.request.data)

    def partial_update(self, request: Request, session_id: str) -> Response:
        """Change what is said of a session."""
        session = self.get_object()
        asked = SessionChangeSerializer(data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        session = services.change_session(session=session, **asked.validated_data)
        return Response(self.get_serializer(session).data)

    def destroy(self, request: Request, session_id: str) -> Response:
        """Delete a session."""
        services.delete_session(session=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)
