"""What can be set on a Cyton, checked before anything is sent, and the commands that set it.

References
----------
.. [1] OpenBCI, Cyton Board SDK, docs.openbci.com/Cyton/CytonSDK: "Channel Setting Commands",
   "Test Signal Control Commands", "Board Mode".
.. [2] Texas Instruments, ADS1299 datasheet (SBAS499), section 9.6.1.6: the channel registers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from devices.errors import InvalidBoardSettingsError

CHANNELS_PER_CHIP = 8
CHANNEL_LETTERS = "12345678QWERTYUI"  # 9 to 16 are the Daisy's
GAINS = (1, 2, 4, 6, 8, 12, 24)
INPUT_TYPES = (
    "normal",
    "shorted",
    "bias_meas",
    "mvdd",
    "temp",
    "testsig",
    "bias_drp",
    "bias_drn",
)
MODES = {"default": b"0", "analog": b"2", "digital": b"3", "marker": b"4"}
TEST_SIGNALS = {
    "ground": b"0",  # all inputs shorted: the noise of the converter
    "slow_1x": b"-",
    "fast_1x": b"=",
    "dc": b"p",
    "slow_2x": b"[",
    "fast_2x": b"]",
}


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """One channel of the converter; the defaults are the firmware's own.

    Parameters
    ----------
    power_down : bool
        Switch the channel off; it reads 0.
    gain : int
        1, 2, 4, 6, 8, 12 or 24.
    input_type : str
        What the input is connected to, one of ``INPUT_TYPES``.
    bias : bool
        The channel takes part in driving the bias electrode.
    srb2 : bool
        The P input is connected to the common SRB2 pin.
    srb1 : bool
        The N inputs of all eight channels of the chip are connected to SRB1.
    """

    power_down: bool = False
    gain: int = 24
    input_type: str = "normal"
    bias: bool = True
    srb2: bool = True
    srb1: bool = False

    def command(self, channel: int) -> bytes:
        """Return the bytes that set a channel, counted from 0, to this."""
        digits = (
            int(self.power_down),
            GAINS.index(self.gain),
            INPUT_TYPES.index(self.input_type),
            int(self.bias),
            int(self.srb2),
            int(self.srb1),
        )
        return f"x{CHANNEL_LETTERS[channel]}{''.join(map(str, digits))}X".encode()


DEFAULT_CHANNEL = ChannelSettings()
CHANNEL_KEYS = tuple(field.name for field in fields(ChannelSettings))
CHOICES: dict[str, Sequence[Any]] = {
    "power_down": (False, True),
    "gain": GAINS,
    "input_type": INPUT_TYPES,
    "bias": (False, True),
    "srb2": (False, True),
    "srb1": (False, True),
}


@dataclass(frozen=True, slots=True)
class CytonSettings:
    """Everything a Cyton can be told.

    Parameters
    ----------
    channels : tuple of ChannelSettings
        One for each channel.
    ch_names : tuple of str
        What the electrodes are called.
    mode : str
        What the aux bytes carry: ``"default"`` (accelerometer), ``"analog"``, ``"digital"`` or
        ``"marker"``.
    timestamps : bool
        Frames carry the board's clock. They have no room then for more than one of three aux words.
    test_signal : str or None
        Connect all channels to one of ``TEST_SIGNALS`` instead of the electrodes.
    """

    channels: tuple[ChannelSettings, ...]
    ch_names: tuple[str, ...]
    mode: str
    timestamps: bool
    test_signal: str | None


def read_settings(settings: Mapping[str, Any], *, n_channels: int) -> CytonSettings:
    """Check a device's settings and fill in what they leave out.

    Parameters
    ----------
    settings : mapping
        ``gains``, a list of ``n_channels`` gains; ``channels``, a list of ``n_channels`` mappings
        with the keys of `ChannelSettings`; ``ch_names``, a list of ``n_channels`` names; ``mode``,
        ``timestamps`` and ``test_signal`` as in `CytonSettings`. All are optional. Without
        ``timestamps``, they are on unless analog or digital inputs need the room.
    n_channels : int
        8 or 16.

    Raises
    ------
    InvalidBoardSettingsError
        If a setting is unknown or out of range.
    """
    known = ("gains", "channels", "ch_names", "mode", "timestamps", "test_signal")
    if not isinstance(settings, Mapping):
        raise _invalid("settings", settings, f"A mapping with any of {', '.join(known)}.")
    _check_keys(settings, known, of="a Cyton's settings")
    mode = _choose(settings.get("mode", "default"), tuple(MODES), name="mode")
    timestamps = settings.get("timestamps", mode in {"default", "marker"})
    test_signal = settings.get("test_signal")
    if test_signal is not None:
        _choose(test_signal, tuple(TEST_SIGNALS), name="test_signal")
    return CytonSettings(
        channels=_read_channels(settings, n_channels),
        ch_names=_read_names(settings, n_channels),
        mode=mode,
        timestamps=_choose(timestamps, (False, True), name="timestamps"),
        test_signal=test_signal,
    )


def _read_channels(settings: Mapping[str, Any], n_channels: int) -> tuple[ChannelSettings, ...]:
    gains = _read_list(settings, "gains", n_channels)
    fuller = _read_list(settings, "channels", n_channels)
    channels = [DEFAULT_CHANNEL] * n_channels
    for i, gain in enumerate(gains or ()):
        channels[i] = replace(DEFAULT_CHANNEL, gain=_choose(gain, GAINS, name=f"gains[{i}]"))
    for i, wanted in enumerate(fuller or ()):
        name = f"channels[{i}]"
        if not isinstance(wanted, Mapping):
            raise _invalid(name, wanted, f"A mapping with any of {', '.join(CHANNEL_KEYS)}.")
        _check_keys(wanted, CHANNEL_KEYS, of=name)
        values = {
            key: _choose(value, CHOICES[key], name=f"{name}.{key}") for key, value in wanted.items()
        }
        if gains is not None and values.get("gain", gains[i]) != gains[i]:
            raise _invalid(f"{name}.gain", values["gain"], f"gains[{i}] says {gains[i]}: say one.")
        channels[i] = replace(channels[i], **values)
    for first in range(0, n_channels, CHANNELS_PER_CHIP):
        if len({channel.srb1 for channel in channels[first : first + CHANNELS_PER_CHIP]}) > 1:
            raise _invalid(
                f"channels[{first}:{first + CHANNELS_PER_CHIP}].srb1",
                [channel.srb1 for channel in channels[first : first + CHANNELS_PER_CHIP]],
                "It is one switch for all eight channels of a chip: give all eight the same.",
            )
    return tuple(channels)


def _read_names(settings: Mapping[str, Any], n_channels: int) -> tuple[str, ...]:
    names = _read_list(settings, "ch_names", n_channels)
    if names is None:
        return tuple(f"EEG{i + 1}" for i in range(n_channels))
    if len({name for name in names if isinstance(name, str) and name.strip()}) < n_channels:
        raise _invalid("ch_names", names, f"{n_channels} different names, none of them empty.")
    return tuple(names)


def _read_list(settings: Mapping[str, Any], name: str, n_channels: int) -> list[Any] | None:
    values = settings.get(name)
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != n_channels:
        raise _invalid(name, values, f"A list with one entry for each of {n_channels} channels.")
    return list(values)


def _choose(value: Any, choices: Sequence[Any], *, name: str) -> Any:
    """Return the choice that ``value`` is; True is no gain of 1, 1 is no True."""
    for choice in choices:
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise _invalid(name, value, f"One of {', '.join(map(str, choices))}.")


def _check_keys(found: Mapping[str, Any], known: Collection[str], *, of: str) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise InvalidBoardSettingsError(
            f"{', '.join(unknown)}: not one of {of}",
            unknown=unknown,
            suggestion=f"They are {', '.join(known)}.",
        )


def _invalid(name: str, found: Any, suggestion: str) -> InvalidBoardSettingsError:
    return InvalidBoardSettingsError(
        f"{name} cannot be {found!r}. {suggestion}",
        setting=name,
        found=found,
        suggestion=suggestion,
    )
