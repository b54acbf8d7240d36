"""Studies, subjects and sessions in the portal."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from neurascale.core.portal import AuditedAdmin, ReadOnlyAdmin
from sessions_app.models import Event, Session, Study, Withdrawal

STATUS_COLOURS = {
    Session.Status.ACTIVE: "success",
    Session.Status.PAUSED: "warning",
    Session.Status.COMPLETED: "info",
    Session.Status.FAILED: "danger",
}


@admin.register(Study)
class StudyAdmin(AuditedAdmin):
    """What recordings belong to."""

    list_display = ("name", "public_id", "created_at")
    search_fields = ("name", "public_id")
    filter_horizontal = ("members",)

    def save_model(self, request: HttpRequest, obj: Study, form: Any, change: bool) -> None:
        """Save a study, and forget the codes that it does not keep any more."""
        super().save_model(request, obj, form, change)
        if not obj.keeps_subject_codes:
            obj.subjects.exclude(code="").update(code="")


class SubjectAdmin(ReadOnlyAdmin):
    """Pseudonyms; the code is shown where the study keeps it. `ingest.admin` withdraws them."""

    list_display = ("public_id", "code", "study", "created_at", "withdrawn_at")
    list_filter = ("study",)
    search_fields = ("public_id",)
    fields = readonly_fields = ("public_id", "code", "study", "created_at", "withdrawn_at")


@admin.register(Withdrawal)
class WithdrawalAdmin(ReadOnlyAdmin):
    """The records that recordings were deleted because their subject withdrew."""

    list_display = ("subject_id", "study", "withdrawn_at", "withdrawn_by", "n_sessions")
    list_filter = ("study",)
    search_fields = ("subject_id", "public_id")


class EventInline(TabularInline):
    """What happened in a session."""

    model = Event
    tab = hide_title = True
    extra = 0
    fields = readonly_fields = ("label", "value", "sample", "duration_seconds", "source")
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Say no: an event needs the sample it fell on, which a form cannot know."""
        return False


class SessionAdmin(AuditedAdmin):
    """Sittings. The numbers come from `ingest.admin`, which knows what is stored."""

    list_display = ("public_id", "status_label", "device", "study", "experiment_type", "start_time")
    list_select_related = ("device", "study")
    list_per_page = 50
    list_filter = ("status", "study", "device", "experiment_type")
    search_fields = ("public_id", "experiment_type", "subject__public_id")
    readonly_fields = (
        "public_id",
        "status",
        "study",
        "device",
        "subject",
        "start_time",
        "end_time",
        "problem",
    )
    fields = (
        ("public_id", "status"),
        ("device", "study"),
        ("start_time", "end_time"),
        ("subject", "experiment_type"),
        "duration_minutes",
        "metadata",
        "problem",
    )
    inlines = (EventInline,)

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_label(self, session: Session) -> tuple[str, str]:
        """Return the status with the colour it is shown in."""
        return session.status, session.get_status_display()

    @display(description="Problem")
    def problem(self, session: Session) -> str | None:
        """Return why it failed."""
        return session.failure and session.failure["message"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: recordings begin on the page of the device."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Say no to a session that is recording: it has to be stopped first."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and (obj is None or obj.status not in Session.OPEN)
