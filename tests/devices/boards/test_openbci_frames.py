"""The rule by which frames are found in damaged bytes, each clause of it."""

import struct

import numpy as np
import pytest

from devices.boards._openbci_frames import FRAME_BYTES, FrameFinder
from tests.devices.boards.wire import frame, noisy, stamped, stream


def find(*pieces: bytes) -> list[bytes]:
    """Feed one byte at a time, as a slow line would, and return the frames."""
    finder = FrameFinder()
    data = b"".join(pieces)
    return [finder.feed(data[i : i + 1])[0].tobytes() for i in range(len(data))]


def found(*pieces: bytes) -> list[bytes]:
    """Return the frames one by one."""
    rows = b"".join(find(*pieces))
    return [rows[i : i + FRAME_BYTES] for i in range(0, len(rows), FRAME_BYTES)]


@pytest.fixture(params=[True, False], ids=["stamped", "plain"])
def sent(request):
    return stream(12, first=250, stamps=request.param)  # the counter wraps on the way


def test_every_frame_of_an_undamaged_stream_is_there_the_moment_it_is_whole(sent):
    arrived = find(*sent)
    # The first frame of all waits for the next to speak for it; no other waits.
    for i in range(2, 12):
        assert arrived[FRAME_BYTES * (i + 1) - 1] == sent[i]
    assert b"".join(arrived) == b"".join(sent)


def test_a_corrupt_mark_costs_one_frame_and_delays_none(sent):
    for place in (0, 32):
        broken = bytearray(sent[5])
        broken[place] ^= 0x15
        arrived = find(*sent[:5], bytes(broken), *sent[6:])
        assert b"".join(arrived) == b"".join(sent[:5] + sent[6:])
        assert arrived[FRAME_BYTES * 7 - 1] == sent[6]


def test_a_corrupt_time_stamp_costs_that_frame_only():
    sent = stream(12)
    for place in (28, 29, 30):
        broken = bytearray(sent[5])
        broken[place] ^= 0x40
        arrived = find(*sent[:5], bytes(broken), *sent[6:])
        assert b"".join(arrived) == b"".join(sent[:5] + sent[6:])
        assert arrived[FRAME_BYTES * 7 - 1] == sent[6]


def test_a_corrupt_counter_costs_that_frame_only():
    sent = stream(12)
    for wrong in (0, 4, 6, 7, 69, 255):
        broken = bytearray(sent[5])
        broken[1] = wrong
        assert found(*sent[:5], bytes(broken), *sent[6:]) == sent[:5] + sent[6:]


def test_a_corrupt_end_byte_does_not_change_what_a_frame_says(sent):
    for end in set(range(0xC0, 0xC7)) - {sent[5][32], sent[5][32] - 1}:
        broken = sent[5][:32] + bytes([end])
        assert found(*sent[:5], broken, *sent[6:]) == sent[:5] + sent[6:]


def test_any_corrupt_byte_anywhere_costs_one_frame_at_most(sent):
    data = b"".join(sent)
    for place in range(2 * FRAME_BYTES, 4 * FRAME_BYTES):
        for value in (0x00, 0xA0, 0xC0, data[place] ^ 0x01, data[place] ^ 0xFF):
            damaged = data[:place] + bytes([value]) + data[place + 1 :]
            kept = FrameFinder().feed(damaged)[0].tobytes()
            whole = [kept[i : i + FRAME_BYTES] for i in range(0, len(kept), FRAME_BYTES)]
            hit = place // FRAME_BYTES
            assert [one for one in whole if one in sent] == [
                one for i, one in enumerate(sent) if i != hit or damaged == data
            ]
            assert len(whole) <= len(sent)


def test_lost_bytes_cost_the_frame_they_are_missing_from(sent):
    data = b"".join(sent)
    for place in range(4 * FRAME_BYTES, 5 * FRAME_BYTES):
        for n_lost in range(1, 5 * FRAME_BYTES - place + 1):
            kept = FrameFinder().feed(data[:place] + data[place + n_lost :])[0].tobytes()
            assert kept == b"".join(sent[:4] + sent[5:]), (place, n_lost)


def test_bytes_that_do_not_belong_cost_no_frame_between_frames(sent):
    for extra in (b"\xa0", b"\xc0", b"\x00" * 40, b"\xa0" * 33, b"Failure: too few chars$$$"):
        rows, n_discarded = FrameFinder().feed(b"".join([*sent[:6], extra, *sent[6:]]))
        assert rows.tobytes() == b"".join(sent)
        assert n_discarded == len(extra)


def test_a_head_and_a_chance_end_byte_make_no_frame(sent):
    # 7 bytes are lost from frame 5, and frame 6 has an end byte where that of frame 5 would be.
    cut = sent[5][:20] + sent[5][27:]
    sixth = bytearray(sent[6])
    sixth[32 - len(cut)] = sent[6][32]
    sent = [*sent[:6], bytes(sixth), *sent[7:]]
    assert (cut + sent[6])[32] == sent[5][32]
    assert found(*sent[:5], cut, *sent[6:]) == sent[:5] + sent[6:]


