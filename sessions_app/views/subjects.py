"""Subjects, and what was done: the audit log."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from neurascale.core.auth import Scope
from neurascale.core.models import AuditEntry
from neurascale.core.views import ResourceViewSet
from sessions_app import services
from sessions_app.models import Subject
from sessions_app.serializers import AuditEntrySerializer, SubjectSerializer


class SubjectViewSet(ListModelMixin, RetrieveModelMixin, ResourceViewSet[Subject]):
    """List and read the subjects of one's studies; their withdrawal is served by `ingest`."""

    plural = "subjects"
    serializer_class = SubjectSerializer
    required_scopes = {"GET": Scope.SESSIONS_READ}
    filter_fields = {"study_id": "study__public_id"}
    search_fields = ("public_id",)
    ordering_fields = {"created_at": "created_at", "withdrawn_at": "withdrawn_at"}
    ordering = ("created_at",)

    def get_queryset(self) -> QuerySet[Subject]:
        """Return the subjects that the caller sees."""
        return services.visible_subjects(self.request.user)

    def get_object(self) -> Subject:
        """Return the subject that the URL names."""
        return services.get_subject(self.request.user, self.kwargs["subject_id"])


class AuditViewSet(ListModelMixin, ResourceViewSet[AuditEntry]):
    """Read what was done in one's studies, and to the clients one administers."""

    plural = "entries"
    serializer_class = AuditEntrySerializer
    required_scopes = {"GET": Scope.ADMIN}
    filter_fields = {
        "verb": "verb",
        "actor_id": "actor_id",
        "actor_kind": "actor_kind",
        "object_id": "object_id",
        "study_id": "study_id",
        "request_id": "request_id",
    }
    search_fields = ("verb", "actor_id", "actor_name", "object_id")
    ordering_fields = {"sequence": "sequence", "at": "at"}
    ordering = ("-sequence",)

    def get_queryset(self) -> QuerySet[AuditEntry]:
        """Return the entries that the caller may read."""
        return services.visible_entries(self.request.user)
