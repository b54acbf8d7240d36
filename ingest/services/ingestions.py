"""Samples that a program sends over REST: placed by their time, answered when they are durable."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.utils import timezone
from numpy.typing import NDArray

from devices.errors import DeviceBusyError
from devices.services import get_device
from ingest.broadcast import announce
from ingest.errors import InvalidIngestionError, InvalidIngestionIdError
from ingest.models import Ingestion
from ingest.services import placing
from ingest.services.placing import Samples
from ingest.store import Recording, receipts
from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal
from neurascale.core.errors import IdempotencyConflictError
from neurascale.core.models import Client
from neurascale.core.turns import is_taken
from sessions_app.errors import SessionStateError
from sessions_app.models import Session
from sessions_app.services import (
    lock_session,
    named_subject,
    peek_session,
    visible_sessions,
    without_code,
)


def ingest_samples(
    *,
    principal: Principal,
    session_id: str,
    device_id: str,
    data: NDArray[np.float32],
    sfreq: float,
    time_ns: int,
    metadata: Mapping[str, Any],
    request_hash: str,
    idempotency_key: str | None = None,
    began_at: float | None = None,
) -> Ingestion:
    """Store samples in a session; when this returns they are durable.

    The first samples make the session active. Samples whose time continues what the session
    ingested before are appended to it; later ones leave a gap; earlier ones (the sender's
    clock was set back, or it began anew) or ones more than `settings.RESUME_SECONDS` late begin a
    new stream, which follows on the session's timeline at once, like after a pause. If the session
    records from its board at the same time, its timeline has both in order of arrival.

    Parameters
    ----------
    principal : Client or user
        Who sends. Idempotency keys are a client's own.
    session_id : str
        What the sender says the session is.
    device_id : str
        What the sender says the session's device is.
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts, finite, at least one sample: a row for every channel of the device.
    sfreq : float
        Sampling frequency, in Hz.
    time_ns : int
        When ``data[:, 0]`` was taken, in nanoseconds since the Unix epoch.
    metadata : mapping
        Whatever the sender wants to keep with these samples. In the place of a ``subject_id`` the
        subject's pseudonym is kept, and a session that was nobody's is that subject's from then on.
    request_hash : str
        Hash of the request, by which to tell a repetition from another use of its key.
    idempotency_key : str, optional
        The same key with the same hash stores once and returns what was stored first.
    began_at : float, optional
        `time.perf_counter` when the request began; for ``Ingestion.processing_time_ms``.

    Returns
    -------
    Ingestion
        Where the samples were stored.

    Raises
    ------
    InvalidSessionIdError
        If there is no such session, or the principal may not know that there is.
    InvalidDeviceIdError, InvalidIngestionError
        If it is not the session's device, or channels or sampling frequency do not fit what the
        device has and the session holds.
    SessionStateError, DeviceBusyError
        If the session is paused or over, or cannot begin because another one uses the device.
    IdempotencyConflictError
        If the key was used for another request.
    """
    began_at = time.perf_counter() if began_at is None else began_at
    client = principal if isinstance(principal, Client) else None
    samples = Samples(data, sfreq, time_ns)

    def first_answer(session: Session) -> Ingestion | None:
        """Return what was answered before; None if the session is to take the samples now."""
        _check_device(session, device_id)
        first = _first_answer(client, idempotency_key, request_hash)
        if first is None:
            _check_state(session)
        return first

    try:
        plan = None
        if is_taken():  # then all but the writing is done while others write
            session = peek_session(principal, session_id)
            first = first_answer(session)
            if first is not None:
                return first
            plan = placing.plan(session, samples)
        with recorded():
            # Whoever sends to the same session waits here, so that places are given in order.
            session = lock_session(principal, session_id)
            study = session.study
            first = first_answer(session)
            if first is not None:
                return first
            plan = placing.plan(session, samples, before=plan)
            _activate(session)
            placed = placing.store(session, plan)
            subject = named_subject(study, metadata)
            if subject is not None and session.subject_id is None:
                session.subject = subject
                session.save(update_fields=["subject"])
            if not any(piece.is_open for piece in plan.pieces):
                _complete_when_due(session, placed.place + samples.n_times, sfreq)
            ingestion = Ingestion(
                client=client,
                session=session,
                stream=placed.stream,
                first_sample=placed.first_sample,
                n_times=samples.n_times,
                metadata=without_code(metadata, subject),
                idempotency_key=idempotency_key,
                request_hash=request_hash,
                processing_time_ms=(time.perf_counter() - began_at) * 1e3,
                created_at=timezone.now(),
            )
            ingestion.place = placed.place
            receipts.insert(ingestion)
            record("ingestion.create", ingestion, study=study, session=session.public_id)
            return ingestion
    except IntegrityError:
        # The key was used at the same moment in another session, whose lock we do not wait for.
        first = _first_answer(client, idempotency_key, request_hash)
        if first is None:
            raise
        return first


def get_ingestion(principal: Principal, ingestion_id: str) -> Ingestion:
    """Return an ingestion into a session that a principal sees.

    Raises
    ------
    InvalidIngestionIdError
        If there is none with that id, or the principal may not know that there is.
    """
    found = (
        Ingestion.objects.filter(public_id=ingestion_id, session__in=visible_sessions(principal))
        .select_related("session__device", "stream")
        .first()
    )
    if found is None:
        raise InvalidIngestionIdError(
            f"Ingestion with ID '{ingestion_id}' not found",
            ingestion_id=ingestion_id,
            suggestion="Check the ID in the answer to POST /v1/ingest/neural-data",
        )
    return found


def place_on_timeline(ingestion: Ingestion) -> int | None:
    """Return the sample of the session's timeline with which an ingestion begins."""
    if ingestion.place is not None:
        return ingestion.place
    return Recording.of(ingestion.session).sample_of(
        ingestion.stream.public_id, ingestion.first_sample
    )


