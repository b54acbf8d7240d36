"""Where samples that a program sends belong, and the rows that they become.

Thinking it out takes longer than writing it down, and on SQLite everybody waits while somebody
writes. So where there are others a `Plan` is made before anything is locked, and holds if, once the
session is locked, nothing that it was made of has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from ingest import segments
from ingest.errors import InvalidIngestionError
from ingest.models import Segment, Stream
from ingest.quality import QualityMeter, Window
from ingest.store import BlockWriter, read, receipts
from ingest.store.receipts import End, Piece
from neurascale.core.chunk import Chunk, GapReason
from sessions_app.models import Session

BLOCK_SECONDS = 1.0
# How far a timestamp may be from the expected one and still continue what is there: half a sample,
# or this, because ISO 8601 as most programs write it ends with milliseconds.
TOLERANCE_SECONDS = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What was sent.

    Parameters
    ----------
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts, finite, at least one sample.
    sfreq : float
        Sampling frequency, in Hz.
    time_ns : int
        When ``data[:, 0]`` was taken, in nanoseconds since the Unix epoch.
    """

    data: NDArray[np.float32]
    sfreq: float
    time_ns: int

    @property
    def n_times(self) -> int:
        """Number of samples."""
        return int(self.data.shape[1])


class Plan(NamedTuple):
    """Where samples go, and in which rows.

    Parameters
    ----------
    pieces : list of Piece
        The session's segments when it was made.
    end : End or None
        What they follow on; None if they begin a new stream.
    picks : list of int
        The device's channels that they are of.
    first_sample : int
        Where in the stream they begin.
    blocks : list of (Chunk, bytes, list of Window)
        What is stored, packed, and the verdicts that it completes.
    """

    pieces: list[Piece]
    end: End | None
    picks: list[int]
    first_sample: int
    blocks: list[tuple[Chunk, bytes, list[Window]]]


class Placed(NamedTuple):
    """Where samples are now.

    Parameters
    ----------
    stream : Stream
        Which they are part of.
    first_sample : int
        Where in it they begin.
    place : int
        The sample of the session's timeline with which they begin.
    """

    stream: Stream
    first_sample: int
    place: int


def plan(session: Session, samples: Samples, *, before: Plan | None = None) -> Plan:
    """Think out where samples belong; nothing is written.

    Parameters
    ----------
    session : Session
        What they are sent to.
    samples : Samples
        What was sent.
    before : Plan, optional
        The same, thought out a moment ago; returned if it still holds.

    Raises
    ------
    InvalidIngestionError
        If channels or sampling frequency do not fit what the device has and the session holds.
    """
    pieces = receipts.pieces_of(session)
    # What follows on a stream depends on that stream's end, which is part of its piece.
    if before is not None and before.end is not None and before.pieces == pieces:
        return before
    last = next((p for p in reversed(pieces) if p.origin == Stream.Origin.INGEST), None)
    end = None if last is None else receipts.end_of(last)
    picks = end.stream.picks if end else list(range(session.device.n_channels))
    _check(session, samples, pieces, picks)
    if end is not None:
        n_late = _n_late(end, samples.time_ns)
        if not 0 <= n_late <= settings.RESUME_SECONDS * samples.sfreq:
            end = None
    first_sample = end.next_sample + n_late if end else 0
    meter = _meter(end, first_sample, samples)
    return Plan(
        pieces=pieces,
        end=end,
        picks=picks,
        first_sample=first_sample,
        blocks=[
            (chunk, BlockWriter.pack(chunk, None), meter.feed(chunk))
            for chunk in _chunks(samples, first_sample)
        ],
    )


