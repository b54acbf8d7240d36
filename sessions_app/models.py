"""Who was recorded, in which study, when, and what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models import Device
from neurascale.core.models import Client, PublicIdField
from sessions_app.errors import SessionStateError

SUBJECT_PREFIX = "subj_"  # of a pseudonym


class Study(models.Model):
    """What recordings belong to, and who may see them."""

    public_id = PublicIdField(prefix="study_")
    name = models.CharField(max_length=200)
    members = models.ManyToManyField(Client, related_name="studies", blank=True)
    keeps_subject_codes = models.BooleanField(
        default=False,
        help_text="Keep the code by which the study knows a subject, and show it to its members; "
        "otherwise only a keyed hash of it is kept.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        verbose_name_plural = "studies"

    def __str__(self) -> str:
        return self.name


class Subject(models.Model):
    """A person who was recorded, known by a keyed hash of the code the study uses.

    One who has withdrawn keeps the pseudonym, which says nothing any more, and loses the hash: who
    comes back under the same code is somebody new.
    """

    public_id = PublicIdField(prefix=SUBJECT_PREFIX)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="subjects")
    code_hash = models.CharField(max_length=64, null=True, editable=False)
    code = models.CharField(
        max_length=1000, blank=True, editable=False, help_text="Kept where the study says so."
    )
    withdrawn_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["study", "code_hash"], name="one_subject_a_code_and_study"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class Withdrawal(models.Model):
    """The record that a subject's recordings were deleted; nothing of the subject is in it."""

    public_id = PublicIdField(prefix="wdr_")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="withdrawals")
    subject_id = models.CharField(max_length=40, unique=True, help_text="The pseudonym.")
    withdrawn_at = models.DateTimeField()
    withdrawn_by = models.CharField(max_length=200, help_text="A client's id, or a user's login.")
    n_sessions = models.PositiveIntegerField()
    n_samples = models.BigIntegerField(help_text="Per channel, that were stored and are not.")

    class Meta:
        ordering = ["-withdrawn_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.subject_id}, {self.withdrawn_at:%Y-%m-%d}"


class Session(models.Model):
    """One sitting: a subject, a device, a beginning and an end."""

    class Status(models.TextChoices):
        """The life cycle of the contract."""

        CREATED = "created"
        ACTIVE = "active"
        PAUSED = "paused"
        COMPLETED = "completed"
        FAILED = "failed"

    OPEN: ClassVar = (Status.ACTIVE, Status.PAUSED)
    FROM: ClassVar = {
        Status.ACTIVE: (Status.CREATED, Status.PAUSED),
        Status.PAUSED: (Status.ACTIVE,),
        Status.COMPLETED: (Status.ACTIVE, Status.PAUSED),
        Status.FAILED: (Status.CREATED, Status.ACTIVE, Status.PAUSED),
    }

    public_id = PublicIdField(prefix="sess_")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="sessions")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="sessions")
    subject = models.ForeignKey(
        Subject, on_delete=models.PROTECT, related_name="sessions", null=True, blank=True
    )
    experiment_type = models.CharField(max_length=200, blank=True)
    duration_minutes = models.FloatField(
        null=True, blank=True, help_text="The session ends by itself after this much recording."
    )
    metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.CREATED, editable=False)
    start_time = models.DateTimeField(null=True, editable=False)
    end_time = models.DateTimeField(null=True, editable=False)
    failure = models.JSONField(null=True, editable=False)
    created_by = models.ForeignKey(
        Client, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["device"],
                condition=Q(status__in=["active", "paused"]),
                name="one_open_session_a_device",
            ),
            models.CheckConstraint(
                condition=Q(duration_minutes__isnull=True) | Q(duration_minutes__gt=0),
                name="session_lasts_a_while",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    def check_may_become(self, status: Session.Status) -> None:
        """Raise `SessionStateError` unless the life cycle allows the step."""
        if self.status not in self.FROM[status]:
            raise SessionStateError(
                f"Session {self.public_id} is {self.status} and cannot become {status.value}",
                session_id=self.public_id,
                status=self.status,
                suggestion=f"Only a session that is {' or '.join(self.FROM[status])} can.",
            )

    def move_to(
        self,
        status: Session.Status,
        *,
        failure: dict[str, Any] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Take one step of the life cycle, and note when the session began and ended.

        Parameters
        ----------
        status : Session.Status
            What it becomes.
        failure : dict, optional
            Why it failed.
        at : datetime, optional
            When it did, if that is not only now.

        Raises
        ------
        SessionStateError
            If the life cycle does not allow it.
        """
        self.check_may_become(status)
        at = at or timezone.now()
        self.status = status
        if self.start_time is None and status == self.Status.ACTIVE:
            self.start_time = at
        if status in {self.Status.COMPLETED, self.Status.FAILED}:
            self.end_time = at
        self.failure = failure
        self.save(update_fields=["status", "start_time", "end_time", "failure"])


class Event(models.Model):
    """Something that happened in a session, and the sample it fell on.

    ``stream_id`` and ``sample`` give the place in the stream that was being recorded: the
    stream itself belongs to an app to the right, so it is named by its public id.
    """

    class Source(models.TextChoices):
        """Who saw it happen."""

        API = "api"
        WEBSOCKET = "websocket"
        BOARD = "board"
        PORTAL = "portal"

    public_id = PublicIdField(prefix="evt_")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    label = models.CharField(max_length=200)
    value = models.JSONField(null=True, blank=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    time_ns = models.BigIntegerField(help_text="On the fitted clock, since the Unix epoch.")
    stream_id = models.CharField(max_length=40, blank=True)
    sample = models.BigIntegerField(
        null=True, blank=True, help_text="Index in the stream; null if nothing was recorded then."
    )
    source = models.CharField(max_length=20, choices=Source, default=Source.API)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["time_ns", "pk"]
        indexes: ClassVar = [models.Index(fields=["session", "time_ns"])]

    def __str__(self) -> str:
        return self.label
