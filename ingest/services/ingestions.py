"""Samples that a program sends over REST: placed by their time, answered when they are durable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from numpy.typing import NDArray

from devices.errors import DeviceBusyError
from devices.services import get_device
from ingest import segments
from ingest.broadcast import announce
from ingest.errors import InvalidIngestionError, InvalidIngestionIdError
from ingest.models import Ingestion, Segment, Stream
from ingest.quality import QualityMeter
from ingest.store import BlockWriter, Recording, read, receipts
from ingest.store.receipts import End, Piece
from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal
from neurascale.core.chunk import Chunk, GapReason
from neurascale.core.errors import IdempotencyConflictError
from neurascale.core.models import Client
from sessions_app.errors import SessionStateError
from sessions_app.models import Session
from sessions_app.services import lock_session, named_subject, visible_sessions, without_code

BLOCK_SECONDS = 1.0
# How far a timestamp may be from the expected one and still continue what is there: half a sample,
# or this, because ISO 8601 as most programs write it ends with milliseconds.
TOLERANCE_SECONDS = 1e-3


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
    try:
        with recorded():
            # Whoever sends to the same session waits here, so that places are given in order.
            session = lock_session(principal, session_id)
            study = session.study
            _check_device(session, device_id)
            first = _first_answer(client, idempotency_key, request_hash)
            if first is not None:
                return first
            _activate(session)
            pieces = receipts.pieces_of(session)
            end, first_sample = _place(session, pieces, data.shape[0], sfreq, time_ns)
            place = _append(session, pieces, end, first_sample, data, time_ns)
            subject = named_subject(study, metadata)
            if subject is not None and session.subject_id is None:
                session.subject = subject
                session.save(update_fields=["subject"])
            if not any(piece.is_open for piece in pieces):
                _complete_when_due(session, place + data.shape[1], sfreq)
            ingestion = Ingestion(
                client=client,
                session=session,
                stream=end.stream,
                first_sample=first_sample,
                n_times=data.shape[1],
                metadata=without_code(metadata, subject),
                idempotency_key=idempotency_key,
                request_hash=request_hash,
                processing_time_ms=(time.perf_counter() - began_at) * 1e3,
                created_at=timezone.now(),
            )
            ingestion.place = place
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


def _activate(session: Session) -> None:
    """Begin a session with its first samples; raise unless it takes samples."""
    if session.status == Session.Status.ACTIVE:
        return
    if session.status != Session.Status.CREATED:
        over = session.status != Session.Status.PAUSED
        raise SessionStateError(
            f"Session {session.public_id} is {session.status} and takes no samples",
            session_id=session.public_id,
            status=session.status,
            suggestion="Create another session." if over else "Resume the session first.",
        )
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


# --- Where it belongs ----------------------------------------------------------------------------


def _place(
    session: Session, pieces: Sequence[Piece], n_channels: int, sfreq: float, time_ns: int
) -> tuple[End, int]:
    """Return the stream, and the sample of it, where samples of a moment belong."""
    last = next((p.stream for p in reversed(pieces) if p.origin == Stream.Origin.INGEST), None)
    end = None if last is None else receipts.end_of(last)
    picks = end.stream.picks if end else list(range(session.device.n_channels))
    if n_channels != len(picks):
        raise InvalidIngestionError(
            f"{session.device.name} has {len(picks)} channels; {n_channels} were sent",
            fields={"channels": [f"Must be {len(picks)}."]},
        )
    if pieces and pieces[0].sfreq != sfreq:
        raise InvalidIngestionError(
            f"Session {session.public_id} holds samples at {pieces[0].sfreq:g} Hz; these "
            f"are at {sfreq:g} Hz",
            fields={"sample_rate": [f"Must be {pieces[0].sfreq:g} in this session."]},
            suggestion="Resample them, or create another session.",
        )
    if end is not None:
        n_late = _n_late(end, time_ns)
        if 0 <= n_late <= settings.RESUME_SECONDS * sfreq:
            return end, end.stream.next_sample + n_late
    return End(_new_stream(session, picks, sfreq), None, 0), 0


def _n_late(end: End, time_ns: int) -> int:
    """Return how many samples are missing before a moment; less than 0 if it is in the past."""
    if end.time_ns is None:
        raise LookupError(f"{end.stream} has no samples, so its next one has no time")
    sfreq = end.stream.sfreq
    seconds = (time_ns - end.time_ns) / 1e9
    if abs(seconds) <= max(TOLERANCE_SECONDS, 0.5 / sfreq):
        return 0
    return round(seconds * sfreq) or (1 if seconds > 0 else -1)


def _new_stream(session: Session, picks: list[int], sfreq: float) -> Stream:
    """Begin a stream that nobody but ingestions serves."""
    names = session.device.make_board().ch_names
    return Stream.objects.create(
        device=session.device,
        origin=Stream.Origin.INGEST,
        wanted=Stream.Wanted.STOPPED,
        state=Stream.State.STOPPED,
        sfreq=sfreq,
        picks=picks,
        ch_names=[names[pick] for pick in picks],
        scale_uv=None,
        chunk_ms=BLOCK_SECONDS * 1e3,
    )


# --- Storing -------------------------------------------------------------------------------------


def _append(
    session: Session,
    pieces: Sequence[Piece],
    end: End,
    first_sample: int,
    data: NDArray[np.float32],
    time_ns: int,
) -> int:
    """Write blocks, verdicts and the segment that makes them part of the session.

    Returns
    -------
    int
        The sample of the session's timeline with which they begin.
    """
    stream = end.stream
    begin = stream.next_sample
    meter = _meter(end, first_sample)
    # The lock on the session is what keeps others away; the lease of such a stream is nobody's.
    writer = BlockWriter(stream, holder="")
    for chunk in _chunks(data, stream.sfreq, first_sample, time_ns):
        writer.append(chunk, windows=meter.feed(chunk))
    stream.next_sample = writer.next_sample
    last = pieces[-1] if pieces else None
    if last is not None and (last.stream, last.stop_sample) == (stream.pk, begin):
        receipts.extend(last, stream.next_sample)
        return sum(p.n_times for p in pieces[:-1]) + first_sample - last.first_sample
    n_before = sum(p.n_times for p in pieces if not p.is_open)
    recording = None
    if any(p.is_open for p in pieces):
        recording = segments.open_segment(session=session)
    if recording is not None:
        # What the board has sent so far comes before these samples, the rest after them: a place
        # on the timeline, once told, does not move.
        segments.end(recording, at=recording.stream.next_sample)
        n_before += recording.stop_sample - recording.first_sample
    Segment.objects.create(
        session=session, stream=stream, first_sample=first_sample, stop_sample=stream.next_sample
    )
    if recording is not None:
        Segment.objects.create(
            session=session, stream=recording.stream, first_sample=recording.stop_sample
        )
    return n_before


def _chunks(
    data: NDArray[np.float32], sfreq: float, first_sample: int, time_ns: int
) -> Iterator[Chunk]:
    """Cut samples into blocks that are quick to read a part of."""
    length = max(round(BLOCK_SECONDS * sfreq), 1)
    for at in range(0, data.shape[1], length):
        yield Chunk(
            data=data[:, at : at + length],
            sfreq=sfreq,
            first_sample=first_sample + at,
            time_ns=time_ns + round(at * 1e9 / sfreq),
            gap=GapReason.EXTERNAL,
        )


def _meter(end: End, first_sample: int) -> QualityMeter:
    """Return a meter that has seen the second that was begun before ``first_sample``."""
    stream = end.stream
    meter = QualityMeter(len(stream.picks), stream.sfreq)
    if end.begun < first_sample == stream.next_sample:
        meter.feed(
            Chunk(
                data=read(stream, end.begun, first_sample).data,
                sfreq=stream.sfreq,
                first_sample=end.begun,
                time_ns=0,
            )
        )
    return meter
