import pytest

from devices.virtual.firmware import Firmware

BANNER = (
    "OpenBCI V3 8-16 channel\nOn Board ADS1299 Device ID: 0x3E\nLIS3DH Device ID: 0x33\n"
    "Firmware: v3.1.2\n$$$"
)
NO_CARD = (
    "initialization failed. Things to check:\r\n* is a card is inserted?\r\n"
    "Could not find FAT16/FAT32 partition. Make sure you've formatted the card\r\n$$$"
)


def say(firmware: Firmware, command: str, millis: int = 0) -> str:
    return firmware.receive(command.encode(), millis).decode()


def stream(firmware: Firmware, n_frames: int, counts=(0,) * 16) -> list[bytes]:
    return [firmware.sample(counts, millis=4 * i) for i in range(n_frames)]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("v", BANNER),
        ("V", "v3.1.5$$$"),
        ("D", "060110$$$"),
        ("d", "updating channel settings to default$$$"),
        ("s", ""),
        ("b", ""),
        ("12345678", ""),
        ("!@#$%^&*", ""),
        ("0", "Success: Configured internal test signal.$$$"),
        ("]", "Success: Configured internal test signal.$$$"),
        ("C", "no daisy to attach!8$$$"),
        ("c", ""),
        ("x1060110X", "Success: Channel set for 1$$$"),
        ("x8060110X", "Success: Channel set for 8$$$"),
        ("xQ060110X", "Success: Channel set for 9$$$"),
        ("x106X", "Failure: too few chars$$$"),
        ("x10601100", "Failure: Err: 9th char not X$$$"),
        ("z110Z", "Success: Lead off set for 1$$$"),
        ("zZ", "Failure: too few chars$$$"),
        ("z1100", "Failure: Err: 5th char not Z$$$"),
        ("~~", "Success: Sample rate is 250Hz$$$"),
        ("~5", "Success: Sample rate is 500Hz$$$"),
        ("~7", "Failure: sample value out of bounds$$$"),
        ("~x", "Failure: invalid sample value$$$"),
        ("//", "Success: default$$$"),
        ("/4", "Success: marker$$$"),
        ("/6", "Failure: board mode value out of bounds.$$$"),
        ("/x", "Failure: invalid board mode value.$$$"),
        ("<", "Time stamp ON$$$"),
        (">", "Time stamp OFF$$$"),
        ("`7", ""),
        ("A", NO_CARD),
        ("a", NO_CARD),
        ("j", ""),
        ("{", "Failure: Wifi not attached$$$"),
        ("}", "Failure: Wifi not removed$$$"),
        (":", "Wifi not present, send { to attach the shield$$$"),
        (";", "Wifi soft reset$$$"),
        ("P", ""),
        ("\xff\x00", ""),
    ],
)
def test_a_command_is_answered_as_the_real_firmware_answers(command, answer):
    firmware = Firmware()
    assert firmware.receive(command.encode("latin-1"), 0).decode() == answer


def test_a_command_may_be_cut_anywhere():
    firmware = Firmware()
    answers = [say(firmware, character) for character in "x3050110X"]
    assert answers == [""] * 8 + ["Success: Channel set for 3$$$"]
    assert firmware.converters.chips[0].gains.tolist() == [24, 24, 12, 24, 24, 24, 24, 24]


def test_half_a_command_is_given_up_after_a_second():
    firmware = Firmware()
    assert say(firmware, "x10", millis=5000) == ""
    assert firmware.tick(5999) == b""
    assert firmware.tick(6000).startswith(b"Timeout processing multi byte message - please send")
    assert say(firmware, "V", millis=6001) == "v3.1.5$$$"


def test_a_character_after_the_timeout_is_a_command_again():
    firmware = Firmware()
    say(firmware, "z1", millis=0)
    assert say(firmware, "V", millis=1000).endswith("as of v2$$$v3.1.5$$$")


def test_registers_are_printed_as_they_are_set():
    firmware = Firmware()
    say(firmware, "x2130001X")
    lines = say(firmware, "?").splitlines()
    assert lines[1] == "Board ADS Registers"
    assert "ADS_ID, 00, 3E, 0, 0, 1, 1, 1, 1, 1, 0" in lines
    assert "CH1SET, 05, 68, 0, 1, 1, 0, 1, 0, 0, 0" in lines
    assert "CH2SET, 06, B0, 1, 0, 1, 1, 0, 0, 0, 0" in lines
    assert "BIAS_SENSP, 0D, FD, 1, 1, 1, 1, 1, 1, 0, 1" in lines
    assert "MISC1, 15, 20, 0, 0, 1, 0, 0, 0, 0, 0" in lines
    assert "0x0F 33" in lines
    assert lines[-1] == "$$$"


def test_while_streaming_settings_are_changed_without_a_word():
    firmware = Firmware()
    say(firmware, "b")
    assert say(firmware, "x1050110Xz101Zd<A?-1!") == ""
    assert firmware.streaming


def test_a_frame_carries_24_bit_counts_most_significant_byte_first():
    firmware = Firmware()
    say(firmware, "b")
    frame = firmware.sample([0, 1, -1, 2**23 - 1, -(2**23), 258, 0, 0], millis=0)
    assert len(frame) == 33
    assert frame[:2] == b"\xa0\x00"
    assert frame[2:26] == bytes.fromhex("000000 000001 ffffff 7fffff 800000 000102 000000 000000")
    assert frame[32] == 0xC0


def test_the_counter_wraps_after_255_and_starts_at_0_with_every_stream():
    firmware = Firmware()
    say(firmware, "b")
    assert [frame[1] for frame in stream(firmware, 258)][254:] == [254, 255, 0, 1]
    say(firmware, "s")
    say(firmware, "b")
    assert firmware.sample([0] * 8, 0)[1] == 0


