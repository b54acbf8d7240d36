"""Frames as the Cyton's firmware packs them: 33 bytes, whose end says what the aux bytes are."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

FRAME_BYTES = 33
START_BYTE = 0xA0  # the firmware writes 'A'; the dongle turns it into this
END_BYTE = 0xC0


class PacketType(IntEnum):
    """The low bits of a frame's end byte."""

    ACCEL = 0
    RAW_AUX = 1
    USER_DEFINED = 2
    ACCEL_TIME_SET = 3
    ACCEL_TIME_SYNC = 4
    RAW_AUX_TIME_SET = 5
    RAW_AUX_TIME_SYNC = 6


class BoardMode(IntEnum):
    """What the command ``/`` sets."""

    DEFAULT = 0
    DEBUG = 1
    ANALOG = 2
    DIGITAL = 3
    MARKER = 4
    BLE = 5

    @property
    def label(self) -> str:
        """The firmware's word for it."""
        return "BLE" if self is BoardMode.BLE else self.name.lower()


class Packets:
    """Everything that goes into a frame beside the counts.

    Attributes
    ----------
    counter : int
        Of the next frame, 0 to 255.
    marker : int or None
        A character that waits for the next frame in board mode 4.
    analog_pins : tuple of int
        Readings of A5, A6 and A7, 0 to 1023, for board mode 2.
    digital_pins : tuple of int
        States of D11, D12, D13, D17 and D18, for board mode 3.
    """

    def __init__(self) -> None:
        self.counter = 0
        self.mode = BoardMode.DEFAULT
        self.accelerometer_on = True
        self.time_stamps_on = False
        self.packet_type = PacketType.ACCEL
        self.marker: int | None = None
        self.analog_pins = (512, 512, 512)
        self.digital_pins = (0, 0, 0, 0, 0)
        self._axes = [0, 0, 0]
        self._aux = [0, 0, 0]

    def start(self) -> None:
        """Forget the accelerometer's old reading."""
        if self.accelerometer_on:
            self._axes = [0, 0, 0]

    def set_time_stamps(self, on: bool) -> None:
        """Switch the board's time stamps on or off."""
        self.time_stamps_on = on
        self._choose_type()

    def set_mode(self, mode: BoardMode) -> None:
        """Change what the aux bytes are filled from."""
        if mode is not self.mode:
            self.mode = mode
            if mode is BoardMode.DEFAULT:
                self.accelerometer_on = True
            elif mode in {BoardMode.ANALOG, BoardMode.DIGITAL, BoardMode.MARKER}:
                self.accelerometer_on = False
            self._choose_type()

    def pack(
        self, counts: Sequence[int], millis: int, axes: tuple[int, int, int] | None = None
    ) -> bytes:
        """Return the next frame.

        Parameters
        ----------
        counts : sequence of int
            Eight ADC counts.
        millis : int
            The board's clock at the conversion.
        axes : tuple of int or None
            x, y and z of the accelerometer when it has a new reading.

        Returns
        -------
        bytes
            33 of them.
        """
        if self.accelerometer_on and axes is not None:
            self._axes = list(axes)
        self._read_pins()
        packet_type = self.packet_type
        frame = bytes([START_BYTE, self.counter])
        frame += b"".join([(count & 0xFFFFFF).to_bytes(3, "big") for count in counts])
        frame += self._aux_bytes(packet_type, millis)
        frame += bytes([END_BYTE | packet_type])
        # Read once, sent once. A frame that first carries a time stamp keeps its value, though.
        if packet_type is PacketType.ACCEL:
            self._axes = [0, 0, 0]
        elif packet_type in {PacketType.RAW_AUX, PacketType.RAW_AUX_TIME_SYNC}:
            self._aux = [0, 0, 0]
        elif packet_type in {PacketType.ACCEL_TIME_SET, PacketType.RAW_AUX_TIME_SET}:
            self.packet_type = PacketType(packet_type + 1)
        self.counter = self.counter + 1 & 0xFF
        return frame

    def _choose_type(self) -> None:
        if self.accelerometer_on:
            on, off = PacketType.ACCEL_TIME_SET, PacketType.ACCEL
        else:
            on, off = PacketType.RAW_AUX_TIME_SET, PacketType.RAW_AUX
        self.packet_type = on if self.time_stamps_on else off

    def _read_pins(self) -> None:
        if self.mode is BoardMode.ANALOG:
            self._aux = list(self.analog_pins)
        elif self.mode is BoardMode.DIGITAL:
            d11, d12, d13, d17, d18 = self.digital_pins
            self._aux = [d11 << 8 | d12, d13 << 8 | d17, d18]
        elif self.mode is BoardMode.MARKER and self.marker is not None:
            self._aux[0] = self.marker
            self.marker = None

    def _aux_bytes(self, packet_type: PacketType, millis: int) -> bytes:
        if packet_type is PacketType.ACCEL:
            return struct.pack(">3h", *self._axes)
        if packet_type in {PacketType.ACCEL_TIME_SET, PacketType.ACCEL_TIME_SYNC}:
            axis = self.counter % 10 - 7  # x, y and z travel in frames 7, 8 and 9 of ten
            value = self._axes[axis] if axis >= 0 else 0
            return struct.pack(">hI", value, millis & 0xFFFFFFFF)
        if packet_type in {PacketType.RAW_AUX_TIME_SET, PacketType.RAW_AUX_TIME_SYNC}:
            return struct.pack(">HI", self._aux[0], millis & 0xFFFFFFFF)
        return struct.pack(">3H", *self._aux)
