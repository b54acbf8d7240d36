"""From literal bytes to numbers: counts, microvolts, g, volts, pins, markers, milliseconds."""

import struct

import numpy as np
import pytest

from devices.boards.cyton import Cyton
from tests.devices.boards.wire import assert_same, feed_all, frame, noisy, stamped, stream
from tests.machine import ROOT

SD_LOG = ROOT / "tests" / "data" / "OBCI-01.TXT"


def test_24_bits_are_twos_complement_with_the_high_byte_first():
    one = bytes.fromhex(
        "a0 07 000000 000001 7fffff 800000 ffffff 123456 edcba9 00ff00 000000000000 c0"
    )
    frames = Cyton().feed(one + frame(8))
    assert frames.counts[:, 0].tolist() == [
        *(0, 1, 8388607, -8388608, -1, 0x123456, -0x123457, 65280),
    ]
    assert frames.counter.tolist() == [7, 8]
    assert frames.counts.dtype == np.int32
    assert frames.counter.dtype == np.int64


def test_a_count_at_gain_24_is_the_datasheets_0_02235_microvolts():
    assert Cyton().scale_uv == pytest.approx([0.02235] * 8, rel=1e-4)
    assert Cyton().scale_uv[0] == pytest.approx(4.5 / 24 / (2**23 - 1) * 1e6, rel=1e-15)


def test_every_channel_is_scaled_by_its_own_gain():
    board = Cyton({"gains": [1, 2, 4, 6, 8, 12, 24, 24]})
    full_scale_v = board.scale_uv * (2**23 - 1) * 1e-6
    assert full_scale_v == pytest.approx([4.5, 2.25, 1.125, 0.75, 0.5625, 0.375, 0.1875, 0.1875])


def test_the_accelerometer_is_in_g_and_nan_where_it_had_no_new_reading():
    reading = struct.pack(">3h", 8000, -8000, 4000)
    frames = Cyton().feed(frame(0) + frame(1, aux=reading) + frame(2))
    np.testing.assert_array_equal(frames.aux[:3, 1], np.float32([1.0, -1.0, 0.5]))
    assert np.isnan(frames.aux[:3, [0, 2]]).all()
    assert np.isnan(frames.aux[3:]).all()
    assert np.isnan(frames.board_ms).all()


def test_with_time_stamps_the_axes_come_one_after_the_other():
    words = {7: 8000, 8: 0, 9: -4000}
    frames = Cyton().feed(b"".join(stamped(i, 40 + 4 * i, word=words.get(i, 0)) for i in range(12)))
    np.testing.assert_array_equal(frames.board_ms, 40 + 4.0 * np.arange(12))
    assert frames.aux[0, 7] == 1.0
    assert frames.aux[1, 8] == 0.0
    assert frames.aux[2, 9] == -0.5
    assert np.isfinite(frames.aux).sum() == 3


def test_the_first_frame_after_the_stamp_command_ends_otherwise_and_counts_as_stamped():
    frames = Cyton().feed(stamped(0, 900, end=0xC3) + stamped(1, 904) + stamped(2, 908))
    assert frames.board_ms.tolist() == [900, 904, 908]


def test_the_boards_clock_wraps_after_49_days_and_frames_go_on():
    pieces = [stamped(i, 2**32 - 8 + 4 * i) for i in range(6)]
    frames = feed_all(Cyton(), pieces)
    assert frames.board_ms.tolist() == [2**32 - 8, 2**32 - 4, 0, 4, 8, 12]


def test_analog_pins_are_in_volts():
    aux = struct.pack(">3H", 0, 512, 1023)
    board = Cyton({"mode": "analog"})
    frames = board.feed(frame(0, aux=aux, end=0xC1) + frame(1, aux=aux, end=0xC1))
    assert board.aux_names == ("accel_x", "accel_y", "accel_z", "A5", "A6", "A7")
    assert frames.aux[3:, 0] == pytest.approx([0.0, 1.65, 3.2968], abs=1e-4)
    assert np.isnan(frames.aux[:3]).all()


def test_with_time_stamps_there_is_room_for_one_analog_pin():
    board = Cyton({"mode": "analog", "timestamps": True})
    frames = board.feed(b"".join(stamped(i, 4 * i, word=256, end=0xC6) for i in range(2)))
    assert frames.aux[3].tolist() == pytest.approx([0.825, 0.825])
    assert np.isnan(frames.aux[4:]).all()
    assert frames.board_ms.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("aux", "pins"),
    [
        ("0100 0000 0000", [1, 0, 0, 0, 0]),
        ("0001 0000 0000", [0, 1, 0, 0, 0]),
        ("0000 0100 0000", [0, 0, 1, 0, 0]),
        ("0000 0001 0000", [0, 0, 0, 1, 0]),
        ("0101 0101 0001", [1, 1, 1, 1, 1]),
        ("0000 0000 0000", [0, 0, 0, 0, 0]),
    ],
)
def test_digital_pins_are_where_the_firmware_puts_them(aux, pins):
    board = Cyton({"mode": "digital"})
    one = frame(3, aux=bytes.fromhex(aux), end=0xC1)
    frames = board.feed(one + frame(4, end=0xC1))
    assert board.aux_names[3:] == ("D11", "D12", "D13", "D17", "D18")
    assert frames.aux[3:, 0].tolist() == pins


