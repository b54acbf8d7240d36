"""Frames as literal bytes, built apart from the code under test, and a board to talk to."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from devices.boards import Ask, Board, BoardInfo, Frames


def frame(counter: int, counts: Sequence[int] = (0,) * 8, aux: bytes = bytes(6), end: int = 0xC0):
    """Return the 33 bytes of a frame."""
    words = b"".join((int(count) & 0xFFFFFF).to_bytes(3, "big") for count in counts)
    return bytes([0xA0, counter % 256]) + words + aux + bytes([end])


def stamped(counter: int, ms: int, counts: Sequence[int] = (0,) * 8, word: int = 0, end=0xC4):
    """Return the 33 bytes of a frame with a time stamp."""
    return frame(counter, counts, struct.pack(">hI", word, ms % 2**32), end)


def noisy(seed: int, n: int) -> list[list[int]]:
    """Return counts for n frames that use all 24 bits."""
    return np.random.default_rng(seed).integers(-(2**23), 2**23, (n, 8)).tolist()


def stream(n: int, *, first: int = 0, seed: int = 0, stamps: bool = True) -> list[bytes]:
    """Return n frames in a row, of a board that stamps, or of one that has nothing in aux."""
    counts = noisy(seed, n)
    if stamps:
        return [stamped(first + i, 5000 + 4 * (first + i), counts[i]) for i in range(n)]
    return [frame(first + i, counts[i]) for i in range(n)]


def feed_all(board: Board, pieces: Sequence[bytes]) -> Frames:
    """Feed pieces one by one and return all frames together."""
    parts = [board.feed(piece) for piece in pieces]
    starts = np.cumsum([0, *(part.n_times for part in parts)])
    return Frames(
        counter=np.concatenate([part.counter for part in parts]),
        counts=np.concatenate([part.counts for part in parts], axis=1),
        aux=np.concatenate([part.aux for part in parts], axis=1),
        board_ms=np.concatenate([part.board_ms for part in parts]),
        markers=tuple(
            (int(start) + column, value)
            for start, part in zip(starts, parts, strict=False)
            for column, value in part.markers
        ),
        n_discarded=sum(part.n_discarded for part in parts),
    )


def assert_same(found: Frames, expected: Frames) -> None:
    """Assert that two lots of frames say the same."""
    np.testing.assert_array_equal(found.counter, expected.counter)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.aux, expected.aux)
    np.testing.assert_array_equal(found.board_ms, expected.board_ms)
    assert found.markers == expected.markers


def converse(board: Board, answers: Sequence[tuple[bytes, bytes]]) -> BoardInfo:
    """Play the board's side of a handshake: each command in turn, and what comes back."""
    script: Iterator[tuple[bytes, bytes]] = iter(answers)
    conversation = board.handshake()
    answer: bytes | None = None
    while True:
        try:
            ask = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration as end:
            assert list(script) == [], "the driver stopped before the script did"
            return end.value
        assert isinstance(ask, Ask)
        command, answer = next(script, (b"(end of the script)", b""))
        assert ask.command == command
