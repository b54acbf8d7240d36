import pytest

from devices.boards.cyton import Cyton
from devices.boards.cyton_daisy import CytonDaisy
from devices.errors import InvalidBoardSettingsError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain": [24] * 8}, "gain: not one of a Cyton's settings"),
        ({"gains": [24] * 7}, "one entry for each of 8 channels"),
        ({"gains": 24}, "one entry for each of 8 channels"),
        ({"gains": [24] * 7 + [3]}, r"gains\[7\] cannot be 3. One of 1, 2, 4, 6, 8, 12, 24."),
        ({"gains": [24] * 7 + [True]}, r"gains\[7\] cannot be True"),
        ({"gains": [24] * 7 + ["24"]}, r"gains\[7\] cannot be '24'"),
        ({"gains": [24] * 7 + [[24]]}, r"gains\[7\] cannot be"),
        ({"channels": [{}] * 7 + [24]}, r"channels\[7\] cannot be 24. A mapping"),
        ({"channels": [{"gian": 1}] + [{}] * 7}, r"gian: not one of channels\[0\]"),
        ({"channels": [{"bias": 1}] + [{}] * 7}, r"channels\[0\].bias cannot be 1"),
        ({"channels": [{"input_type": "ear"}] + [{}] * 7}, "One of normal, shorted"),
        ({"channels": [{"srb1": True}] + [{}] * 7}, "one switch for all eight channels"),
        ({"gains": [24] * 8, "channels": [{"gain": 1}] + [{}] * 7}, "say one"),
        ({"mode": "analogue"}, "mode cannot be 'analogue'. One of default, analog"),
        ({"timestamps": "on"}, "timestamps cannot be 'on'"),
        ({"test_signal": "sine"}, "test_signal cannot be 'sine'"),
        ({"ch_names": ["Fp1"] * 8}, "8 different names"),
        ({"ch_names": ["", *"ABCDEFG"]}, "none of them empty"),
        ({"ch_names": [None, *"ABCDEFG"]}, "8 different names"),
        (["gains"], "settings cannot be"),
    ],
)
def test_a_setting_that_the_board_cannot_have_is_refused_with_what_it_can_have(settings, message):
    with pytest.raises(InvalidBoardSettingsError, match=message) as caught:
        Cyton(settings)
    assert caught.value.details["suggestion"]
    assert caught.value.code == "VALIDATION_ERROR"


def test_no_settings_are_the_firmwares_defaults():
    for board, n_channels in ((Cyton(), 8), (CytonDaisy(None), 16), (Cyton({}), 8)):
        assert board.n_channels == n_channels
        assert board.ch_names[0] == "EEG1"
        assert {channel.gain for channel in board.settings.channels} == {24}
        assert board.settings.mode == "default"


@pytest.mark.parametrize(
    ("mode", "timestamps"),
    [("default", True), ("marker", True), ("analog", False), ("digital", False)],
)
def test_time_stamps_are_on_unless_the_pins_need_the_room(mode, timestamps):
    assert Cyton({"mode": mode}).settings.timestamps is timestamps
    assert Cyton({"mode": mode, "timestamps": not timestamps}).settings.timestamps is not timestamps


def test_electrodes_can_be_named():
    names = ["Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2"]
    assert Cyton({"ch_names": names}).ch_names == tuple(names)


def test_the_reference_switch_is_one_for_each_chip():
    channels = [{}] * 8 + [{"srb1": True}] * 8
    board = CytonDaisy({"channels": channels})
    assert [channel.srb1 for channel in board.settings.channels] == [False] * 8 + [True] * 8


def test_a_gain_may_be_said_in_either_place():
    fuller = [{"gain": 8, "bias": False}] + [{}] * 7
    assert Cyton({"channels": fuller}).settings.channels[0].gain == 8
    both = Cyton({"gains": [8] * 8, "channels": fuller}).settings.channels
    assert (both[0].gain, both[0].bias, both[1].gain, both[1].bias) == (8, False, 8, True)


@pytest.mark.parametrize(
    ("channel", "wanted", "command"),
    [
        (0, {}, b"x1060110X"),
        (2, {"gain": 4, "bias": False, "srb2": False}, b"x3020000X"),
        (7, {"power_down": True, "input_type": "bias_drn"}, b"x8167110X"),
        (8, {"gain": 1}, b"xQ000110X"),
        (15, {"input_type": "testsig", "gain": 12}, b"xI055110X"),
    ],
)
def test_channel_settings_become_the_documented_nine_characters(channel, wanted, command):
    board = CytonDaisy({"channels": [wanted if i == channel else {} for i in range(16)]})
    assert board.settings.channels[channel].command(channel) == command
