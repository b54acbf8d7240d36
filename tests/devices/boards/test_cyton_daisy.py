"""Pairs of frames: which half is whose, what a lost half costs, what the counter means."""

import struct

import numpy as np
import pytest

from devices.boards.cyton_daisy import CytonDaisy
from tests.devices.boards.wire import assert_same, feed_all, frame, noisy, stamped, stream


@pytest.fixture(params=[True, False], ids=["stamped", "plain"])
def sent(request):
    return stream(20, stamps=request.param)


def test_the_odd_frame_is_the_boards_and_the_even_one_before_it_the_daisys():
    daisy, board = noisy(1, 2)
    frames = CytonDaisy().feed(frame(6, daisy) + frame(7, board) + frame(8))
    assert frames.counts[:, 0].tolist() == board + daisy
    assert frames.counter.tolist() == [3]


def test_a_sample_is_there_with_its_second_half(sent):
    board = CytonDaisy()
    counts = [board.feed(one).n_times for one in sent]
    assert counts == [0, 1] * 10


def test_the_counter_goes_up_by_one_a_sample_and_wraps_at_128():
    board = CytonDaisy()
    frames = board.feed(b"".join(stream(20, first=246)))
    assert board.counter_modulus == 128
    assert frames.counter.tolist() == [123, 124, 125, 126, 127, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("lost", [6, 7])
def test_a_lost_half_costs_one_sample_only(sent, lost):
    whole = CytonDaisy().feed(b"".join(sent))
    frames = CytonDaisy().feed(b"".join(sent[:lost] + sent[lost + 1 :]))
    assert frames.counter.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(frames.counts, np.delete(whole.counts, 3, axis=1))
    assert frames.n_discarded == 33


def test_halves_of_neighbouring_samples_are_not_joined(sent):
    frames = CytonDaisy().feed(b"".join(sent[:6] + sent[8:]))
    assert frames.counter.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    frames = CytonDaisy().feed(b"".join(sent[:7] + sent[9:]))  # 6 and 9
    assert frames.counter.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]


def test_halves_a_whole_turn_of_the_counter_apart_are_not_joined():
    before, after = stream(7), stream(12, first=263)
    frames = CytonDaisy().feed(b"".join(before + after))
    assert frames.counter.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_half_that_waited_before_a_reset_is_forgotten(sent):
    board = CytonDaisy()
    assert board.feed(b"".join(sent[:5])).n_times == 2
    board.reset()
    assert board.feed(b"".join(sent[5:])).counter.tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_the_time_is_that_of_the_second_half():
    frames = CytonDaisy().feed(b"".join(stamped(i, 100 + 4 * i) for i in range(6)))
    assert frames.board_ms.tolist() == [104, 112, 120]


def test_the_accelerometer_comes_from_whichever_half_carried_it():
    words = {7: 8000, 8: 1600, 9: -8000}
    sent = [stamped(i, 4 * i, word=words.get(i, 0)) for i in range(12)]
    frames = CytonDaisy().feed(b"".join(sent))
    assert frames.aux[0, 3] == 1.0
    assert frames.aux[1, 4] == pytest.approx(0.2)
    assert frames.aux[2, 4] == -1.0
    assert np.isfinite(frames.aux).sum() == 3


def test_analog_pins_are_averaged_like_the_channels_and_a_digital_pulse_is_kept():
    analog = CytonDaisy({"mode": "analog"})
    words = [struct.pack(">3H", 100, 0, 0), struct.pack(">3H", 300, 0, 0)]
    frames = analog.feed(b"".join(frame(i, aux=words[i % 2], end=0xC1) for i in range(5)))
    assert frames.aux[3] == pytest.approx([200 * 3.3 / 1024] * 2)
    digital = CytonDaisy({"mode": "digital"})
    pulse = struct.pack(">3H", 0x0100, 0, 0)
    auxes = [bytes(6), pulse, pulse, bytes(6), bytes(6), bytes(6), bytes(6)]
    frames = digital.feed(b"".join(frame(i, aux=aux, end=0xC1) for i, aux in enumerate(auxes)))
    assert frames.aux[3].tolist() == [1, 1, 0]


def test_a_marker_in_either_half_is_on_the_sample():
    board = CytonDaisy({"mode": "marker"})
    words = {4: 49, 9: 50}
    sent = [stamped(i, 4 * i, word=words.get(i, 0), end=0xC6) for i in range(12)]
    assert board.feed(b"".join(sent)).markers == ((2, 49), (4, 50))


def test_frames_are_the_same_wherever_the_bytes_are_cut(sent):
    data = b"".join(sent[:8])
    whole = CytonDaisy().feed(data)
    assert whole.n_times == 4
    for cut in range(len(data) + 1):
        assert_same(feed_all(CytonDaisy(), [data[:cut], data[cut:]]), whole)


def test_what_encode_writes_feed_reads():
    board = CytonDaisy()
    data = b"".join(stream(20, seed=3))
    frames = board.feed(data)
    assert board.encode(frames) == data
