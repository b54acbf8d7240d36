"""Which subjects one sees. Their withdrawal is served by `ingest`, which has the samples."""

from __future__ import annotations

from django.db.models import Count, QuerySet

from neurascale.core.auth import Principal
from sessions_app.errors import InvalidSubjectIdError
from sessions_app.models import Subject
from sessions_app.services.sessions import visible_studies


def visible_subjects(principal: Principal | None) -> QuerySet[Subject]:
    """Return the subjects of the studies that a principal sees, with ``n_sessions``."""
    studies = visible_studies(principal).values("pk")
    subjects = Subject.objects.filter(study__in=studies).select_related("study")
    return subjects.annotate(n_sessions=Count("sessions"))


def get_subject(principal: Principal | None, subject_id: str) -> Subject:
    """Return a subject that a principal sees.

    Raises
    ------
    InvalidSubjectIdError
        If there is none with that id, or the principal may not know that there is.
    """
    subject = visible_subjects(principal).filter(public_id=subject_id).first()
    if subject is None:
        raise InvalidSubjectIdError(
            f"Subject with ID '{subject_id}' not found",
            subject_id=subject_id,
            suggestion="Check subject ID or list your subjects at GET /v1/subjects",
        )
    return subject
