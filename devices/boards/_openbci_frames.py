"""Where the Cyton's frames are in whatever bytes arrive.

A frame is 33 bytes [1]_: 0xA0, a counter, eight 24-bit counts, six aux bytes, and an end byte of
0xC0 to 0xC6 that says what the aux bytes are. There is no checksum, and both marks also occur in
the counts, so marks alone do not make a frame: where bytes were lost, the head of one frame and a
chance byte of the next pass for one. The rule:

1. A *candidate* is 0xA0 with an end byte 32 bytes after it.
2. It is taken at once if its tail, which a frame cut short cannot have right, goes on from the
   frame taken before it: the same kind of end byte, and either a time stamp that advanced by 4 ms
   for each step of the counter, or six aux bytes of zero.
3. Any other candidate waits for a neighbour: for the head of the next frame (0xA0 and the next
   counter), or, where frames carry time stamps or the kind of end byte changed, for a whole next
   frame of that kind that goes on from it. If that one is damaged too, for the one after it.
4. It is dropped if none speaks for it, or as soon as a frame that overlaps it can be taken at once.
   The search goes on at the next *byte*, so damage never costs the frame after it.

So frames with time stamps are never delayed, save the first of all and the first after a second of
silence; of frames without, those that carry a reading wait for two bytes of the next. After damage
the first whole frame is taken at once, or when its successor is there. What is taken does not
depend on how the bytes were cut. What cannot be seen is a corrupt byte among the counts, nor, in
frames without stamps, that the first bytes of one were lost if by chance 0xA0 and the right counter
stand in their place: one in 65,536. A frame whose aux bytes are in use and carry no stamp may be
lost when bytes go astray right after it.

References
----------
.. [1] OpenBCI, Cyton Data Format, docs.openbci.com/Cyton/CytonDataFormat
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FRAME_BYTES = 33
START_BYTE = 0xA0
FRAME_MS = 4  # the radio carries 250 frames a second, Daisy or not
COUNTER_MODULUS = 256

ACCEL = 0xC0
RAW_AUX = 0xC1
USER_DEFINED = 0xC2
STAMPED_ACCEL_SET = 0xC3  # the first frame after `<`
STAMPED_ACCEL = 0xC4
STAMPED_RAW_AUX_SET = 0xC5
STAMPED_RAW_AUX = 0xC6

PROMPT_MS = 3
"""How far a stamp may be from its place at once: less than a step, so that counters are checked."""

JITTER_MS = 10
"""How far if the next counter speaks for it: the firmware stamps when its loop comes round."""

COUNTER, COUNTS, AUX, STAMP, END = 1, slice(2, 26), slice(26, 32), slice(28, 32), 32

Rows: TypeAlias = NDArray[np.uint8]


class _Verdict(Enum):
    TAKE = auto()
    DROP = auto()
    WAIT = auto()


@dataclass(frozen=True, slots=True)
class _Last:
    """The frame taken last."""

    counter: int
    kind: int
    stamp: int
    stop: int  # offset, in all bytes since the reset, of the byte after it


def kinds(rows: Rows) -> NDArray[np.uint8]:
    """Return what each frame carries beside its counts.

    Parameters
    ----------
    rows : ndarray of uint8, shape (n_frames, 33)
        Frames.

    Returns
    -------
    ndarray of uint8, shape (n_frames,)
        ``ACCEL``, ``RAW_AUX``, ``USER_DEFINED``, ``STAMPED_ACCEL`` or ``STAMPED_RAW_AUX``: a first
        stamp is a stamp.
    """
    ends = rows[:, END]
    is_first = (ends == STAMPED_ACCEL_SET) | (ends == STAMPED_RAW_AUX_SET)
    return ends + is_first.astype(np.uint8)


def stamps(rows: Rows) -> NDArray[np.int64]:
    """Return the last four aux bytes as milliseconds, stamp or not; shape (n_frames,)."""
    return np.ascontiguousarray(rows[:, STAMP]).view(">u4").ravel().astype(np.int64)


class _Candidates:
    """Everything between a start byte and an end byte, with what is needed to judge it."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        n_starts = data.size - END
        is_end = (data[END:] - np.uint8(ACCEL)) <= STAMPED_RAW_AUX - ACCEL
        self.at = np.flatnonzero((data[:n_starts] == START_BYTE) & is_end)
        self.rows = _gather(data, self.at)
        self.counter = self.rows[:, COUNTER].astype(np.int64)
        self.kind = kinds(self.rows)
        self.stamp = stamps(self.rows)
        self.is_stamped = self.kind >= STAMPED_ACCEL
        self.is_empty: NDArray[np.bool_] = ~np.any(self.rows[:, AUX], axis=1)
        self.data = data

    def __len__(self) -> int:
        return int(self.at.size)

    def run_ends(self) -> NDArray[np.intp]:
        """Return where each run ends whose every frame is taken if the one before it was."""
        if len(self) < 2:
            return np.array([len(self)])
        step = np.diff(self.counter)
        agrees = _agree(step, np.diff(self.stamp), PROMPT_MS)
        next_at = np.minimum(self.at[1:] + FRAME_BYTES, self.data.size - 2)
        has_next = (self.at[1:] + FRAME_BYTES == next_at) & (self.data[next_at] == START_BYTE)
        has_next &= self.data[next_at + 1] == (self.counter[1:] + 1) % COUNTER_MODULUS
        distance = np.diff(self.at)
        is_proved = self.is_empty[1:] & (distance == FRAME_BYTES) | has_next
        goes_on = np.where(self.is_stamped[1:], agrees, is_proved)
        goes_on &= (self.kind[1:] == self.kind[:-1]) & (distance >= FRAME_BYTES)
        return np.append(np.flatnonzero(~goes_on) + 1, len(self))

    def find(self, position: int) -> int | None:
        """Return the candidate that begins there."""
        i = int(np.searchsorted(self.at, position))
        return i if i < len(self) and self.at[i] == position else None

    def between(self, start: int, stop: int) -> range:
        """Return the candidates that begin from ``start`` to before ``stop``."""
        return range(*np.searchsorted(self.at, (start, stop)).tolist())

    def is_head(self, position: int, counter: int) -> bool:
        """Whether a frame with that counter seems to begin there."""
        wanted = counter % COUNTER_MODULUS
        return bool(self.data[position] == START_BYTE and self.data[position + 1] == wanted)

    def speaks_for(self, i: int, n: int, *, is_adjacent: bool = False) -> bool:
        """Whether the n-th frame after candidate ``i`` is there, whole, and goes on from it."""
        k = self.find(int(self.at[i]) + n * FRAME_BYTES)
        if k is None or self.kind[i] != self.kind[k]:
            return False
        step, passed = self.counter[k] - self.counter[i], self.stamp[k] - self.stamp[i]
        is_next = bool(step % COUNTER_MODULUS == n)
        if self.is_stamped[i]:
            # A stamp alone must not excuse a corrupt counter.
            return bool(_agree(step, passed, JITTER_MS if is_next else PROMPT_MS))
        return is_adjacent or is_next

    def is_spoken_for_early(self, i: int) -> bool:
        """Whether the second next frame goes on from candidate ``i``, and bytes before it are lost.

        Only a tail that a chance byte cannot have, a stamp or six zeros, proves that much.
        """
        here = int(self.at[i])
        return any(
            self.kind[k] == self.kind[i]
            and (self.counter[k] - self.counter[i]) % COUNTER_MODULUS == 2
            and (
                _agree(self.counter[k] - self.counter[i], self.stamp[k] - self.stamp[i], JITTER_MS)
                if self.is_stamped[i]
                else self.is_empty[i] and self.is_empty[k]
            )
            for k in self.between(here + FRAME_BYTES + 1, here + 2 * FRAME_BYTES)
        )

    def holds_head(self, i: int, counter: int) -> bool:
        """Whether a candidate with that counter begins inside candidate ``i``."""
        here = int(self.at[i])
        inside = self.between(here + 1, here + FRAME_BYTES)
        return any(self.counter[k] == counter % COUNTER_MODULUS for k in inside)

    def goes_on(self, last: _Last, i: int) -> bool:
        """Whether the tail of candidate ``i`` goes on from the frame taken last."""
        if self.kind[i] != last.kind:
            return False
        if not self.is_stamped[i]:
            return bool(self.is_empty[i])
        step, passed = self.counter[i] - last.counter, self.stamp[i] - last.stamp
        return bool(_agree(step, passed, PROMPT_MS))