def store(session: Session, chosen: Plan) -> Placed:
    """Write blocks, verdicts and the segment that makes them part of a session that is locked."""
    pieces, first_sample = chosen.pieces, chosen.first_sample
    end = chosen.end or End(_new_stream(session, chosen), 0, None, 0)
    stream = end.stream
    # The lock on the session is what keeps others away; the lease of such a stream is nobody's.
    writer = BlockWriter(stream, holder="")
    writer.next_sample = end.next_sample
    for chunk, payload, windows in chosen.blocks:
        writer.append(chunk, windows=windows, payload=payload)
    stop = writer.next_sample
    receipts.remember(stream, chunk, _begun(chosen, end))
    last = pieces[-1] if pieces else None
    if last is not None and (last.stream, last.stop_sample) == (stream.pk, end.next_sample):
        receipts.extend(last, stop)
        n_before = sum(p.n_times for p in pieces[:-1]) + first_sample - last.first_sample
        return Placed(stream, first_sample, n_before)
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
        session=session, stream=stream, first_sample=first_sample, stop_sample=stop
    )
    if recording is not None:
        Segment.objects.create(
            session=session, stream=recording.stream, first_sample=recording.stop_sample
        )
    return Placed(stream, first_sample, n_before)


# --- Thinking ------------------------------------------------------------------------------------


def _check(
    session: Session, samples: Samples, pieces: Sequence[Piece], picks: Sequence[int]
) -> None:
    """Raise unless channels and sampling frequency are those of the session."""
    n_channels = samples.data.shape[0]
    if n_channels != len(picks):
        raise InvalidIngestionError(
            f"{session.device.name} has {len(picks)} channels; {n_channels} were sent",
            fields={"channels": [f"Must be {len(picks)}."]},
        )
    if pieces and pieces[0].sfreq != samples.sfreq:
        raise InvalidIngestionError(
            f"Session {session.public_id} holds samples at {pieces[0].sfreq:g} Hz; these "
            f"are at {samples.sfreq:g} Hz",
            fields={"sample_rate": [f"Must be {pieces[0].sfreq:g} in this session."]},
            suggestion="Resample them, or create another session.",
        )


def _n_late(end: End, time_ns: int) -> int:
    """Return how many samples are missing before a moment; less than 0 if it is in the past."""
    if end.time_ns is None:
        raise LookupError(f"{end.stream} has no samples, so its next one has no time")
    sfreq = end.stream.sfreq
    seconds = (time_ns - end.time_ns) / 1e9
    if abs(seconds) <= max(TOLERANCE_SECONDS, 0.5 / sfreq):
        return 0
    return round(seconds * sfreq) or (1 if seconds > 0 else -1)


def _chunks(samples: Samples, first_sample: int) -> Iterator[Chunk]:
    """Cut samples into blocks that are quick to read a part of."""
    length = max(round(BLOCK_SECONDS * samples.sfreq), 1)
    for at in range(0, samples.n_times, length):
        yield Chunk(
            data=samples.data[:, at : at + length],
            sfreq=samples.sfreq,
            first_sample=first_sample + at,
            time_ns=samples.time_ns + round(at * 1e9 / samples.sfreq),
            gap=GapReason.EXTERNAL,
        )


def _meter(end: End | None, first_sample: int, samples: Samples) -> QualityMeter:
    """Return a meter that has seen the second that was begun before ``first_sample``."""
    meter = QualityMeter(samples.data.shape[0], samples.sfreq)
    if end is not None and end.begun < first_sample == end.next_sample:
        meter.feed(
            Chunk(
                data=read(end.stream, end.begun, first_sample).data,
                sfreq=samples.sfreq,
                first_sample=end.begun,
                time_ns=0,
            )
        )
    return meter


# --- Writing -------------------------------------------------------------------------------------


def _begun(chosen: Plan, end: End) -> int:
    """Return where the second begins that is not judged yet, once all is written."""
    judged = [w.first_sample + w.n_times for _, _, windows in chosen.blocks for w in windows]
    after_gap = chosen.first_sample if chosen.first_sample > end.next_sample else 0
    return max(end.begun, after_gap, *judged[-1:])


def _new_stream(session: Session, chosen: Plan) -> Stream:
    """Begin a stream that nobody but ingestions serves."""
    names = session.device.make_board().ch_names
    return Stream.objects.create(
        device=session.device,
        origin=Stream.Origin.INGEST,
        wanted=Stream.Wanted.STOPPED,
        state=Stream.State.STOPPED,
        sfreq=chosen.blocks[0][0].sfreq,
        picks=chosen.picks,
        ch_names=[names[pick] for pick in chosen.picks],
        scale_uv=None,
        chunk_ms=BLOCK_SECONDS * 1e3,
    )
