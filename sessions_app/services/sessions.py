"""Use cases of studies and sessions, as far as rows go; `ingest` makes recordings of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from devices.models import Device
from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal
from neurascale.core.errors import InvalidError
from neurascale.core.models import Client, KeptAnswer
from neurascale.core.prepared import Prepared, Slot
from sessions_app.errors import (
    InvalidEventIdError,
    InvalidSessionIdError,
    InvalidStudyIdError,
    SessionStateError,
    SubjectWithdrawnError,
)
from sessions_app.models import SUBJECT_PREFIX, Event, Session, Study, Subject

# --- Who sees what -------------------------------------------------------------------------------


def visible_studies(principal: Principal | None) -> QuerySet[Study]:
    """Return the studies that a client is a member of; people of the portal's staff see all."""
    if isinstance(principal, Client):
        return principal.studies.all()
    return Study.objects.all() if is_staff(principal) else Study.objects.none()


def heard_studies(principal: Principal | None) -> frozenset[str] | None:
    """Return the public ids of the studies that a principal sees; None if it sees all."""
    if not isinstance(principal, Client) and is_staff(principal):
        return None
    return frozenset(visible_studies(principal).values_list("public_id", flat=True))


def visible_sessions(principal: Principal | None) -> QuerySet[Session]:
    """Return the sessions of the studies that a principal sees."""
    if isinstance(principal, Client):
        return _sessions_of(principal.pk)
    sessions = Session.objects.select_related(*_SHOWN)
    return sessions if is_staff(principal) else sessions.none()


_SHOWN = ("device", "study", "subject")


def _sessions_of(client: int | Slot) -> QuerySet[Session]:
    """Return the sessions of the studies that a client is a member of."""
    return Session.objects.select_related(*_SHOWN).filter(study__members=client)


# What is asked with each request that has to do with a session, and with each that has samples.
_SESSION = Prepared(lambda: _sessions_of(Slot("client")).filter(public_id=Slot("public_id")))
_PEEKED = Prepared(lambda: _bare(_sessions_of(Slot("client")).filter(public_id=Slot("public_id"))))
_LOCKED = Prepared(
    lambda: _locked(_bare(_sessions_of(Slot("client")).filter(public_id=Slot("public_id"))))
)