def test_marks_that_repeat_in_the_payload_are_not_taken_for_frames():
    # Every frame has C0 A0 in a channel that stands still: marks 33 bytes apart, for ever.
    counts = [[row[0], row[1], -0x3F5F01, *row[3:]] for row in noisy(5, 40)]
    sent = [frame(i, row) for i, row in enumerate(counts)]
    assert b"\xc0\xa0" in sent[0]
    data = b"".join(sent)
    for begin in range(1, FRAME_BYTES + 1):
        assert found(data[begin:]) == sent[1:]
    for place in range(10 * FRAME_BYTES, 11 * FRAME_BYTES):
        kept = FrameFinder().feed(data[:place] + data[place + 1 :])[0].tobytes()
        assert kept == b"".join(sent[:10] + sent[11:])


def test_frames_that_the_radio_lost_whole_do_not_delay_the_next(sent):
    arrived = find(*sent[:4], *sent[7:])
    assert b"".join(arrived) == b"".join(sent[:4] + sent[7:])
    assert arrived[FRAME_BYTES * 5 - 1] == sent[7]


def test_a_frame_between_two_losses_is_kept(sent):
    kept = [*sent[:3], sent[5], sent[8], *sent[10:]]
    assert found(*kept) == kept


def test_a_plain_frame_with_a_reading_waits_for_the_next_head():
    reading = struct.pack(">3h", 80, -160, 7800)
    sent = stream(6, stamps=False)
    sent[3] = sent[3][:26] + reading + b"\xc0"
    arrived = find(*sent)
    assert b"".join(arrived) == b"".join(sent)
    assert arrived[4 * FRAME_BYTES - 1] == b""
    assert arrived[4 * FRAME_BYTES + 1] == sent[3]


def test_a_plain_frame_with_a_reading_survives_damage_to_the_next():
    reading = struct.pack(">3h", 80, -160, 7800)
    sent = stream(8, stamps=False)
    sent[3] = sent[3][:26] + reading + b"\xc0"
    for place in range(FRAME_BYTES):
        broken = bytearray(sent[4])
        broken[place] ^= 0x81
        whole = found(*sent[:4], bytes(broken), *sent[5:])
        assert [one for one in whole if one != bytes(broken)] == sent[:4] + sent[5:]


def test_a_plain_frame_with_a_reading_survives_losses_on_both_sides():
    reading = struct.pack(">3h", 80, -160, 7800)
    sent = stream(12, stamps=False)
    sent[5] = sent[5][:26] + reading + b"\xc0"
    kept = [*sent[:3], sent[5], *sent[8:]]
    assert found(*kept) == kept


def test_a_board_that_begins_anew_is_followed():
    before, after = stream(8, first=40), stream(8, seed=9)
    restarted = [stamped(i, 100 + 4 * i, noisy(9, 8)[i]) for i in range(8)]
    assert found(*before, *after) == before + after
    assert found(*before, *restarted) == before + restarted


def test_switching_stamps_on_and_off_in_mid_stream_loses_nothing():
    plain = [frame(i, row) for i, row in enumerate(noisy(1, 4))]
    first = stamped(4, 1000, noisy(2, 1)[0], end=0xC3)
    rest = [stamped(5 + i, 1004 + 4 * i, row) for i, row in enumerate(noisy(3, 4))]
    again = [frame(9 + i, row) for i, row in enumerate(noisy(4, 4))]
    sent = [*plain, first, *rest, *again]
    assert found(*sent) == sent


def test_a_board_that_pauses_and_goes_on_is_followed():
    # While the firmware is busy it takes no samples: time passes and the counter does not.
    sent = [stamped(i, 4 * i + (300 if i >= 6 else 0), row) for i, row in enumerate(noisy(2, 12))]
    assert found(*sent) == sent


def test_a_stamp_that_is_late_by_a_few_milliseconds_is_no_damage():
    jitter = np.random.default_rng(8).integers(0, 9, 40)
    jitter[-2:] = 0  # nobody would speak for a late last frame
    sent = [stamped(i, 4 * i + int(jitter[i]), row) for i, row in enumerate(noisy(2, 40))]
    assert found(*sent) == sent


def test_after_a_reset_no_frame_speaks_for_the_next():
    sent = stream(6)
    finder = FrameFinder()
    assert len(finder.feed(b"".join(sent[:3]) + sent[3][:20])[0]) == 3
    finder.reset()
    rows, n_discarded = finder.feed(sent[3][20:] + sent[4])
    assert (len(rows), n_discarded) == (0, 13)
    assert finder.feed(sent[5])[0].tobytes() == sent[4] + sent[5]


def test_every_byte_is_in_a_frame_or_counted_as_discarded():
    sent = stream(20)
    data = b"".join([b"garbage", *sent[:5], sent[5][:11], *sent[6:12], b"\xa0", *sent[12:]])
    finder = FrameFinder()
    parts = [finder.feed(data[i : i + 10]) for i in range(0, len(data), 10)]
    n_frames = sum(len(rows) for rows, _ in parts)
    assert n_frames == 19
    assert sum(n for _, n in parts) == len(data) - 19 * FRAME_BYTES == 7 + 11 + 1
