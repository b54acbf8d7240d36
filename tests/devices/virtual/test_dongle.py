import pytest

from devices.virtual.dongle import TIMEOUT, Dongle


def test_what_is_for_the_board_is_passed_on():
    assert Dongle().receive(b"x1060110X", in_reach=True) == (b"", b"x1060110X")


@pytest.mark.parametrize(
    ("message", "near", "far"),
    [
        (b"\xf0\x07", b"Success: System is Up$$$", b"Failure: System is Down$$$"),
        (
            b"\xf0\x00",
            b"Success: Host and Device on Channel number: 20\x14$$$",
            b"Failure: Host on Channel number: 20\x14$$$",
        ),
        (b"\xf0\x03", b"Success: Poll time: 80P$$$", TIMEOUT),
        (b"v", b"", TIMEOUT),
    ],
)
def test_the_dongle_answers_for_a_board_that_is_out_of_reach(message, near, far):
    assert Dongle().receive(message, in_reach=True)[0] == near
    assert Dongle().receive(message, in_reach=False) == (far, b"")


def test_a_dongle_on_another_channel_does_not_hear_the_board():
    dongle = Dongle(channel=20)
    assert dongle.receive(b"\xf0\x02\x05", in_reach=True)[0].startswith(b"Success: Host override")
    assert not dongle.hears(in_reach=True)
    assert dongle.receive(b"v", in_reach=True) == (TIMEOUT, b"")
    dongle.receive(b"\xf0\x02\x14", in_reach=True)
    assert dongle.hears(in_reach=True)


def test_both_change_the_channel_together():
    dongle = Dongle()
    dongle.receive(b"\xf0\x01\x03", in_reach=True)
    assert dongle.hears(in_reach=True)
    assert b"less than 25" in dongle.receive(b"\xf0\x01\x1a", in_reach=True)[0]


def test_a_lone_time_stamp_command_is_acknowledged():
    assert Dongle().receive(b"<", in_reach=True) == (b",", b"<")
