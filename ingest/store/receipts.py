"""What a program's samples leave beside their blocks, and what there is to know before they come.

The queries of ingestion, in as few words to the database as there can be: each is asked with every
request, and the ORM would take longer to put it than the database to answer it.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import orjson
from django.db import connection, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery

from ingest.models import Block, Gap, Ingestion, QualityWindow, Segment, Stream
from neurascale.core.chunk import Chunk
from neurascale.core.prepared import Prepared, Slot
from neurascale.core.statements import Statement
from sessions_app.models import Session

_SEGMENTS = Prepared(
    lambda: (
        Segment.objects.filter(session=Slot("session"))
        .order_by("pk")
        .values_list(
            *("pk", "stream_id", "first_sample", "stop_sample"),
            *("stream__next_sample", "stream__sfreq", "stream__origin", "stream__public_id"),
        )
    )
)
_EXTEND = Statement("UPDATE ingest_segment SET stop_sample = %s WHERE id = %s")
_FIELDS = (
    *("public_id", "client_id", "session_id", "stream_id", "first_sample", "n_times"),
    *("metadata", "idempotency_key", "request_hash", "processing_time_ms", "created_at"),
)
_INSERT = Statement(
    f"INSERT INTO ingest_ingestion ({', '.join(_FIELDS)}) "  # noqa: S608 - constants
    f"VALUES ({', '.join(['%s'] * len(_FIELDS))}) RETURNING id"
)


class Piece(NamedTuple):
    """A segment of a session, with what matters of its stream."""

    pk: int
    stream: int
    first_sample: int
    stop_sample: int | None
    next_sample: int  # of the stream
    sfreq: float
    origin: str
    stream_name: str  # its public id

    @property
    def is_open(self) -> bool:
        """Whether it is being recorded."""
        return self.stop_sample is None

    @property
    def n_times(self) -> int:
        """How much of the session's timeline it is, as `Recording` counts it."""
        stop = self.next_sample
        if self.stop_sample is not None:
            stop = min(stop, self.stop_sample)
        return max(stop - self.first_sample, 0)


def pieces_of(session: Session) -> list[Piece]:
    """Return the segments of a session, in order."""
    return [Piece(*row) for row in _SEGMENTS.all(session=session.pk)]


def _stream_and_its_end() -> QuerySet[Stream]:
    """Return the query of a stream with all that samples which follow on it have to know."""

    def last(rows: QuerySet, value: str | F) -> Subquery:
        found = rows.filter(stream=OuterRef("pk")).order_by("-first_sample")
        return Subquery(found.values_list(value)[:1])

    end = F("first_sample") + F("n_times")
    return (
        Stream.objects.filter(pk=Slot("pk"))
        .only(
            *("public_id", "device_id", "origin", "sfreq", "picks", "ch_names", "scale_uv"),
            *("next_sample", "next_sequence"),
        )
        .annotate(
            anchor_sample=last(Block.objects, "first_sample"),
            anchor_ns=last(Block.objects, "time_ns"),
            judged_until=last(QualityWindow.objects, end),
            missing_until=last(Gap.objects, end),
        )
        .order_by()
    )


_STREAM = Prepared(_stream_and_its_end)


class End(NamedTuple):
    """A stream that samples may follow on.

    Parameters
    ----------
    stream : Stream
        With the fields that matter to them; the others are looked up when asked for. Several that
        follow on it may share it: where it ends is said beside it.
    next_sample : int
        Where it ends.
    time_ns : int or None
        When its next sample is due; None if it has no block.
    begun : int
        Where the second begins that is not judged yet.
    """

    stream: Stream
    next_sample: int
    time_ns: int | None
    begun: int


def end_of(piece: Piece) -> End:
    """Return the stream of a segment, and how it ends; without asking, if this process knows it."""
    known = _left.get(piece.stream_name)
    if known is not None and known.next_sample == piece.next_sample:
        return known
    return read_end(piece.stream)


def read_end(stream: int) -> End:
    """Return a stream, by its primary key, and how it ends."""
    found = _STREAM.first(pk=stream)
    due = None
    if found.anchor_ns is not None:
        n_since = found.next_sample - found.anchor_sample
        due = _due(found.anchor_ns, n_since, found.sfreq)
    begun = max(found.judged_until or 0, found.missing_until or 0)
    return End(found, found.next_sample, due, begun)


def _due(anchor_ns: int, n_since: int, sfreq: float) -> int:
    """Return when a sample is due, so many samples after the beginning of a block."""
    return anchor_ns + round(n_since * 1e9 / sfreq)


# Where this process left streams, by their public id; of samples that are durable. Nobody else can
# have brought a stream to the same end: it only ever grows, by who has seen where it ended.
_left: dict[str, End] = {}
_leaving = threading.Lock()
MAX_LEFT = 256


def remember(stream: Stream, last: Chunk, begun: int) -> None:
    """Note how a stream ends, once the transaction is durable.

    Parameters
    ----------
    stream : Stream
        What samples were appended to.
    last : Chunk
        Its last block.
    begun : int
        Where the second begins that is not judged yet.
    """
    due = _due(last.time_ns, last.n_times, stream.sfreq)
    end = End(stream, last.stop_sample, due, begun)

    def keep() -> None:
        with _leaving:
            _left.pop(stream.public_id, None)
            while len(_left) >= MAX_LEFT:
                del _left[next(iter(_left))]  # the one that was left alone the longest
            _left[stream.public_id] = end

    transaction.on_commit(keep)


def extend(piece: Piece, stop: int) -> None:
    """Make a segment longer."""
    _EXTEND(stop, piece.pk)


def insert(ingestion: Ingestion) -> None:
    """Store an ingestion that is new; raises `IntegrityError` as its ``save`` would."""
    changed = {
        "metadata": orjson.dumps(ingestion.metadata).decode(),
        "created_at": connection.ops.adapt_datetimefield_value(ingestion.created_at),
    }
    values = [changed.get(name, getattr(ingestion, name)) for name in _FIELDS]
    [(ingestion.pk,)] = _INSERT.rows(*values)
    ingestion._state.adding = False
