"""Studies and sessions on the wire."""

from __future__ import annotations

from typing import Any, Protocol, TypedDict

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from neurascale.core.auth import ROLES, Scope
from neurascale.core.models import AuditEntry, Client
from neurascale.core.serializers import MomentField, StrictSerializer
from sessions_app.models import Session, Study, Subject, Withdrawal
from sessions_app.services import NewClient

MAX_DURATION_MINUTES = 31 * 24 * 60  # beyond a month it is a slip of the keyboard


class Summary(Protocol):
    """What `ingest` counts of a recording; null is what was not measured."""

    @property
    def data_points(self) -> int | None: ...  # noqa: D102 - the contract's words
    @property
    def duration_seconds(self) -> float | None: ...  # noqa: D102
    @property
    def artifact_percentage(self) -> float | None: ...  # noqa: D102
    @property
    def signal_quality(self) -> str | None: ...  # noqa: D102


class QualityMetrics(TypedDict):
    """How good a recording is; null is what was not measured."""

    artifact_percentage: float | None
    signal_quality: str | None


class StudySerializer(serializers.ModelSerializer[Study]):
    """A study as it is read."""

    study_id = serializers.CharField(source="public_id")

    class Meta:
        model = Study
        fields = ("study_id", "name", "keeps_subject_codes", "created_at")
        read_only_fields = fields


class StudyChangeSerializer(StrictSerializer):
    """What can be said of a study at any time."""

    name = serializers.CharField(max_length=200)
    keeps_subject_codes = serializers.BooleanField(required=False)


class NewStudySerializer(StudyChangeSerializer):
    """What can be said of a study before it is one."""


class SessionSerializer(serializers.ModelSerializer[Session]):
    """A session as it is read.

    Its numbers are null here: what is stored is known to the right of this app, where a subclass
    says it in `summary`.
    """

    session_id = serializers.CharField(source="public_id")
    device_id = serializers.CharField(source="device.public_id")
    study_id = serializers.CharField(source="study.public_id")
    subject_id = serializers.CharField(source="subject.public_id", default=None, allow_null=True)
    duration_seconds = serializers.SerializerMethodField()
    data_points = serializers.SerializerMethodField()
    quality_metrics = serializers.SerializerMethodField()

    class Meta:
        model = Session
        fields = (
            *("session_id", "status", "start_time", "device_id", "study_id", "subject_id"),
            *("experiment_type", "duration_minutes", "end_time", "failure", "metadata"),
            *("created_at", "duration_seconds", "data_points", "quality_metrics"),
        )
        read_only_fields = fields

    def summary(self, session: Session) -> Summary | None:
        """Return what was recorded, None where nobody knows."""
        return None

    def to_representation(self, instance: Session) -> dict[str, Any]:
        """Return the session's wire form; its recording is summed up once for all numbers."""
        self._summary = self.summary(instance)
        return super().to_representation(instance)

    def get_duration_seconds(self, session: Session) -> float | None:
        """Return how long it recorded, pauses left out."""
        return self._summary and self._summary.duration_seconds

    def get_data_points(self, session: Session) -> int | None:
        """Return the samples a channel."""
        return self._summary and self._summary.data_points

    def get_quality_metrics(self, session: Session) -> QualityMetrics:
        """Return how good the recording is."""
        return {
            "artifact_percentage": self._summary and self._summary.artifact_percentage,
            "signal_quality": self._summary and self._summary.signal_quality,
        }


class SessionChangeSerializer(StrictSerializer):
    """What can be said of a session at any time."""

    experiment_type = serializers.CharField(max_length=200, allow_blank=True, required=False)
    duration_minutes = serializers.FloatField(
        min_value=1e-3, max_value=MAX_DURATION_MINUTES, allow_null=True, required=False
    )
    metadata = serializers.DictField(required=False)


class NewSessionSerializer(SessionChangeSerializer):
    """What can be said of a session before it is one."""

    device_id = serializers.CharField(max_length=200)
    study_id = serializers.CharField(
        max_length=200,
        required=False,
        help_text="By default the study that the client was made with.",
    )
    subject_id = serializers.CharField(max_length=1000, required=False, allow_null=True)


# --- Clients -------------------------------------------------------------------------------------


@extend_schema_field({"type": "string", "enum": [*ROLES, "all", *map(str, Scope)]})
class ScopeNameField(serializers.CharField):
    """The name of a scope or a role; the service says which there are."""


