"""Studies, subjects and sessions in GraphQL; `ingest` makes recordings of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import strawberry
from django.db.models import Count, prefetch_related_objects

from devices.graphql import DEVICE, Device
from neurascale.core.auth import Scope
from neurascale.core.graphql.connections import connection
from neurascale.core.graphql.declare import extend, field, mutation
from neurascale.core.graphql.inputs import checked, input_of
from neurascale.core.graphql.scalars import JSON, DateTime, Long
from neurascale.core.graphql.things import Kind, Node, Thing, related
from sessions_app import services
from sessions_app.models import SUBJECT_PREFIX
from sessions_app.models import Session as SessionRow
from sessions_app.models import Subject as SubjectRow
from sessions_app.serializers import (
    NewStudySerializer,
    SessionChangeSerializer,
    SessionSerializer,
    StudyChangeSerializer,
    StudySerializer,
    SubjectSerializer,
)
from sessions_app.views import SessionViewSet, StudyViewSet
from sessions_app.views.subjects import SubjectViewSet

STUDY = Kind(
    prefix="study_",
    needs=Scope.SESSIONS_READ,
    get=services.get_study,
    rows=services.visible_studies,
    wire=lambda thing: StudySerializer(thing.row).data,
    listing=StudyViewSet,
)
SESSION = Kind(
    prefix="sess_",
    needs=Scope.SESSIONS_READ,
    get=services.get_session,
    rows=services.visible_sessions,
    wire=lambda thing: SessionSerializer(thing.row).data,
    listing=SessionViewSet,
)


def subject_wire(thing: Thing) -> Mapping[str, Any]:
    """Return REST's form of a subject; what its rows lack is found for all peers."""

    def find(rows: Any) -> dict[int, int]:
        prefetch_related_objects(rows, "study")
        counted = SessionRow.objects.filter(subject__in=rows).values_list("subject")
        return dict(counted.annotate(n=Count("pk")))

    thing.row.n_sessions = thing.load("sessions", find, 0)
    return SubjectSerializer(thing.row).data


SUBJECT = Kind(
    prefix=SUBJECT_PREFIX,
    needs=Scope.SESSIONS_READ,
    get=services.get_subject,
    rows=lambda principal: SubjectRow.objects.filter(
        study__in=services.visible_studies(principal).values("pk")
    ),
    wire=subject_wire,
    listing=SubjectViewSet,
)


@STUDY
class Study(Node):
    """What recordings belong to, and who may see them."""

    study_id: strawberry.ID
    name: str
    keeps_subject_codes: bool
    created_at: DateTime


@SUBJECT
class Subject(Node):
    """A person who was recorded, under a pseudonym; the code only where the study keeps it."""

    subject_id: strawberry.ID
    study_id: strawberry.ID
    code: str | None
    sessions: Long
    withdrawn_at: DateTime | None
    created_at: DateTime

    @field(Scope.SESSIONS_READ)
    def study(self: Any) -> Study:
        """Which knows the person."""
        return related(self, STUDY, "study")


@SESSION
class Session(Node):
    """One sitting: a subject, a device, a beginning and an end."""

    session_id: strawberry.ID
    status: str
    start_time: DateTime | None
    end_time: DateTime | None
    device_id: strawberry.ID
    study_id: strawberry.ID
    subject_id: strawberry.ID | None
    experiment_type: str
    duration_minutes: float | None
    failure: JSON | None
    metadata: JSON
    created_at: DateTime

    @field(Scope.DEVICES_READ)
    def device(self: Any) -> Device:
        """What it is recorded from."""
        return related(self, DEVICE, "device")

    @field(Scope.SESSIONS_READ)
    def study(self: Any) -> Study:
        """What it belongs to."""
        return related(self, STUDY, "study")

    @field(Scope.SESSIONS_READ)
    def subject(self: Any) -> Subject | None:
        """Who was recorded, if that was said."""
        return related(self, SUBJECT, "subject")


@extend(Study)
class StudyLists:
    """What a study has."""

    sessions = connection(SESSION, through="study")
    subjects = connection(SUBJECT, through="study")


@extend(Device)
class DeviceLists:
    """What was recorded from a device, as far as one sees it."""

    sessions = connection(SESSION, through="device")


if TYPE_CHECKING:
    SessionChange = NewStudy = StudyChange = object
else:
    NewStudy = input_of("NewStudy", NewStudySerializer)
    StudyChange = input_of("StudyChange", StudyChangeSerializer, partial=True)
    SessionChange = input_of("SessionChange", SessionChangeSerializer, partial=True)


@strawberry.type
class Query:
    """Studies, subjects and sessions, one and all."""

    studies = connection(STUDY)
    subjects = connection(SUBJECT)
    sessions = connection(SESSION)

    @field(Scope.SESSIONS_READ)
    def study(self, info: strawberry.Info, id: strawberry.ID) -> Study | None:
        """Return a study that the caller is a member of."""
        return STUDY.thing(services.get_study(info.context.principal, id))

    @field(Scope.SESSIONS_READ)
    def subject(self, info: strawberry.Info, id: strawberry.ID) -> Subject | None:
        """Return a subject of the caller's studies."""
        return SUBJECT.thing(services.get_subject(info.context.principal, id))

    @field(Scope.SESSIONS_READ)
    def session(self, info: strawberry.Info, id: strawberry.ID) -> Session | None:
        """Return a session of the caller's studies."""
        return SESSION.thing(services.get_session(info.context.principal, id))


@strawberry.type
class Mutation:
    """Changes of studies, and those of sessions that need no samples."""

    @mutation(Scope.ADMIN)
    def create_study(self, info: strawberry.Info, input: NewStudy) -> Study | None:
        """Found a study; a client that does is its first member."""
        asked = checked(NewStudySerializer, input)
        made = services.create_study(principal=info.context.principal, **asked.validated_data)
        return STUDY.thing(made)

    @mutation(Scope.ADMIN)
    def change_study(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
        input: StudyChange,
    ) -> Study | None:
        """Change a study's name, or whether it keeps the codes of its subjects."""
        study = services.get_study(info.context.principal, id)
        asked = checked(StudyChangeSerializer, input, partial=True)
        return STUDY.thing(services.change_study(study=study, **asked.validated_data))

    @mutation(Scope.SESSIONS_WRITE)
    def change_session(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
        input: SessionChange,
    ) -> Session | None:
        """Change what is said of a session."""
        session = services.get_session(info.context.principal, id)
        asked = checked(SessionChangeSerializer, input, partial=True)
        return SESSION.thing(services.change_session(session=session, **asked.validated_data))

    @mutation(Scope.SESSIONS_WRITE)
    def delete_session(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
    ) -> strawberry.ID | None:
        """Delete a session and its events, and return its id."""
        services.delete_session(session=services.get_session(info.context.principal, id))
        return id
