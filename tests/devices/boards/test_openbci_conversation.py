"""What is said to a Cyton, what it answers, and what is made of it."""

import pytest

from devices.boards._openbci import marker_command
from devices.boards.cyton import Cyton
from devices.boards.cyton_daisy import CytonDaisy
from devices.errors import BoardRefusedError, NoAnswerError, WrongBoardError
from tests.devices.boards.wire import converse, stream

BANNER = (
    b"OpenBCI V3 8-16 channel\nOn Board ADS1299 Device ID: 0x3E\n"
    b"LIS3DH Device ID: 0x33\nFirmware: v3.1.2\n$$$"
)
DAISY_BANNER = BANNER.replace(b"LIS3DH", b"On Daisy ADS1299 Device ID: 0x3E\nLIS3DH")
GREETING = [(b"s", b""), (b"v", BANNER)]
DAISY_GREETING = [(b"s", b""), (b"v", DAISY_BANNER)]
RATE = (b"~~", b"Success: Sample rate is 250Hz$$$")
MODE = (b"/0", b"Success: default$$$")
DEFAULTS = (b"d", b"updating channel settings to default$$$")
STAMPS = (b"<", b",Time stamp ON$$$")
TIMEOUT = b"Failure: Communications timeout - Device failed to poll Host$$$"
SILENCE = [(b"s", b""), (b"v", b"")]


def test_a_cyton_is_stopped_reset_and_set_up():
    info = converse(Cyton(), [*GREETING, RATE, MODE, DEFAULTS, STAMPS])
    assert (info.firmware, info.sfreq, info.n_channels) == ("3.1.2", 250.0, 8)
    assert info.details == {
        "daisy": False,
        "mode": "default",
        "timestamps": True,
        "gains": [24] * 8,
        "test_signal": None,
    }


def test_a_daisy_is_switched_off_for_eight_channels_at_250_hz():
    script = [*DAISY_GREETING, RATE, (b"c", b"daisy removed$$$"), MODE, DEFAULTS, STAMPS]
    info = converse(Cyton(), script)
    assert info.n_channels == 8
    assert info.details["daisy"] is True


def test_a_cyton_with_a_daisy_gives_sixteen_channels_at_125_hz():
    info = converse(CytonDaisy(), [*DAISY_GREETING, RATE, MODE, DEFAULTS, STAMPS])
    assert (info.sfreq, info.n_channels) == (125.0, 16)


def test_only_channels_that_differ_from_the_defaults_are_set():
    board = Cyton({"gains": [24, 24, 8, 24, 24, 24, 24, 1]})
    script = [
        *(*GREETING, RATE, MODE, DEFAULTS),
        (b"x3040110X", b"Success: Channel set for 3$$$"),
        (b"x8000110X", b"Success: Channel set for 8$$$"),
        STAMPS,
    ]
    assert converse(board, script).details["gains"] == [24, 24, 8, 24, 24, 24, 24, 1]


def test_a_daisys_channels_are_set_by_letter_and_confirmed_by_number():
    board = CytonDaisy({"gains": [24] * 15 + [2]})
    set_16 = (b"xI010110X", b"Success: Channel set for 16$$$")
    converse(board, [*DAISY_GREETING, RATE, MODE, DEFAULTS, set_16, STAMPS])


def test_a_test_signal_is_connected_after_the_channels_are_set():
    board = Cyton({"test_signal": "fast_2x", "timestamps": False, "gains": [1] + [24] * 7})
    script = [
        *(*GREETING, RATE, MODE, DEFAULTS),
        (b"x1000110X", b"Success: Channel set for 1$$$"),
        (b"]", b"Success: Configured internal test signal.$$$"),
        (b">", b"Time stamp OFF$$$"),
    ]
    assert converse(board, script).details["test_signal"] == "fast_2x"


@pytest.mark.parametrize(
    ("mode", "digit", "stamps"),
    [
        ("analog", b"2", (b">", b"Time stamp OFF$$$")),
        ("digital", b"3", (b">", b"Time stamp OFF$$$")),
        ("marker", b"4", STAMPS),
    ],
)
def test_the_board_mode_is_set(mode, digit, stamps):
    answer = b"Success: " + mode.encode() + b"$$$"
    converse(Cyton({"mode": mode}), [*GREETING, RATE, (b"/" + digit, answer), DEFAULTS, stamps])


def test_a_rate_left_over_from_a_wifi_shield_is_set_back_before_anything_else():
    # Otherwise the board would do it itself at `b`, and forget its channel settings.
    script = [
        *DAISY_GREETING,
        (b"~~", b"Success: Sample rate is 1000Hz$$$"),
        (b"~6", b"Success: Sample rate is 250Hz$$$"),
        (b"c", b"daisy removed$$$"),
        *(MODE, DEFAULTS, STAMPS),
    ]
    assert converse(Cyton(), script).sfreq == 250.0