def _locked(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Return the query that locks sessions too, and nothing that belongs to them."""
    return sessions.select_for_update(of=("self",))


def _bare(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Return the query that reads what samples need to know of sessions."""
    fields = ("public_id", "status", "subject_id", "duration_minutes", "start_time", "end_time")
    device = ("public_id", "name", "board")
    return (
        sessions.select_related(None)
        .select_related("device", "study")
        .only(
            *fields,
            *(f"device__{name}" for name in device),
            *(f"study__{name}" for name in ("public_id", "keeps_subject_codes")),
        )
        .order_by()
    )


def is_staff(principal: Principal | None) -> bool:
    """Tell whether a principal is one of the portal's people, who see every study."""
    return principal is not None and principal.is_active and getattr(principal, "is_staff", False)


def get_study(principal: Principal | None, study_id: str) -> Study:
    """Return a study that a principal sees.

    Raises
    ------
    InvalidStudyIdError
        If there is none with that id, or the principal may not know that there is.
    """
    study = visible_studies(principal).filter(public_id=study_id).first()
    if study is None:
        raise InvalidStudyIdError(
            f"Study with ID '{study_id}' not found",
            study_id=study_id,
            suggestion="Check study ID or list your studies at GET /v1/studies",
        )
    return study


def get_session(principal: Principal | None, session_id: str) -> Session:
    """Return a session that a principal sees.

    Raises
    ------
    InvalidSessionIdError
        If there is none with that id, or the principal may not know that there is.
    """
    return _found(_SESSION, visible_sessions, principal, session_id)


def peek_session(principal: Principal | None, session_id: str) -> Session:
    """Return a session that a principal sees, with no more than samples need to know of it.

    Its other fields are looked up only when somebody asks for them.

    Raises
    ------
    InvalidSessionIdError
        If there is none with that id, or the principal may not know that there is.
    """
    return _found(_PEEKED, lambda who: _bare(visible_sessions(who)), principal, session_id)


def lock_session(principal: Principal | None, session_id: str) -> Session:
    """Return a session as `peek_session` does, locked until the transaction ends.

    Raises
    ------
    InvalidSessionIdError
        If there is none with that id, or the principal may not know that there is.
    """
    return _found(_LOCKED, lambda who: _locked(_bare(visible_sessions(who))), principal, session_id)


def _found(
    prepared: Prepared,
    visible: Callable[[Principal | None], QuerySet[Session]],
    principal: Principal | None,
    session_id: str,
) -> Session:
    session: Session | None
    if isinstance(principal, Client):
        session = prepared.first(client=principal.pk, public_id=session_id)
    else:
        session = visible(principal).filter(public_id=session_id).first()
    if session is None:
        raise InvalidSessionIdError(
            f"Session with ID '{session_id}' not found",
            session_id=session_id,
            suggestion="Check session ID or create session first",
        )
    return session


def visible_events(principal: Principal | None) -> QuerySet[Event]:
    """Return the events of the sessions that a principal sees."""
    seen = visible_sessions(principal).values("pk")
    related = ("session__device", "session__study", "session__subject")
    return Event.objects.filter(session__in=seen).select_related(*related)


def get_event(principal: Principal | None, event_id: str) -> Event:
    """Return an event of a session that a principal sees.

    Raises
    ------
    InvalidEventIdError
        If there is none with that id, or the principal may not know that there is.
    """
    event = visible_events(principal).filter(public_id=event_id).first()
    if event is None:
        raise InvalidEventIdError(
            f"Event with ID '{event_id}' not found",
            event_id=event_id,
            suggestion="Check event ID or list the session's events",
        )
    return event


# --- Sessions ------------------------------------------------------------------------------------


def create_session(
    *,
    principal: Principal,
    device: Device,
    study: Study | None = None,
    subject_code: str | None = None,
    experiment_type: str = "",
    duration_minutes: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Session:
    """Plan a session; nothing is recorded by this alone.

    Parameters
    ----------
    principal : Client or user
        Who asks.
    device : Device
        What to record from.
    study : Study, optional
        Whose recording it is; by default a client's home: the study it is in the longest, which is
        the one it was made with. People have to say it, unless there is one study only.
    subject_code : str, optional
        What the study calls the person, kept only as a keyed hash; or the pseudonym (``subj_…``)
        that an earlier session of the study was answered with.
    experiment_type : str
        Free text such as ``"motor_imagery"``.
    duration_minutes : float, optional
        The session ends by itself after this much recording.
    metadata : mapping, optional
        Whatever belongs to the recording.

    Raises
    ------
    InvalidError
        If the principal is in no study, or a person who sees several, and did not name one.
    InvalidStudyIdError
        If the principal does not see the study.
    """
    study = _home_of(principal) if study is None else get_study(principal, study.public_id)
    with recorded():
        session = Session.objects.create(
            study=study,
            device=device,
            subject=find_subject(study=study, code=subject_code) if subject_code else None,
            experiment_type=experiment_type,
            duration_minutes=duration_minutes,
            metadata=without_code(metadata or {}, named_subject(study, metadata or {})),
            created_by=principal if isinstance(principal, Client) else None,
        )
        record("session.create", session, device=device.public_id)
    return session


def _home_of(principal: Principal) -> Study:
    """Return the study that a client is in the longest, or the only one that a person sees."""
    if isinstance(principal, Client):
        memberships = Study.members.through.objects.filter(client=principal).order_by("pk")
        studies = [membership.study for membership in memberships.select_related("study")[:1]]
    else:
        studies = list(visible_studies(principal)[:2])
    if len(studies) == 1:
        return studies[0]
    found = "several studies" if studies else "no study"
    raise InvalidError(
        f"You see {found}, so the session's study has to be named",
        fields={"study_id": ["Name one of GET /v1/studies."]},
    )


def find_subject(*, study: Study, code: str) -> Subject:
    """Return the subject that a study knows by a code, adding it when it is new; in a transaction.

    The code itself is not kept, unless the study says so: only its hash, keyed with ``SECRET_KEY``
    and with the study, so that nobody can tell whether two studies recorded the same person.

    Raises
    ------
    SubjectWithdrawnError
        If it is the pseudonym of somebody who has withdrawn.
    """
    by_pseudonym = None
    if code.startswith(SUBJECT_PREFIX):
        by_pseudonym = study.subjects.select_for_update().filter(public_id=code).first()
    if by_pseudonym is not None:
        if by_pseudonym.withdrawn_at is not None:
            raise SubjectWithdrawnError(
                f"Subject {code} has withdrawn and is not recorded any more",
                subject_id=code,
                suggestion="Who comes back is a new subject: send the study's own code.",
            )
        return by_pseudonym
    keyed = salted_hmac(f"neurascale.subject.{study.public_id}", code, algorithm="sha256")
    kept = code if study.keeps_subject_codes else ""
    while True:
        found, _ = study.subjects.get_or_create(
            code_hash=keyed.hexdigest(), defaults={"code": kept}
        )
        # Held, so that nobody withdraws while something is recorded of them.
        subject = study.subjects.select_for_update().filter(pk=found.pk).first()
        if subject is not None and subject.withdrawn_at is None:
            break
    if kept and not subject.code:  # the study did not keep codes before
        subject.code = kept
        subject.save(update_fields=["code"])
    return subject


def named_subject(study: Study, metadata: Mapping[str, Any]) -> Subject | None:
    """Return the subject whose code or pseudonym is the ``subject_id`` in metadata, if one is."""
    code = metadata.get("subject_id")
    return find_subject(study=study, code=code) if isinstance(code, str) and code else None


def without_code(metadata: Mapping[str, Any], subject: Subject | None) -> dict[str, Any]:
    """Return metadata with a subject's pseudonym in the place of its code."""
    return dict(metadata) if subject is None else {**metadata, "subject_id": subject.public_id}


def change_session(*, session: Session, **changes: Any) -> Session:
    """Change what is said of a session: experiment_type, duration_minutes, metadata."""
    with recorded():
        if "metadata" in changes:
            named = named_subject(session.study, changes["metadata"])
            changes["metadata"] = without_code(changes["metadata"], named)
        for name, value in changes.items():
            setattr(session, name, value)
        session.save(update_fields=list(changes))
        record("session.change", session, fields=sorted(changes))
    return session


def delete_session(*, session: Session) -> None:
    """Delete a session and its events; samples that no other session recorded are pruned later.

    Raises
    ------
    SessionStateError
        If it is still recording.
    """
    study = session.study
    with recorded():
        session = Session.objects.select_for_update().get(pk=session.pk)
        if session.status in Session.OPEN:
            raise SessionStateError(
                f"Session {session.public_id} is {session.status} and cannot be deleted now",
                session_id=session.public_id,
                status=session.status,
                suggestion=f"Stop it first: POST /v1/sessions/{session.public_id}/stop",
            )
        KeptAnswer.forget([session.public_id])
        session.delete()
        record("session.delete", session, study=study)