class ClientSerializer(serializers.ModelSerializer[Client]):
    """A client as it is read; never with its secret."""

    client_id = serializers.CharField(source="public_id")
    scopes = serializers.ListField(child=serializers.CharField())
    studies = serializers.SerializerMethodField()

    class Meta:
        model = Client
        fields = (
            *("client_id", "name", "scopes", "is_active", "expires_at", "studies"),
            *("tokens_valid_after", "last_used_at", "created_at"),
        )
        read_only_fields = fields

    def get_studies(self, client: Client) -> list[str]:
        """Return the ids of the studies that the client is a member of."""
        return [study.public_id for study in client.studies.all()]


class ClientWithSecretSerializer(ClientSerializer):
    """A client with what is shown only once: when it is made, or has a new secret."""

    client_secret = serializers.CharField(
        help_text="For `POST /v1/auth/token`, with the `client_id`. Shown in this answer only."
    )
    api_key = serializers.CharField(
        help_text="Both in one string, for the SDKs. Shown in this answer only."
    )

    class Meta(ClientSerializer.Meta):
        fields = (*ClientSerializer.Meta.fields, "client_secret", "api_key")  # type: ignore[assignment]
        read_only_fields = fields

    def to_representation(self, instance: NewClient) -> dict[str, Any]:  # type: ignore[override]
        """Return the client's wire form and its secret, which no row has."""
        shown_once = {"client_secret": instance.client_secret, "api_key": instance.api_key}
        return {**ClientSerializer(instance.client).data, **shown_once}


class ClientChangeSerializer(StrictSerializer):
    """What can be said of a client at any time."""

    name = serializers.CharField(max_length=200)
    scopes = serializers.ListField(child=ScopeNameField(max_length=50), max_length=50)
    is_active = serializers.BooleanField()
    expires_at = MomentField(allow_null=True)


class NewClientSerializer(StrictSerializer):
    """What can be said of a client before it is one."""

    name = serializers.CharField(max_length=200)
    scopes = serializers.ListField(child=ScopeNameField(max_length=50), max_length=50)
    expires_at = MomentField(allow_null=True, required=False)
    study_id = serializers.CharField(max_length=200, required=False)


class MemberSerializer(serializers.ModelSerializer[Client]):
    """A client as the other members of its study know it."""

    client_id = serializers.CharField(source="public_id")

    class Meta:
        model = Client
        fields = ("client_id", "name")
        read_only_fields = fields


class NewMemberSerializer(StrictSerializer):
    """Who is to see a study."""

    client_id = serializers.CharField(max_length=200)


# --- Subjects and the audit log ------------------------------------------------------------------


class SubjectSerializer(serializers.ModelSerializer[Subject]):
    """A subject as it is read."""

    subject_id = serializers.CharField(source="public_id")
    study_id = serializers.CharField(source="study.public_id")
    sessions = serializers.IntegerField(source="n_sessions")
    code = serializers.SerializerMethodField()

    class Meta:
        model = Subject
        fields = ("subject_id", "study_id", "code", "sessions", "withdrawn_at", "created_at")
        read_only_fields = fields

    def get_code(self, subject: Subject) -> str | None:
        """Return what the study calls the subject; null unless it keeps that."""
        return subject.code or None


class WithdrawalSerializer(serializers.ModelSerializer[Withdrawal]):
    """The record of a withdrawal as it is read."""

    withdrawal_id = serializers.CharField(source="public_id")
    study_id = serializers.CharField(source="study.public_id")
    sessions = serializers.IntegerField(source="n_sessions")
    data_points = serializers.IntegerField(source="n_samples")

    class Meta:
        model = Withdrawal
        fields = (
            *("withdrawal_id", "subject_id", "study_id", "withdrawn_at", "withdrawn_by"),
            *("sessions", "data_points"),
        )
        read_only_fields = fields


class Actor(TypedDict):
    """Who did something: a client, a person of the portal, or the lab itself."""

    kind: str
    id: str
    name: str


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """An entry of the audit log as it is read."""

    entry_id = serializers.CharField(source="public_id")
    actor = serializers.SerializerMethodField()
    study_id = serializers.SerializerMethodField()
    details = serializers.DictField()

    class Meta:
        model = AuditEntry
        fields = (
            *("entry_id", "sequence", "at", "actor", "address", "request_id", "verb"),
            *("object_id", "study_id", "details", "seal"),
        )
        read_only_fields = fields

    def get_actor(self, entry: AuditEntry) -> Actor:
        """Return who did it."""
        return {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name}

    def get_study_id(self, entry: AuditEntry) -> str | None:
        """Return in which study it was done; null if in none."""
        return entry.study_id or None
