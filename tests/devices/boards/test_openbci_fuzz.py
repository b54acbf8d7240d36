"""Ten million bytes of noise and of cut, corrupt and interleaved frames.

What is asked: no exception, no stall, no frame that was not sent as it arrived, none twice or out
of order, and every frame back that has whole neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from devices.boards._openbci_frames import FRAME_BYTES, FrameFinder
from devices.boards.cyton import Cyton
from devices.boards.cyton_daisy import CytonDaisy
from tests.devices.boards.wire import assert_same, feed_all, stream

N_BYTES = 2_500_000  # of each of four kinds


def random_bytes(rng: np.random.Generator, n: int) -> bytes:
    return rng.integers(0, 256, n, dtype=np.uint8).tobytes()


def make_frames(kind: str, n: int, rng: np.random.Generator) -> list[bytes]:
    """Return frames full of noise, of a board that stamps, of one that does not, of raw pins."""
    rows = rng.integers(0, 256, (n, FRAME_BYTES), dtype=np.uint8)
    rows[:, 0], rows[:, 1] = 0xA0, np.arange(n) % 256
    rows[:, 32] = {"stamped": 0xC4, "plain": 0xC0, "pins": 0xC1}[kind]
    if kind == "stamped":
        rows[:, 28:32] = (4 * np.arange(n)).astype(">u4").view(np.uint8).reshape(n, 4)
    elif kind == "plain":
        rows[np.arange(n) % 10 != 3, 26:32] = 0
    return [row.tobytes() for row in rows]


@dataclass
class Damaged:
    """A stream on its way through a bad line, and what a perfect reader would make of it."""

    place: dict[bytes, int]  # a frame without its end byte, as sent or as arrived -> which it is
    pieces: list[bytes] = field(default_factory=list)
    unharmed: list[int] = field(default_factory=list)
    quiet: list[int] = field(default_factory=list)  # unharmed, as both before and the one after

    def send(self, i: int, frame: bytes) -> None:
        self.pieces.append(frame)
        self.place[frame[:-1]] = i

    @classmethod
    def of(cls, frames: list[bytes], rng: np.random.Generator) -> Damaged:
        # All that were sent: bytes in between may begin with an end byte and so make a frame whole.
        self = cls({frame[:-1]: i for i, frame in enumerate(frames)})
        i = 0
        while i < len(frames) - 8:
            stop = min(i + 1 + int(rng.geometric(0.12)), len(frames) - 8)
            for k in range(i, stop):
                self.send(k, frames[k])
            self.unharmed += range(i, stop)
            self.quiet += range(i + 2, stop - 1)
            i = stop + self._harm(frames, stop, rng)
        return self

    def _harm(self, frames: list[bytes], i: int, rng: np.random.Generator) -> int:
        """Do something to frame ``i`` and return how many frames that took."""
        one, at = frames[i], int(rng.integers(1, FRAME_BYTES))
        match int(rng.integers(0, 7)):
            case 0:  # a byte is wrong
                wrong = bytearray(one)
                wrong[at] ^= int(rng.integers(1, 256))
                self.send(i, bytes(wrong))
            case 1:  # the start is wrong
                self.pieces.append(bytes([int(rng.integers(0, 160))]) + one[1:])
            case 2:  # bytes are missing
                n_kept = int(rng.integers(at, FRAME_BYTES))
                self.pieces.append(one[: at - 1] + one[n_kept:])
            case 3:  # frames are missing
                return 1 + int(rng.integers(0, 5))
            case 4:  # bytes came in between
                extra = random_bytes(rng, int(rng.integers(1, 100)))
                self.pieces.append(one[:at] + extra + one[at:])
            case 5:  # the next frame came in the middle of this one
                self.pieces.append(one[:at])
                self.send(i + 1, frames[i + 1])
                self.unharmed.append(i + 1)
                self.pieces.append(one[at:])
                return 2
            case 6:  # noise
                self.pieces.append(random_bytes(rng, int(rng.integers(1, 500))))
        return 1


def read_in_pieces(data: bytes, rng: np.random.Generator) -> tuple[list[bytes], int]:
    """Feed reads of any size and return the frames, and how many bytes were in none."""
    finder = FrameFinder()
    frames: list[bytes] = []
    n_discarded = position = 0
    while position < len(data):
        stop = position + int(rng.integers(1, 4096))
        rows, n_given_up = finder.feed(data[position:stop])
        frames += [row.tobytes() for row in rows]
        n_discarded += n_given_up
        position = stop
    return frames, n_discarded


@pytest.mark.parametrize("kind", ["stamped", "plain", "pins"])
def test_two_and_a_half_million_damaged_bytes_of_each_kind(kind):
    rng = np.random.default_rng(["stamped", "plain", "pins"].index(kind))
    sent = make_frames(kind, N_BYTES // FRAME_BYTES, rng)
    damaged = Damaged.of(sent, rng)
    data = b"".join(damaged.pieces)
    found, n_discarded = read_in_pieces(data, rng)

    invented = [one for one in found if one[:-1] not in damaged.place]
    assert invented == []
    order = [damaged.place[one[:-1]] for one in found]
    assert order == sorted(set(order))
    assert 0 <= len(data) - len(found) * FRAME_BYTES - n_discarded < 3 * FRAME_BYTES

    missing = set(damaged.unharmed[1:]) - set(order)
    assert missing.isdisjoint(damaged.quiet)
    if kind == "stamped":
        assert missing == set()
    if kind == "plain":
        assert len(missing) < 0.01 * len(damaged.unharmed)


def test_two_and_a_half_million_bytes_of_noise_are_no_frame():
    rng = np.random.default_rng(99)
    found, n_discarded = read_in_pieces(random_bytes(rng, N_BYTES), rng)
    assert found == []
    assert N_BYTES - n_discarded < 3 * FRAME_BYTES


def test_noise_after_a_stream_is_no_frame_either():
    rng = np.random.default_rng(98)
    for kind in ("stamped", "plain", "pins"):
        sent = make_frames(kind, 10, rng)
        found, _ = read_in_pieces(b"".join(sent) + random_bytes(rng, 200_000), rng)
        assert found == sent[: len(found)]
        assert len(found) >= 9


FRAMES = stream(6, first=253) + stream(6, stamps=False)
PIECES = st.one_of(
    st.sampled_from(FRAMES),
    st.builds(lambda one, at: one[:at], st.sampled_from(FRAMES), st.integers(0, 33)),
    st.builds(lambda one, at: one[at:], st.sampled_from(FRAMES), st.integers(0, 33)),
    st.builds(
        lambda one, at, value: one[:at] + bytes([value]) + one[at + 1 :],
        st.sampled_from(FRAMES),
        st.integers(0, 32),
        st.sampled_from([0, 1, 0xA0, 0xC0, 0xC3, 0xC4, 0xC6, 0xFF]),
    ),
    st.binary(max_size=80),
    st.just(b"\xa0" * 40 + b"\xc0" * 40),
)


@pytest.mark.parametrize("board", [Cyton, CytonDaisy])
@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14), cuts=st.lists(st.integers(0, 500), max_size=6))
def test_what_is_found_does_not_depend_on_how_the_bytes_were_cut(board, pieces, cuts):
    data = b"".join(pieces)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    in_parts = feed_all(board(), [data[a:b] for a, b in pairwise(edges)])
    at_once = board().feed(data)
    assert_same(in_parts, at_once)
    assert in_parts.n_discarded == at_once.n_discarded
    assert at_once.n_times * board.n_chips * FRAME_BYTES + at_once.n_discarded <= len(data)


def test_a_reader_never_holds_more_than_three_frames_back():
    finder = FrameFinder()
    rng = np.random.default_rng(5)
    held: NDArray[np.int64] = np.zeros(3000, np.int64)
    n_fed = n_given = 0
    for i in range(held.size):
        piece = b"\xa0" * 7 if i % 3 else random_bytes(rng, 20) + b"\xc4"
        rows, n_discarded = finder.feed(piece)
        n_fed += len(piece)
        n_given += rows.size + n_discarded
        held[i] = n_fed - n_given
    assert held.max() < 3 * FRAME_BYTES + 32
    assert held.min() >= 0