@pytest.mark.parametrize("command", ["b", "1", "!", "x1060110X", "z101Z", "d", "-", "~6"])
def test_a_command_that_touches_a_converter_starts_the_counter_again(command):
    firmware = Firmware()
    say(firmware, "b")
    stream(firmware, 5)
    starts = firmware.starts
    say(firmware, command)
    assert firmware.starts == starts + 1
    assert firmware.sample([0] * 8, 0)[1] == 0


def test_a_reset_ends_the_stream_and_forgets_the_gains():
    firmware = Firmware()
    say(firmware, "x1000110Xb")
    assert say(firmware, "v") == BANNER
    assert not firmware.streaming
    assert firmware.converters.chips[0].gains.tolist() == [24] * 8


def test_closing_a_file_that_is_not_there_stops_the_stream():
    firmware = Firmware()
    say(firmware, "b")
    say(firmware, "j")
    assert not firmware.streaming


def test_the_accelerometer_is_sent_once_a_reading_and_zeros_in_between():
    firmware = Firmware()
    say(firmware, "b")
    read = firmware.sample([0] * 8, 0, axes=(16, -16, 8000))
    assert read[26:33] == bytes.fromhex("0010 fff0 1f40 c0")
    assert firmware.sample([0] * 8, 4)[26:33] == bytes.fromhex("0000 0000 0000 c0")


def test_time_stamps_take_four_aux_bytes_and_the_axes_share_the_rest():
    firmware = Firmware()
    say(firmware, "<b")
    first = firmware.sample([0] * 8, millis=0x01020304, axes=(16, 32, 48))
    assert first[26:33] == bytes.fromhex("0000 01020304 c3")
    frames = [firmware.sample([0] * 8, millis=i) for i in range(1, 10)]
    assert {frame[32] for frame in frames} == {0xC4}
    assert [frame[26:28].hex() for frame in frames[6:]] == ["0010", "0020", "0030"]
    assert [frame[26:28].hex() for frame in frames[:6]] == ["0000"] * 6
    assert [int.from_bytes(frame[28:32], "big") for frame in frames] == list(range(1, 10))


def test_a_marker_is_in_the_first_aux_bytes_of_the_next_frame_only():
    firmware = Firmware()
    say(firmware, "/4b")
    assert firmware.sample([0] * 8, 0)[26:33] == bytes.fromhex("000000000000 c1")
    say(firmware, "`7")
    assert firmware.sample([0] * 8, 4)[26:33] == b"\x007\0\0\0\0\xc1"
    assert firmware.sample([0] * 8, 8)[26:33] == bytes.fromhex("000000000000 c1")


def test_markers_and_time_stamps_go_together():
    firmware = Firmware()
    say(firmware, "/4<b")
    firmware.sample([0] * 8, 0)
    say(firmware, "`A")
    assert firmware.sample([0] * 8, 9)[26:33] == bytes.fromhex("0041 00000009 c6")


def test_pins_are_read_in_the_analog_and_the_digital_mode():
    firmware = Firmware()
    firmware.packets.analog_pins, firmware.packets.digital_pins = (1, 512, 1023), (1, 0, 1, 1, 1)
    say(firmware, "/2b")
    assert firmware.sample([0] * 8, 0)[26:33] == bytes.fromhex("0001 0200 03ff c1")
    say(firmware, "/3")
    assert firmware.sample([0] * 8, 0)[26:33] == bytes.fromhex("0100 0101 0001 c1")


def test_in_bluetooth_mode_the_dongle_hears_nothing_until_the_power_is_cycled():
    firmware = Firmware()
    assert say(firmware, "b/5V") == ""
    assert firmware.sample([0] * 8, 0) == b""
    assert firmware.power_on().decode() == BANNER
    assert say(firmware, "V") == "v3.1.5$$$"


def test_a_daisy_introduces_itself_and_can_be_removed_and_attached():
    firmware = Firmware(daisy=True)
    assert "On Daisy ADS1299 Device ID: 0x3E\n" in say(firmware, "v")
    assert say(firmware, "C") == "16$$$"
    assert say(firmware, "c") == "daisy removed$$$"
    assert say(firmware, "C") == "daisy attached16$$$"


def test_a_daisy_board_alternates_and_averages_two_conversions():
    firmware = Firmware(daisy=True)
    say(firmware, "b")
    frames = stream_of_ramp(firmware, 5)
    # Conversion k is k * 10 on the board and -k * 10 - 5 on the Daisy.
    daisy, board = frames[2::2], frames[1::2]
    assert [value(frame) for frame in board] == [5, 25]  # (0 + 10) / 2, (20 + 30) / 2
    assert [value(frame) for frame in daisy] == [-20, -40]  # (-15 - 25) / 2, (-35 - 45) / 2
    assert [frame[1] for frame in frames] == [0, 1, 2, 3, 4]


def test_means_are_rounded_towards_zero_as_c_does():
    firmware = Firmware(daisy=True)
    say(firmware, "b")
    firmware.sample([-4] * 16, 0)
    assert value(firmware.sample([-3] * 16, 4)) == -3
    firmware.sample([4] * 16, 8)
    assert value(firmware.sample([3] * 16, 12)) == 3


def stream_of_ramp(firmware: Firmware, n_frames: int) -> list[bytes]:
    return [
        firmware.sample([10 * k] * 8 + [-10 * k - 5] * 8, millis=4 * k) for k in range(n_frames)
    ]


def value(frame: bytes) -> int:
    return int.from_bytes(frame[2:5], "big", signed=True)
