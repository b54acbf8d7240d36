"""What every board promises, whoever wrote it. A new file in `devices/boards` is tested here.

Bytes are made by the board's own `encode`, so nothing here knows any protocol.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from devices.boards import Ask, Board, BoardInfo, Frames, boards
from devices.errors import InvalidBoardSettingsError
from neurascale.core.errors import HardwareError

N_TIMES = 12
PLUGINS = list(boards)
MAX_SECONDS = 60  # that a handshake may take, whatever comes back
MAX_TURNS = 200
GARBAGE = [
    b"",
    b"$$$",
    b"\xa0" * 100,
    b"ERROR\r\n",
    bytes(range(256)) * 4,
    b"Failure: Communications timeout - Device failed to poll Host$$$",
]


@pytest.fixture(params=PLUGINS, ids=[plugin.name for plugin in PLUGINS])
def plugin(request):
    return request.param


@pytest.fixture
def board(plugin) -> Board:
    return plugin.make(dict(plugin.example))


def some_frames(board: Board, *, has_clock: bool, n_times: int = N_TIMES, seed: int = 0) -> Frames:
    """Return frames of a board that counts on, with noise for a signal; its counter wraps."""
    first = board.counter_modulus - n_times // 2
    index = np.arange(first, first + n_times)
    counts = np.random.default_rng(seed).integers(-(2**15), 2**15, (board.n_channels, n_times))
    return Frames(
        counter=index % board.counter_modulus,
        counts=counts.astype(np.int32),
        aux=np.full((len(board.aux_names), n_times), np.nan, dtype=np.float32),
        board_ms=index * 1000 / board.sfreq if has_clock else np.full(n_times, np.nan),
    )


@pytest.fixture(params=[True, False], ids=["clock", "no_clock"])
def sent(request, board) -> Frames:
    return some_frames(board, has_clock=request.param)


def columns(frames: Frames) -> list[tuple[int, ...]]:
    """Return counter and counts of each sample, to compare."""
    return [
        (int(counter), *map(int, counts))
        for counter, counts in zip(frames.counter, frames.counts.T, strict=True)
    ]


def fed(board: Board, *pieces: bytes) -> list[tuple[int, ...]]:
    board.reset()
    return [column for piece in pieces for column in columns(board.feed(piece))]


def test_a_board_says_what_it_is(plugin, board):
    assert plugin.make.label
    assert plugin.make.type
    assert plugin.summary
    assert board.sfreq > 0
    assert board.baudrate > 0
    assert board.counter_modulus > 1
    assert len(set(board.ch_names)) == board.n_channels > 0
    assert len(set(board.aux_names)) == len(board.aux_names)
    assert board.scale_uv.shape == (board.n_channels,)
    assert (board.scale_uv > 0).all()
    assert isinstance(board.start_command, bytes)
    assert isinstance(board.stop_command, bytes)


def test_labels_tell_boards_apart():
    labels = [plugin.make.label for plugin in PLUGINS]
    assert len(set(labels)) == len(labels)


def test_a_board_needs_no_settings(plugin):
    assert plugin.make().n_channels == plugin.make({}).n_channels == plugin.make(None).n_channels


def test_an_unknown_setting_is_refused(plugin):
    with pytest.raises(InvalidBoardSettingsError) as caught:
        plugin.make({**plugin.example, "no_such_setting": 1})
    json.dumps(caught.value.details)


def test_what_was_encoded_is_read_back(board, sent):
    frames = board.feed(board.encode(sent))
    assert columns(frames) == columns(sent)[: frames.n_times]
    assert frames.n_times >= N_TIMES - 1  # the last may wait for what comes after it
    assert frames.n_discarded == 0
    assert frames.markers == ()


def test_frames_have_the_shapes_and_types_that_are_promised(board, sent):
    for data in (b"", board.encode(sent)):
        frames = board.feed(data)
        n_times = frames.counter.size
        assert frames.counts.shape == (board.n_channels, n_times)
        assert frames.aux.shape == (len(board.aux_names), n_times)
        assert frames.board_ms.shape == (n_times,)
        assert frames.counter.dtype == np.int64
        assert frames.counts.dtype == np.int32
        assert frames.aux.dtype == np.float32
        assert frames.board_ms.dtype == np.float64
        assert ((frames.counter >= 0) & (frames.counter < board.counter_modulus)).all()


def test_any_cut_gives_the_same_frames(board, sent):
    data = board.encode(sent)
    whole = fed(board, data)
    for cut in range(len(data) + 1):
        assert fed(board, data[:cut], data[cut:]) == whole
    assert fed(board, *(data[i : i + 1] for i in range(len(data)))) == whole


def test_any_corrupt_byte_costs_one_frame_at_most(board, sent):
    data = board.encode(sent)
    whole = fed(board, data)
    rng = np.random.default_rng(1)
    for place in range(len(data)):
        wrong = data[place] ^ int(rng.integers(1, 256))
        found = fed(board, data[:place] + bytes([wrong]) + data[place + 1 :])
        unharmed = [column for column in found if column in whole]
        # One frame may be lost or say something else, the last may wait for more bytes.
        assert len(found) - len(unharmed) <= 1
        assert len(unharmed) >= len(whole) - 2
        assert unharmed == [column for column in whole if column in unharmed]
        if place < len(data) * (N_TIMES - 3) // N_TIMES:
            assert len(unharmed) >= len(whole) - 1


def test_any_lost_byte_costs_one_frame_at_most(board, sent):
    data = board.encode(sent)
    whole = fed(board, data)
    for place in range(len(data) * (N_TIMES - 3) // N_TIMES):
        found = fed(board, data[:place] + data[place + 1 :])
        assert [column for column in found if column not in whole] == []
        assert len(found) >= len(whole) - 1


def test_after_rubbish_a_board_is_back_within_two_frames(board, sent):
    data = board.encode(sent)
    whole = fed(board, data)
    for rubbish in GARBAGE[1:]:
        found = fed(board, rubbish, data)
        assert found[-(N_TIMES - 3) :] == whole[-(N_TIMES - 3) :]


def test_noise_neither_raises_nor_is_hoarded_nor_believed(board):
    noise = np.random.default_rng(2).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    n_times = n_discarded = 0
    for i in range(0, len(noise), 997):
        frames = board.feed(noise[i : i + 997])
        n_times += frames.n_times
        n_discarded += frames.n_discarded
    assert n_times <= 1
    assert n_discarded > len(noise) - 4096


def test_a_reset_forgets_half_received_bytes(board, sent):
    data = board.encode(sent)
    frame_bytes = len(data) // N_TIMES
    board.feed(data[: 3 * frame_bytes + frame_bytes // 2])
    board.reset()
    found = columns(board.feed(data[4 * frame_bytes :]))
    assert found == columns(sent)[4 : 4 + len(found)]
    assert len(found) >= N_TIMES - 5


def test_two_boards_of_a_kind_share_nothing(plugin, sent):
    one, other = plugin.make(dict(plugin.example)), plugin.make(dict(plugin.example))
    data = one.encode(sent)
    half = len(data) // N_TIMES // 2
    one.feed(data[:half])
    assert fed(other, data) == fed(one, data)


def converse(board: Board, garbage: bytes) -> tuple[BoardInfo | HardwareError, float]:
    """Answer every question with the same garbage; return how it ended, and after how long."""
    conversation = board.handshake()
    seconds, answer = 0.0, None
    for _ in range(MAX_TURNS):
        try:
            ask = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration as end:
            return end.value, seconds
        except HardwareError as error:
            return error, seconds
        assert isinstance(ask, Ask)
        answer = garbage if ask.until else b""
        # An answer that does not end as it should is handed over when the time is up.
        if ask.until and not answer.endswith(ask.until):
            seconds += ask.timeout
    pytest.fail(f"still asking after {MAX_TURNS} turns")


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_handshake_ends_whatever_answers(board, garbage):
    outcome, seconds = converse(board, garbage)
    assert seconds <= MAX_SECONDS
    if isinstance(outcome, HardwareError):
        assert outcome.details["suggestion"]
        json.dumps(outcome.details)
    else:
        assert isinstance(outcome, BoardInfo)