def test_a_marker_is_the_character_that_was_sent_and_sits_on_its_frame():
    board = Cyton({"mode": "marker"})
    words = {3: ord("5"), 6: -1}  # the firmware extends the sign of 255
    frames = board.feed(
        b"".join(stamped(i, 4 * i, word=words.get(i, 0), end=0xC6) for i in range(9))
    )
    assert frames.markers == ((3, ord("5")), (6, 255))
    assert board.aux_names == ("accel_x", "accel_y", "accel_z")


def test_aux_words_are_no_markers_in_other_modes():
    aux = struct.pack(">3H", 65, 0, 0)
    frames = Cyton({"mode": "analog"}).feed(frame(0, aux=aux, end=0xC1) + frame(1, end=0xC1))
    assert frames.markers == ()


def test_user_defined_frames_keep_their_counts():
    counts = noisy(1, 2)
    frames = Cyton().feed(frame(0, counts[0], b"abcdef", 0xC2) + frame(1, counts[1], end=0xC2))
    assert frames.counts.T.tolist() == counts
    assert np.isnan(frames.aux).all()


def test_frames_are_the_same_wherever_the_bytes_are_cut():
    reading = struct.pack(">3h", 100, 200, 300)
    data = b"".join(stream(3)) + b"".join([frame(3), frame(4, aux=reading), frame(5), frame(6)])
    whole = Cyton().feed(data)
    assert whole.n_times == 7
    for cut in range(len(data) + 1):
        assert_same(feed_all(Cyton(), [data[:cut], data[cut:]]), whole)
    assert_same(feed_all(Cyton(), [data[i : i + 1] for i in range(len(data))]), whole)


def test_what_encode_writes_feed_reads():
    board = Cyton()
    frames = board.feed(b"".join(stream(40, seed=4)))
    assert_same(Cyton().feed(board.encode(frames)), frames)
    assert board.encode(frames) == b"".join(stream(40, seed=4))


@pytest.mark.parametrize(
    ("mode", "end", "words"),
    [
        ("default", 0xC0, (800, -160, 16)),
        ("analog", 0xC1, (1, 512, 1023)),
        ("digital", 0xC1, (0x0101, 0x0100, 1)),
        ("marker", 0xC1, (66, 0, 0)),
    ],
)
def test_encode_keeps_aux_and_markers(mode, end, words):
    board = Cyton({"mode": mode, "timestamps": False})
    auxes = [bytes(6), struct.pack(">3h", *words)] * 5
    sent = b"".join(frame(i, aux=aux, end=end) for i, aux in enumerate(auxes))
    frames = board.feed(sent + frame(10, end=end))
    assert frames.n_times == 11
    assert board.encode(frames)[:-33] == sent


@pytest.mark.parametrize(("mode", "end"), [("default", 0xC4), ("analog", 0xC6), ("marker", 0xC6)])
def test_encode_keeps_aux_and_markers_beside_time_stamps(mode, end):
    board = Cyton({"mode": mode, "timestamps": True})
    words = [0, 160, -32, 48] if mode == "default" else [66, 67, 68, 69]
    sent = b"".join(stamped(6 + i, 4 * i, word=word, end=end) for i, word in enumerate(words))
    assert board.encode(board.feed(sent)) == sent


def test_a_marker_in_the_frame_that_first_carries_a_time_is_one_marker():
    sent = [
        stamped(0, 0, word=66, end=0xC5),
        stamped(1, 4, word=66, end=0xC6),  # the firmware has not cleared it
        stamped(2, 8, word=0, end=0xC6),
        stamped(3, 12, word=66, end=0xC6),
        stamped(4, 16, word=66, end=0xC6),
    ]
    for pieces in ([b"".join(sent)], sent):
        frames = feed_all(Cyton({"mode": "marker"}), pieces)
        assert frames.markers == ((0, 66), (3, 66), (4, 66))


def test_a_real_recordings_counts_come_back_bit_for_bit_and_in_a_hearts_range():
    lines = [line.split(",") for line in SD_LOG.read_text().splitlines() if "," in line]
    words = [bytes.fromhex("".join(line[1:9])) for line in lines if len(line) >= 9]
    sent = [
        bytes([0xA0, int(line[0], 16)]) + word + bytes(6) + b"\xc0"
        for line, word in zip(lines, words, strict=True)
    ]
    frames = Cyton().feed(b"".join(sent))
    expected = [
        [int.from_bytes(word[3 * i : 3 * i + 3], "big", signed=True) for word in words]
        for i in range(8)
    ]
    assert frames.n_times == len(words) == 3282
    np.testing.assert_array_equal(frames.counts, expected)
    microvolts = frames.counts * Cyton().scale_uv[:, np.newaxis]
    assert np.abs(microvolts).max() <= 187_500.1  # the rails at gain 24