def _agree(step: NDArray[np.int64], passed: NDArray[np.int64], jitter_ms: int) -> NDArray[np.bool_]:
    """Whether a time stamp advanced as much as the counter, by one turn of it at most."""
    expected = ((step - 1) % COUNTER_MODULUS + 1) * FRAME_MS
    late = (passed - expected + 2**31) % 2**32 - 2**31  # the board's clock has 32 bits
    return np.abs(late) <= jitter_ms


class FrameFinder:
    """Take bytes as they come and give back whole frames; the module's docstring has the rule."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget half-received bytes, and the frame taken last."""
        self._rest = b""
        self._offset = 0  # of the first byte of the rest, in all bytes since the reset
        self._last: _Last | None = None

    def feed(self, data: bytes) -> tuple[Rows, int]:
        """Take bytes and return every frame that is now certain.

        Parameters
        ----------
        data : bytes
            As they came.

        Returns
        -------
        rows : ndarray of uint8, shape (n_frames, 33)
            Frames, oldest first.
        n_discarded : int
            Bytes that belong to no frame and are given up.
        """
        data = self._rest + data
        if len(data) < FRAME_BYTES:
            n_discarded = _first_start(np.frombuffer(data, np.uint8), 0)
            self._rest = data[n_discarded:]
            self._offset += n_discarded
            return np.empty((0, FRAME_BYTES), np.uint8), n_discarded
        candidates = _Candidates(np.frombuffer(data, np.uint8))
        taken, keep_from = self._choose(candidates)
        if keep_from is None:
            taken_until = self._last.stop - self._offset if self._last else 0
            keep_from = _first_start(candidates.data, max(taken_until, len(data) - END))
        self._rest = data[keep_from:]
        self._offset += keep_from
        rows = candidates.rows[taken]
        return rows, keep_from - FRAME_BYTES * len(rows)

    def _choose(self, candidates: _Candidates) -> tuple[slice | NDArray[np.intp], int | None]:
        """Return the candidates to take, and the position of one that waits, if one does."""
        ends = candidates.run_ends()
        runs: list[tuple[int, int]] = []
        waits: int | None = None
        i = 0
        while i < len(candidates):
            verdict = self._judge(candidates, i)
            if verdict is _Verdict.WAIT:
                waits = int(candidates.at[i])
                break
            if verdict is _Verdict.TAKE:
                stop = int(ends[np.searchsorted(ends, i, side="right")])
                runs.append((i, stop))
                self._remember(candidates, stop - 1)
                i = stop
            else:
                i += 1
        if len(runs) < 2:
            return slice(*runs[0]) if runs else slice(0), waits
        return np.concatenate([np.arange(*run) for run in runs]), waits

    def _remember(self, candidates: _Candidates, i: int) -> None:
        self._last = _Last(
            counter=int(candidates.counter[i]),
            kind=int(candidates.kind[i]),
            stamp=int(candidates.stamp[i]),
            stop=self._offset + int(candidates.at[i]) + FRAME_BYTES,
        )

    def _judge(self, candidates: _Candidates, i: int) -> _Verdict:
        """Apply the rule, each part of it as soon as the bytes that it needs are there."""
        here = int(candidates.at[i])
        if self._last is not None:
            if self._offset + here < self._last.stop:
                return _Verdict.DROP
            # Six zeros say that a frame ends here, not that it is whole.
            is_whole = candidates.is_stamped[i] or self._is_in_place(candidates, i)
            if is_whole and candidates.goes_on(self._last, i):
                return _Verdict.TAKE
        for n_bytes, ask in (
            (FRAME_BYTES + 2, self._ask_next_head),
            (2 * FRAME_BYTES, self._ask_next),
            (3 * FRAME_BYTES, self._ask_second),
        ):
            if candidates.data.size - here < n_bytes:
                return _Verdict.WAIT
            verdict = ask(candidates, i, here)
            if verdict is not None:
                return verdict
        return _Verdict.DROP

    def _ask_next_head(self, candidates: _Candidates, i: int, here: int) -> _Verdict | None:
        if candidates.is_stamped[i] or self._is_new_kind(candidates, i):
            return None
        is_next = candidates.is_head(here + FRAME_BYTES, int(candidates.counter[i]) + 1)
        return _Verdict.TAKE if is_next else None

    def _ask_next(self, candidates: _Candidates, i: int, here: int) -> _Verdict | None:
        if self._is_overtaken(candidates, here + 1, here + FRAME_BYTES):
            return _Verdict.DROP
        # Where frames were lost whole, counters jump, but one frame ends where the next begins.
        is_adjacent = self._last is not None and self._offset + here == self._last.stop
        if candidates.speaks_for(i, 1, is_adjacent=is_adjacent) or self._is_next_but_one(
            candidates, i
        ):
            return _Verdict.TAKE
        is_late = self._is_overtaken(candidates, here + FRAME_BYTES, here + 2 * FRAME_BYTES)
        return _Verdict.DROP if is_late else None

    def _ask_second(self, candidates: _Candidates, i: int, here: int) -> _Verdict | None:
        if candidates.is_spoken_for_early(i):
            return _Verdict.TAKE
        if candidates.is_stamped[i] or self._is_new_kind(candidates, i):
            is_taken = candidates.speaks_for(i, 2)
        else:
            counter = int(candidates.counter[i])
            # A frame that came in the middle of this one leaves the heads two frames apart too.
            is_taken = candidates.is_head(
                here + 2 * FRAME_BYTES, counter + 2
            ) and not candidates.holds_head(i, counter + 1)
        return _Verdict.TAKE if is_taken else None

    def _is_in_place(self, candidates: _Candidates, i: int) -> bool:
        """Whether a candidate's distance from the frame taken last fits its counter."""
        if self._last is None:
            return False
        n_between, n_over = divmod(
            self._offset + int(candidates.at[i]) - self._last.stop, FRAME_BYTES
        )
        step = (int(candidates.counter[i]) - self._last.counter) % COUNTER_MODULUS
        return n_over == 0 and n_between in (0, (step - 1) % COUNTER_MODULUS)

    def _is_next_but_one(self, candidates: _Candidates, i: int) -> bool:
        """Whether one frame was damaged before a candidate, and this is the one after it."""
        if self._last is None or candidates.is_stamped[i]:
            return False
        step = (int(candidates.counter[i]) - self._last.counter) % COUNTER_MODULUS
        return step == 2 and candidates.goes_on(self._last, i)

    def _is_new_kind(self, candidates: _Candidates, i: int) -> bool:
        """Whether the end byte is another than before: a change, or damage."""
        return self._last is not None and bool(candidates.kind[i] != self._last.kind)

    def _is_overtaken(self, candidates: _Candidates, start: int, stop: int) -> bool:
        """Whether a candidate that begins there has a tail that goes on from the last frame."""
        last = self._last
        if last is None:
            return False
        return any(candidates.goes_on(last, k) for k in candidates.between(start, stop))


def _gather(data: NDArray[np.uint8], at: NDArray[np.intp]) -> Rows:
    """Return the 33 bytes from each position; without a copy where one follows the other."""
    if at.size and at[-1] - at[0] == (at.size - 1) * FRAME_BYTES:
        spaced = at.size < 3 or bool((np.diff(at) == FRAME_BYTES).all())
        if spaced:
            return data[at[0] : at[-1] + FRAME_BYTES].reshape(-1, FRAME_BYTES)
    return data[at[:, np.newaxis] + np.arange(FRAME_BYTES)]


def _first_start(data: NDArray[np.uint8], begin: int) -> int:
    """Return where a frame may begin whose end is still to come."""
    starts = np.flatnonzero(data[begin:] == START_BYTE)
    return begin + int(starts[0]) if starts.size else int(data.size)
