"""Recordings and events in GraphQL: begin, pause, end, mark.

What needs no samples (read, change, delete) comes from `sessions_app.graphql`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import strawberry

from ingest.serializers import EventSerializer, NewEventSerializer
from ingest.services import recordings
from ingest.services.withdrawals import withdraw_subject
from ingest.store import Recording
from ingest.store.summaries import summaries
from ingest.views.sessions import EventViewSet
from neurascale.core.auth import Scope
from neurascale.core.graphql.connections import connection
from neurascale.core.graphql.declare import extend, field, mutation, object_type
from neurascale.core.graphql.inputs import checked, given_in, input_of
from neurascale.core.graphql.scalars import JSON, DateTime, Long
from neurascale.core.graphql.things import Kind, Node, Thing, related
from sessions_app.graphql.sessions import SESSION, Session
from sessions_app.serializers import NewSessionSerializer, WithdrawalSerializer
from sessions_app.services import get_event, get_session, get_subject, visible_events
from sessions_app.views import read_new_session


@object_type(Scope.SESSIONS_READ)
class QualityMetrics:
    """How good a recording is."""

    artifact_percentage: float | None
    signal_quality: str | None


def event_wire(thing: Thing) -> Mapping[str, Any]:
    """Return REST's form of an event, with its place on the timeline of its session."""

    def find(rows: Any) -> dict[int, Recording]:
        found = Recording.of_all({row.session_id for row in rows})
        return {row.pk: found[row.session_id] for row in rows}

    context = {"recording": thing.load("recording", find)}
    return EventSerializer(thing.row, context=context).data


EVENT = Kind(
    prefix="evt_",
    needs=Scope.SESSIONS_READ,
    get=get_event,
    rows=visible_events,
    wire=event_wire,
    listing=EventViewSet,
)


@EVENT
class Event(Node):
    """Something that happened in a session, and the sample it fell on."""

    event_id: strawberry.ID
    session_id: strawberry.ID
    label: str
    value: JSON | None
    timestamp: DateTime
    sample: Long | None
    duration_seconds: float | None
    source: str
    stream_id: strawberry.ID | None
    stream_sample: Long | None
    created_at: DateTime

    @field(Scope.SESSIONS_READ)
    def session(self: Any) -> Session:
        """In which it happened."""
        return related(self, SESSION, "session")


@extend(Session)
class SessionRecorded:
    """What a session recorded, and what happened in it."""

    events = connection(EVENT, through="session")

    @field(Scope.SESSIONS_READ)
    def data_points(self: Any) -> Long:
        """Samples per channel that are stored; those in gaps are not counted."""
        return summary_of(self).data_points

    @field(Scope.SESSIONS_READ)
    def duration_seconds(self: Any) -> float:
        """Length of the recording, gaps included, pauses not."""
        return summary_of(self).duration_seconds

    @field(Scope.SESSIONS_READ)
    def quality_metrics(self: Any) -> QualityMetrics:
        """How good the recording is."""
        return summary_of(self)


def summary_of(session: Thing) -> Any:
    """Return the numbers of a session's recording."""
    return session.load("summary", lambda rows: summaries([row.pk for row in rows]))


@object_type(Scope.SESSIONS_READ)
class Withdrawal:
    """The record that a subject's recordings were deleted; nothing of the subject is in it."""

    withdrawal_id: strawberry.ID
    subject_id: strawberry.ID
    study_id: strawberry.ID
    withdrawn_at: DateTime
    withdrawn_by: str
    sessions: Long
    data_points: Long


# --- What can be asked and done ------------------------------------------------------------------


if TYPE_CHECKING:
    NewSession = NewEvent = object
else:
    NewSession = input_of("NewSession", NewSessionSerializer)
    NewEvent = input_of("NewEvent", NewEventSerializer)


@strawberry.type
class Query:
    """Events of all sessions; those are listed by `sessions_app`."""

    events = connection(EVENT)

    @field(Scope.SESSIONS_READ)
    def event(self, info: strawberry.Info, id: strawberry.ID) -> Event | None:
        """Return an event of a session."""
        return EVENT.thing(get_event(info.context.principal, id))


@strawberry.type
class Mutation:
    """Recording, and taking back what was recorded."""

    @mutation(Scope.SESSIONS_WRITE)
    def create_session(self, info: strawberry.Info, input: NewSession) -> Session | None:
        """Create a session; on a device that streams it records from this moment."""
        wanted = read_new_session(info.context.principal, given_in(input))
        return SESSION.thing(recordings.create_session(**wanted))

    @mutation(Scope.SESSIONS_WRITE)
    def start_session(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
    ) -> Session | None:
        """Begin to record."""
        session = get_session(info.context.principal, id)
        return SESSION.thing(recordings.start_session(session=session))

    @mutation(Scope.SESSIONS_WRITE)
    def pause_session(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
    ) -> Session | None:
        """Leave out what comes, until the session is resumed."""
        session = get_session(info.context.principal, id)
        return SESSION.thing(recordings.pause_session(session=session))

    @mutation(Scope.SESSIONS_WRITE)
    def resume_session(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
    ) -> Session | None:
        """Go on recording after a pause."""
        session = get_session(info.context.principal, id)
        return SESSION.thing(recordings.resume_session(session=session))

    @mutation(Scope.SESSIONS_WRITE)
    def stop_session(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
    ) -> Session | None:
        """End the recording; all that was taken until now is stored when this answers."""
        session = get_session(info.context.principal, id)
        return SESSION.thing(recordings.stop_session(session=session))

    @mutation(Scope.SESSIONS_WRITE)
    def add_event(
        self, info: strawberry.Info, session_id: strawberry.ID, input: NewEvent
    ) -> Event | None:
        """Add an event: at a sample of the session's timeline, at a moment, or now."""
        session = get_session(info.context.principal, session_id)
        asked = checked(NewEventSerializer, input)
        return EVENT.thing(recordings.add_event(session=session, **asked.validated_data))

    @mutation(Scope.SESSIONS_WRITE)
    def withdraw_subject(self, info: strawberry.Info, id: strawberry.ID) -> Withdrawal | None:
        """Delete all recordings of a subject, and answer with the record that stays of it."""
        withdrawal = withdraw_subject(subject=get_subject(info.context.principal, id))
        return dict(WithdrawalSerializer(withdrawal).data)  # type: ignore[return-value]
