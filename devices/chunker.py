"""From frames to chunks: places, gaps, microvolts, times.

Rule of this file: frames in, chunks out. No port, no thread, no clock of its own, no Django.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from devices.boards import Board, Frames
from devices.unwrap import CounterUnwrapper
from neurascale.core.chunk import Chunk, GapReason, Marker


class Chunker:
    """Cut a board's frames into chunks of even length, none with a hole inside.

    A chunk is there as soon as its last frame is; one that ends at a gap is shorter.

    Parameters
    ----------
    board : Board
        Says what a count is worth and how many samples come in a second.
    unwrapper : CounterUnwrapper
        Says where a frame belongs; its clock says when a sample was taken.
    chunk_ms : float
        Length of a chunk; at least one sample.
    """

    def __init__(self, board: Board, unwrapper: CounterUnwrapper, *, chunk_ms: float) -> None:
        self.chunk_times = max(1, round(chunk_ms * 1e-3 * board.sfreq))
        self.n_discarded = 0
        self._board = board
        self._unwrapper = unwrapper
        self._told = unwrapper.next_index  # everything before is in a chunk, or in a gap
        self._reason = GapReason.LOST
        self._clear()

    def expect(self, reason: GapReason) -> None:
        """Say what it will have been, if samples are missing before the next frame."""
        self._reason = reason

    def feed(self, frames: Frames, monotonic_ns: int) -> list[Chunk]:
        """Take frames that arrived together and return the chunks that are now whole.

        Parameters
        ----------
        frames : Frames
            As the board parsed them.
        monotonic_ns : int
            When they arrived.

        Returns
        -------
        list of Chunk
            Oldest first; may be empty.
        """
        self.n_discarded += frames.n_discarded
        if not frames.n_times:
            return []
        placed = self._unwrapper.place(frames.counter, monotonic_ns, frames.board_ms)
        if not placed.index.size:
            return []
        if placed.is_restart:
            self._reason = GapReason.RESTARTED
        values = dict(frames.markers)
        if placed.index[-1] - placed.index[0] == placed.index.size - 1:
            return self._add(frames, placed.index, placed.keep, values)
        chunks: list[Chunk] = []
        cuts = np.flatnonzero(np.diff(placed.index) != 1) + 1
        runs = zip(np.split(placed.index, cuts), np.split(placed.keep, cuts), strict=True)
        for index, columns in runs:
            chunks += self._add(frames, index, columns, values)
        return chunks

    def _add(
        self,
        frames: Frames,
        index: NDArray[np.int64],
        columns: NDArray[np.intp],
        values: Mapping[int, int],
    ) -> list[Chunk]:
        """Add frames that follow one another; ``values`` are markers by column."""
        chunks: list[Chunk] = []
        first = int(index[0])
        if first != self._first + self._n_times:
            chunks += self.flush()
            self._first = first
            self._gap = self._reason if first > self._told else None
        self._reason = GapReason.LOST
        is_all = columns.size == frames.n_times
        self._counts.append(frames.counts if is_all else frames.counts[:, columns])
        self._aux.append(frames.aux if is_all else frames.aux[:, columns])
        self._n_times += columns.size
        if values:
            self._markers += [
                Marker(int(sample), values[int(column)])
                for sample, column in zip(index, columns, strict=True)
                if int(column) in values
            ]
        return chunks + self._cut(whole_only=True)

    def flush(self) -> list[Chunk]:
        """Return what waits for more, as a last, shorter chunk."""
        return self._cut(whole_only=False)

    def _clear(self) -> None:
        self._first = self._told
        self._n_times = 0
        self._gap: GapReason | None = None
        self._counts: list[NDArray[np.int32]] = []
        self._aux: list[NDArray[np.float32]] = []
        self._markers: list[Marker] = []

    def _cut(self, *, whole_only: bool) -> list[Chunk]:
        if self._n_times < (self.chunk_times if whole_only else 1):
            return []
        counts = np.concatenate(self._counts, axis=1)
        aux = np.concatenate(self._aux, axis=1)
        chunks: list[Chunk] = []
        begin = 0
        while self._n_times - begin >= (self.chunk_times if whole_only else 1):
            stop = min(begin + self.chunk_times, self._n_times)
            chunks.append(self._chunk(counts[:, begin:stop], aux[:, begin:stop], begin))
            begin = stop
        self._told = self._first + begin
        rest, markers = self._n_times - begin, self._markers
        self._clear()
        if rest:
            self._counts, self._aux, self._n_times = [counts[:, begin:]], [aux[:, begin:]], rest
            self._markers = [marker for marker in markers if marker.sample >= self._first]
        return chunks

    def _chunk(self, counts: NDArray[np.int32], aux: NDArray[np.float32], begin: int) -> Chunk:
        first = self._first + begin
        return Chunk(
            data=(counts * self._board.scale_uv[:, np.newaxis]).astype(np.float32),
            sfreq=self._board.sfreq,
            first_sample=first,
            time_ns=self._unwrapper.clock.time_ns(first),
            aux=aux if self._board.aux_names else None,
            gap=None if begin else self._gap,
            markers=_within(self._markers, first, first + counts.shape[1]),
        )


def _within(markers: Sequence[Marker], first: int, stop: int) -> tuple[Marker, ...]:
    return tuple(marker for marker in markers if first <= marker.sample < stop)
