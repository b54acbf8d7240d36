"""A subject withdraws: what was recorded of it is deleted, and that it was is written down."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import F, Sum
from django.utils import timezone

from ingest import segments
from ingest.models import Ingestion, Segment, Stream
from ingest.store import erase, without
from neurascale.core.actor import actor
from neurascale.core.audit import record, recorded
from neurascale.core.models import KeptAnswer
from sessions_app.errors import SubjectRecordingError
from sessions_app.models import Session, Subject, Withdrawal


def withdraw_subject(*, subject: Subject) -> Withdrawal:
    """Delete every session of a subject and all samples that no other session recorded.

    Also what programs ingested in the subject's name into sessions of others. The subject's code
    is forgotten: who comes back under it is somebody new. Asking again changes nothing.

    Returns
    -------
    Withdrawal
        The record that stays.

    Raises
    ------
    SubjectRecordingError
        If a session of the subject is recording or paused.
    """
    _settle(subject)
    with recorded():
        # In the same order as whoever records: first the sessions, then the subject.
        sessions = list(subject.sessions.select_for_update().order_by("pk"))
        subject = Subject.objects.select_for_update().get(pk=subject.pk)
        if subject.withdrawn_at is not None:
            return Withdrawal.objects.select_related("study").get(subject_id=subject.public_id)
        _check_nothing_records(subject, sessions)
        n_samples = _erase_sessions(sessions) + _erase_ingestions(subject, sessions)
        KeptAnswer.forget([session.public_id for session in sessions])
        for session in sessions:
            session.delete()
        subject.code_hash, subject.code, subject.withdrawn_at = None, "", timezone.now()
        subject.save(update_fields=["code_hash", "code", "withdrawn_at"])
        withdrawal = Withdrawal.objects.create(
            study=subject.study,
            subject_id=subject.public_id,
            withdrawn_at=subject.withdrawn_at,
            withdrawn_by=actor().id or actor().kind,
            n_sessions=len(sessions),
            n_samples=n_samples,
        )
        record("subject.withdraw", subject, sessions=len(sessions), samples=n_samples)
    return withdrawal


def _settle(subject: Subject) -> None:
    """Wait for samples of a session that was stopped just now and that are still on their way."""
    coming = Segment.objects.filter(
        session__subject=subject, stop_sample__gt=F("stream__next_sample")
    )
    for segment in coming.select_related("stream"):
        segments.settle(segment)


def _check_nothing_records(subject: Subject, sessions: Collection[Session]) -> None:
    known = {session.pk for session in sessions}
    began = [s for s in subject.sessions.all() if s.pk not in known or s.status in Session.OPEN]
    if began:
        raise SubjectRecordingError(
            f"Subject {subject.public_id} is being recorded in "
            f"{' and '.join(session.public_id for session in began)}",
            subject_id=subject.public_id,
            sessions=[session.public_id for session in began],
            suggestion="Stop the session first, then withdraw the subject.",
        )


def _erase_sessions(sessions: Collection[Session]) -> int:
    """Delete the samples that only these sessions recorded; return how many a channel."""
    erased = 0
    for stream in Stream.objects.filter(segments__session__in=sessions).distinct():
        rows = [
            (s.session_id, (s.first_sample, segments.stop_of(s))) for s in stream.segments.all()
        ]
        ours = {session.pk for session in sessions}
        kept = [stretch for session, stretch in rows if session not in ours]
        if stream.origin == Stream.Origin.INGEST and not kept:
            erased += stream.blocks.aggregate(total=Sum("n_times"))["total"] or 0
            stream.delete()
            continue
        withdrawn = [stretch for session, stretch in rows if session in ours]
        erased += sum(erase(stream, *stretch) for stretch in without(withdrawn, kept))
    return erased


def _erase_ingestions(subject: Subject, sessions: Collection[Session]) -> int:
    """Delete what was ingested in the subject's name into other sessions of the study."""
    erased = 0
    named = Ingestion.objects.filter(
        session__study=subject.study_id, metadata__subject_id=subject.public_id
    ).exclude(session__in=sessions)
    for ingestion in named.select_related("stream"):
        first = ingestion.first_sample
        erased += erase(ingestion.stream, first, first + ingestion.n_times)
        ingestion.delete()
    return erased
