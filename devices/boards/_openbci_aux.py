"""What the Cyton's six aux bytes say: accelerometer, pins, markers, the board's clock.

Three 16-bit words, big endian. Time stamps take the place of the second and third; the firmware
then sends one axis of the accelerometer at a time, in the frames whose counter ends in 7, 8 and 9
(`sendTimeWithAccelSerial` of firmware 2 and 3; the data format's page describes letters instead,
which no released firmware sends). Words of zero from the accelerometer mean no new reading: it
gives 25 a second.

References
----------
.. [1] OpenBCI, Cyton Data Format, docs.openbci.com/Cyton/CytonDataFormat: "Aux Data",
   "Interpreting the EEG Data".
.. [2] OpenBCI, OpenBCI_Cyton_Library, `updateChannelData`: which pins the board modes read.
.. [3] Microchip, PIC32 Family Reference Manual, section 17: 10-bit converter, steps of VREF / 1024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from devices.boards._openbci_frames import (
    ACCEL,
    AUX,
    COUNTER,
    END,
    RAW_AUX,
    STAMPED_ACCEL,
    STAMPED_RAW_AUX,
    STAMPED_RAW_AUX_SET,
    Rows,
)

ACCEL_NAMES = ("accel_x", "accel_y", "accel_z")
PIN_NAMES = {
    "default": ("A5", "A6", "A7"),  # a firmware of one's own may fill them in any mode
    "analog": ("A5", "A6", "A7"),
    "digital": ("D11", "D12", "D13", "D17", "D18"),
    "marker": (),
}

G_PER_COUNT = 0.002 / 16
VOLTS_PER_COUNT = 3.3 / 1024
FIRST_AXIS = 7  # frames 7, 8 and 9 of ten carry x, y and z
# The word that carries each digital pin, and by how many bits it is shifted there.
DIGITAL_PLACES = ((0, 8), (0, 0), (1, 8), (1, 0), (2, 0))


def aux_names(mode: str) -> tuple[str, ...]:
    """Return what the rows of `read_aux` are called: g, then volts or 0 and 1."""
    return ACCEL_NAMES + PIN_NAMES[mode]


def read_aux(rows: Rows, kind: NDArray[np.uint8], mode: str) -> NDArray[np.float32]:
    """Return accelerometer and pins of each frame.

    Parameters
    ----------
    rows : ndarray of uint8, shape (n_frames, 33)
        Frames.
    kind : ndarray of uint8, shape (n_frames,)
        What `devices.boards._openbci_frames.kinds` says of them.
    mode : str
        The board mode, which says what raw aux words are.

    Returns
    -------
    ndarray of float32, shape (n_aux, n_frames)
        In the order of `aux_names`; NaN where a frame carried nothing.
    """
    words = _words(rows)
    aux = np.full((3 + len(PIN_NAMES[mode]), len(rows)), np.nan, dtype=np.float32)
    is_reading = (kind == ACCEL) & words.any(axis=1)
    aux[:3, is_reading] = words[is_reading].T * G_PER_COUNT
    axis = rows[:, COUNTER] % 10
    on_axis = np.flatnonzero((kind == STAMPED_ACCEL) & (axis >= FIRST_AXIS))
    aux[axis[on_axis] - FIRST_AXIS, on_axis] = words[on_axis, 0] * G_PER_COUNT
    if mode == "marker":
        return aux
    for raw_kind, n_words in ((RAW_AUX, 3), (STAMPED_RAW_AUX, 1)):
        carried = np.flatnonzero(kind == raw_kind)
        raw = words[carried, :n_words].astype(np.uint16)
        if mode == "digital":
            for i, (word, shift) in enumerate(DIGITAL_PLACES):
                if word < n_words:
                    aux[3 + i, carried] = raw[:, word] >> shift & 1
        else:
            aux[3 : 3 + n_words, carried] = raw.T * VOLTS_PER_COUNT
    return aux


def read_markers(
    rows: Rows, kind: NDArray[np.uint8], mode: str, held: int = 0
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return (frame, character) of every marker; only board mode "marker" has any.

    The firmware clears a marker once it was sent, but not in the frame that first carries a time
    stamp: there it stays, and is sent again. ``held`` is that of such a frame just before these;
    the second value returned is what to pass next time.
    """
    if mode != "marker":
        return (), 0
    # The firmware extends the sign of characters beyond 127.
    values = np.where((kind == RAW_AUX) | (kind == STAMPED_RAW_AUX), _words(rows)[:, 0] & 0xFF, 0)
    stays = np.concatenate([[held], np.where(rows[:, END] == STAMPED_RAW_AUX_SET, values, 0)])
    is_new = (values != 0) & (values != stays[:-1])
    return tuple((int(i), int(values[i])) for i in np.flatnonzero(is_new)), int(stays[-1])


def write_aux(
    rows: Rows,
    mode: str,
    aux: NDArray[np.float32],
    board_ms: NDArray[np.float64],
    markers: tuple[tuple[int, int], ...],
) -> None:
    """Fill in aux and end bytes of frames, the counter of which is there; NaN is left out.

    Parameters
    ----------
    rows : ndarray of uint8, shape (n_frames, 33)
        Frames, changed in place.
    mode : str
        The board mode.
    aux : ndarray of float32, shape (n_aux, n_frames)
        In the order of `aux_names`.
    board_ms : ndarray of float64, shape (n_frames,)
        The board's clock; NaN for a frame without a stamp.
    markers : tuple of (int, int)
        (frame, character).
    """
    is_stamped = ~np.isnan(board_ms)
    values = np.nan_to_num(aux)
    words = np.zeros((len(rows), 3), dtype=np.int64)
    if mode == "default":
        words[:] = np.rint(values[:3].T / G_PER_COUNT)
        axis = rows[:, COUNTER].astype(int) % 10 - FIRST_AXIS
        chosen = np.where(axis >= 0, words[np.arange(len(rows)), np.maximum(axis, 0)], 0)
        words[:, 0] = np.where(is_stamped, chosen, words[:, 0])
    elif mode == "digital":
        for i, (word, shift) in enumerate(DIGITAL_PLACES):
            words[:, word] |= (values[3 + i] > 0).astype(np.int64) << shift
    elif mode == "analog":
        words[:] = np.rint(values[3:].T / VOLTS_PER_COUNT)
    for i, value in markers if mode == "marker" else ():
        words[i, 0] = value
    rows[:, AUX] = np.ascontiguousarray(words & 0xFFFF, ">u2").view(np.uint8).reshape(-1, 6)
    stamp = np.nan_to_num(board_ms).astype(np.int64) % 2**32
    rows[is_stamped, 28:32] = stamp[is_stamped].astype(">u4").view(np.uint8).reshape(-1, 4)
    end_with, end_without = (
        (STAMPED_ACCEL, ACCEL) if mode == "default" else (STAMPED_RAW_AUX, RAW_AUX)
    )
    rows[:, -1] = np.where(is_stamped, end_with, end_without)


def _words(rows: Rows) -> NDArray[np.int16]:
    return np.ascontiguousarray(rows[:, AUX]).view(">i2").astype(np.int16)