# --- May it be stored ----------------------------------------------------------------------------


def _check_device(session: Session, device_id: str) -> None:
    """Raise unless the device is the session's; one that is not known at all is said so."""
    if device_id == session.device.public_id:
        return
    device = get_device(device_id)
    raise InvalidIngestionError(
        f"Session {session.public_id} belongs to device {session.device.public_id} "
        f"({session.device.name}), not to {device.public_id} ({device.name})",
        fields={"device_id": [f"Must be {session.device.public_id}."]},
        suggestion="Create a session on the device that the samples come from.",
    )


def _first_answer(client: Client | None, key: str | None, request_hash: str) -> Ingestion | None:
    """Return what the first request with this key stored, or None if this is the first."""
    if key is None:
        return None
    first = (
        Ingestion.objects.filter(client=client, idempotency_key=key)
        .select_related("session__device", "stream")
        .first()
    )
    if first is not None and first.request_hash != request_hash:
        raise IdempotencyConflictError(
            f"Idempotency-Key {key!r} was used before, with another request",
            ingestion_id=first.public_id,
            suggestion="Use a fresh key for every request, the same only to repeat one.",
        )
    if first is not None:
        first.is_repeated = True
    return first


def _check_state(session: Session) -> None:
    """Raise unless a session takes samples."""
    if session.status in {Session.Status.ACTIVE, Session.Status.CREATED}:
        return
    over = session.status != Session.Status.PAUSED
    raise SessionStateError(
        f"Session {session.public_id} is {session.status} and takes no samples",
        session_id=session.public_id,
        status=session.status,
        suggestion="Create another session." if over else "Resume the session first.",
    )


def _activate(session: Session) -> None:
    """Begin a session with its first samples."""
    if session.status == Session.Status.ACTIVE:
        return
    try:
        with transaction.atomic():
            session.move_to(Session.Status.ACTIVE)
    except IntegrityError:
        raise DeviceBusyError(
            f"Another session is recording from {session.device.name}",
            device_id=session.device.public_id,
            suggestion="Stop that session first.",
        ) from None
    _tell(session, "recording_started")


def _complete_when_due(session: Session, n_times: int, sfreq: float) -> None:
    """End a session that has all it wanted; one that also records from its board ends there."""
    if session.duration_minutes is None:
        return
    if n_times >= round(session.duration_minutes * 60 * sfreq):
        session.move_to(Session.Status.COMPLETED)
        record("session.stop", session)
        _tell(session, "recording_stopped")


def _tell(session: Session, event: str) -> None:
    told = {"session_id": session.public_id, "status": session.status}
    study_id = session.study.public_id
    transaction.on_commit(
        partial(announce, session.device.public_id, event, told, study_id=study_id)
    )
