"""Chunk -> rows: one transaction, exactly once, fenced by the lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from django.db import connection, transaction
from numpy.typing import ArrayLike

from ingest.errors import LeaseLostError, OverlapError
from ingest.models import Block, Gap, Stream
from ingest.quality import Window
from ingest.store import codec
from ingest.store.gaps import Missing
from neurascale.core.chunk import Chunk, GapReason
from neurascale.core.statements import Statement

# These run 25 times a second for every board: the ORM would take longer than the database does.
_ADVANCE_SQL = """
    UPDATE ingest_stream SET next_sample = %s, next_sequence = %s
    WHERE id = %s AND lease_holder = %s AND next_sample = %s
"""
_BLOCK_SQL = """
    INSERT INTO ingest_block (stream_id, first_sample, n_times, sequence, time_ns, payload, aux)
"""
_ADVANCE = Statement(_ADVANCE_SQL)
_INSERT_BLOCK = Statement(_BLOCK_SQL + "VALUES (%s, %s, %s, %s, %s, %s, %s)")
# Both at once, which SQLite cannot do: one way to the server instead of four.
_ADVANCE_AND_INSERT = Statement(
    f"""
    WITH advanced AS ({_ADVANCE_SQL} RETURNING id) {_BLOCK_SQL}
    SELECT id, %s::bigint, %s::integer, %s::bigint, %s::bigint, %s::bytea, %s::bytea FROM advanced
    """  # noqa: S608 (of constants)
)
_INSERT_WINDOW = Statement("""
    INSERT INTO ingest_qualitywindow (stream_id, first_sample, n_times, verdicts, has_artifact)
    VALUES (%s, %s, %s, %s, %s)
""")


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a chunk.

    Parameters
    ----------
    sequence : int or None
        Its packet number; None in a stream that a program ingests.
    gap : Missing or None
        What is missing between it and the block before.
    """

    sequence: int | None
    gap: Missing | None