def test_firmware_2_is_not_asked_what_only_firmware_3_knows():
    banner = BANNER.replace(b"v3.1.2", b"v2.0.1")
    info = converse(Cyton(), [(b"s", b""), (b"v", banner), DEFAULTS, STAMPS])
    assert info.firmware == "2.0.1"


def test_a_board_that_was_left_streaming_is_understood():
    garbage = b"".join(stream(30))[11:]
    converse(Cyton(), [(b"s", b""), (b"v", garbage + BANNER), RATE, MODE, DEFAULTS, STAMPS])


def test_dollars_among_the_leftovers_do_not_end_the_search_for_the_banner():
    script = [
        *((b"s", b""), (b"v", b"".join(stream(3)) + b"$$$"), (b"", BANNER)),
        *(RATE, MODE, DEFAULTS, STAMPS),
    ]
    assert converse(Cyton(), script).firmware == "3.1.2"


def test_a_command_that_somebody_left_open_swallows_the_first_reset_only():
    left_open = b"Timeout processing multi byte message - please send all commands at once$$$"
    script = [
        *((b"s", b""), (b"v", left_open), (b"", b"")),
        *(*GREETING, RATE, MODE, DEFAULTS, STAMPS),
    ]
    assert converse(Cyton(), script).firmware == "3.1.2"


def test_a_command_that_the_radio_lost_is_sent_again():
    script = [*GREETING, (b"~~", b""), RATE, MODE, (b"d", b""), DEFAULTS, STAMPS]
    assert converse(Cyton(), script).n_channels == 8


def test_an_answer_that_comes_late_is_waited_for():
    script = [*GREETING, (b"~~", b"$$$"), (b"", RATE[1]), MODE, DEFAULTS, STAMPS]
    assert converse(Cyton(), script).n_channels == 8


def test_silence_is_told_with_what_to_check():
    with pytest.raises(NoAnswerError, match="nothing answered") as caught:
        converse(Cyton(), SILENCE * 3)
    assert "switched to PC" in caught.value.details["suggestion"]


def test_a_dongle_without_a_board_is_told_from_silence():
    with pytest.raises(NoAnswerError, match="only the USB dongle") as caught:
        converse(Cyton(), [(b"s", b""), (b"v", TIMEOUT)] * 3)
    assert "radio channel" in caught.value.details["suggestion"]


def test_a_board_that_does_not_stop_is_told_from_another_board():
    frames = b"".join(stream(40))
    turn = [(b"s", b""), (b"v", frames), (b"", frames), (b"", frames)]
    with pytest.raises(NoAnswerError, match="does not stop") as caught:
        converse(Cyton(), turn * 3)
    assert "off and on" in caught.value.details["suggestion"]


def test_another_device_is_named_by_what_it_said():
    ganglion = b"OpenBCI Ganglion v2.0.1\nLIS2DH ID: 0x33\n$$$"
    turn = [(b"s", b""), (b"v", ganglion), (b"", b"")]
    with pytest.raises(WrongBoardError, match=r"OpenBCI Ganglion v2\.0\.1") as caught:
        converse(Cyton(), turn * 3)
    assert "set up as the board it is" in caught.value.details["suggestion"]


def test_a_daisy_that_is_not_there_is_told_with_both_ways_out():
    with pytest.raises(WrongBoardError, match="found no Daisy") as caught:
        converse(CytonDaisy(), GREETING)
    assert "Press the Daisy" in caught.value.details["suggestion"]
    assert "'cyton'" in caught.value.details["suggestion"]


def test_a_firmware_too_old_to_confirm_its_settings_is_refused():
    banner = b"OpenBCI V3 16 channel\nADS1299 Device ID: 0x3E\nLIS3DH Device ID: 0x33\n$$$"
    with pytest.raises(WrongBoardError, match=r"before 2\.0"):
        converse(Cyton(), [(b"s", b""), (b"v", banner)])


def test_a_board_mode_needs_firmware_3():
    banner = BANNER.replace(b"v3.1.2", b"v2.0.1")
    with pytest.raises(WrongBoardError, match=r"needs firmware 3; the board has 2\.0\.1"):
        converse(Cyton({"mode": "marker"}), [(b"s", b""), (b"v", banner)])


def test_a_setting_that_is_not_confirmed_ends_the_conversation():
    refusal = (b"/4", b"Failure: board mode value out of bounds.$$$")
    script = [*GREETING, RATE, refusal, (b"", b""), refusal, (b"", b"")]
    with pytest.raises(BoardRefusedError, match="out of bounds"):
        converse(Cyton({"mode": "marker"}), script)


def test_a_board_that_goes_silent_half_way_is_told():
    with pytest.raises(NoAnswerError, match="and then not to '~~'"):
        converse(Cyton(), [*GREETING, (b"~~", b""), (b"~~", b"")])


def test_a_marker_is_one_character_after_a_backquote():
    assert marker_command(65) == b"`A"
    for value in (0, 256, -1):
        with pytest.raises(ValueError, match="1 to 255"):
            marker_command(value)


def test_streaming_is_one_character():
    assert (Cyton().start_command, Cyton().stop_command) == (b"b", b"s")