class BlockWriter:
    """Append chunks to a stream.

    Parameters
    ----------
    stream : Stream
        What to append to.
    holder : str
        The name under which the caller holds the stream's lease; an append by anybody else fails.
    """

    def __init__(self, stream: Stream, *, holder: str) -> None:
        self.stream = stream
        self.holder = holder
        self.next_sample = stream.next_sample
        self._next_sequence = stream.next_sequence
        self._has_sequence = stream.origin == Stream.Origin.BOARD

    @staticmethod
    def pack(chunk: Chunk, scale_uv: ArrayLike | None) -> bytes:
        """Return the bytes that a chunk's samples become in a stream with a scale.

        It takes as long as writing them; who holds others up while writing does it beforehand.
        """
        return codec.encode(chunk.data, scale_uv)

    def append(
        self, chunk: Chunk, *, windows: Sequence[Window] = (), payload: bytes | None = None
    ) -> Stored:
        """Store a chunk, all of it or nothing; when this returns it is durable.

        A caller that got an error of the database, and so cannot know whether the chunk was
        stored, appends it once more: a chunk that is there already is recognised.

        Parameters
        ----------
        chunk : Chunk
            With the stream's channels. If it begins after the stream's next sample, the samples
            between are stored as a gap, for the reason ``chunk.gap`` or else `GapReason.LOST`.
        windows : sequence of Window
            Verdicts of `ingest.quality` that this chunk completed.
        payload : bytes, optional
            What `pack` made of it, with the stream's scale.

        Returns
        -------
        Stored
            Packet number and gap.

        Raises
        ------
        LeaseLostError
            If somebody else has the stream's lease.
        OverlapError
            If other samples are stored there already.
        ValueError
            If the chunk does not fit the stream.
        """
        if chunk.n_channels != len(self.stream.ch_names):
            raise ValueError(
                f"{self.stream} has {len(self.stream.ch_names)} channels, the chunk "
                f"{chunk.n_channels}"
            )
        if payload is None:
            payload = self.pack(chunk, self.stream.scale_uv)
        aux = None
        if chunk.aux is not None and not np.isnan(chunk.aux).all():
            aux = codec.encode(chunk.aux, None)
        if chunk.first_sample >= self.next_sample:
            stored = self._insert(chunk, payload, aux, windows)
            if stored is not None:
                return stored
        return self._look_again(chunk, payload, aux, windows)

    def _insert(
        self, chunk: Chunk, payload: bytes, aux: bytes | None, windows: Sequence[Window]
    ) -> Stored | None:
        """Write the rows; None, and nothing written, if the stream is not as we remember it."""
        sequence = self._next_sequence if self._has_sequence else None
        next_sequence = self._next_sequence + self._has_sequence
        gap = None
        if chunk.first_sample > self.next_sample:
            length = chunk.first_sample - self.next_sample
            gap = Missing(self.next_sample, length, (chunk.gap or GapReason.LOST).value)
        advance = (chunk.stop_sample, next_sequence, self.stream.pk, self.holder, self.next_sample)
        block = (chunk.first_sample, chunk.n_times, sequence, chunk.time_ns, payload, aux)
        if connection.vendor == "postgresql" and gap is None and not windows:
            if not _ADVANCE_AND_INSERT(*advance, *block):
                return None
        else:
            # Whoever has a transaction already takes all of it back if this fails.
            with transaction.atomic(savepoint=False):
                if not _ADVANCE(*advance):
                    return None
                _INSERT_BLOCK(self.stream.pk, *block)
                self._insert_beside(gap, windows)
        self.next_sample, self._next_sequence = chunk.stop_sample, next_sequence
        return Stored(sequence, gap)

    def _insert_beside(self, gap: Missing | None, windows: Sequence[Window]) -> None:
        """Write what few chunks come with."""
        if gap is not None:
            Gap.objects.create(
                stream=self.stream,
                first_sample=gap.first_sample,
                n_times=gap.n_times,
                reason=gap.reason,
            )
        for window in windows:
            _INSERT_WINDOW(
                *(self.stream.pk, window.first_sample, window.n_times),
                *(orjson.dumps(window.verdicts).decode(), bool(window.has_artifact)),
            )

    def _look_again(
        self, chunk: Chunk, payload: bytes, aux: bytes | None, windows: Sequence[Window]
    ) -> Stored:
        """Find out why the stream is not as we remember it, and go on if that is harmless.

        Either the lease is lost; or the chunk was stored and the answer did not reach us; or an
        outer transaction, with what we had written in it, was rolled back.
        """
        while True:
            row = (
                Stream.objects.filter(pk=self.stream.pk)
                .values_list("lease_holder", "next_sample", "next_sequence")
                .first()
            )
            if row is None:
                raise LeaseLostError(f"{self.stream} was deleted")
            holder, self.next_sample, self._next_sequence = row
            if holder != self.holder:
                raise LeaseLostError(
                    f"{self.stream} is served by {holder or 'nobody'} now, not by {self.holder}"
                )
            if chunk.first_sample < self.next_sample:
                return self._stored_before(chunk, payload)
            stored = self._insert(chunk, payload, aux, windows)
            if stored is not None:
                return stored
            # Another writer was faster; each round it moves on, so this ends.

    def _stored_before(self, chunk: Chunk, payload: bytes) -> Stored:
        """Return what an earlier attempt of the same chunk returned, or would have."""
        row = (
            Block.objects.filter(stream=self.stream, first_sample=chunk.first_sample)
            .values_list("n_times", "sequence", "time_ns", "payload")
            .first()
        )
        if row is None or (row[0], row[2], bytes(row[3])) != (
            *(chunk.n_times, chunk.time_ns, payload),
        ):
            raise OverlapError(
                f"Samples {chunk.first_sample} to {chunk.stop_sample - 1} of {self.stream} were "
                f"to be stored; what is before {self.next_sample} is settled already"
            )
        gap = (
            Gap.objects.filter(stream=self.stream, first_sample__lt=chunk.first_sample)
            .order_by("-first_sample")
            .first()
        )
        if gap is None or gap.first_sample + gap.n_times != chunk.first_sample:
            return Stored(row[1], None)
        return Stored(row[1], Missing(gap.first_sample, gap.n_times, gap.reason))
