"""The OpenBCI Cyton with a Daisy module: sixteen channels at 125 Hz.

Both converters run at 250 Hz, the radio still carries 250 frames of eight channels a second, so the
firmware sends them in turn [1]_: a frame with an even counter is the Daisy's, one with an odd
counter the board's, and each holds the mean of the last two conversions of its converter. A sample
here is an even frame and the odd one after it; the Daisy's half is 4 ms older.

`Frames.counter` is the counter of the pair, ``counter // 2`` modulo 128, so it goes up by one a
sample and a loss is unwrapped as for any board. A lost half costs that sample and no other. The
Daisy's half of the very first sample after a start is invalid, as the firmware's authors say.

References
----------
.. [1] OpenBCI, Cyton Data Format, "16 Channel Data with Daisy Module", and
   `ADS_writeChannelDataAvgDaisy` in OpenBCI_Cyton_Library 3.1.5.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from devices.boards import Frames, boards
from devices.boards._openbci import OpenBCIBoard
from devices.boards._openbci_frames import (
    COUNTER,
    FRAME_BYTES,
    FRAME_MS,
    JITTER_MS,
    STAMPED_ACCEL,
    Rows,
    kinds,
    stamps,
)
from devices.errors import WrongBoardError


@boards.register("cyton_daisy", example={})
class CytonDaisy(OpenBCIBoard):
    """OpenBCI Cyton + Daisy, 16 channels at 125 Hz; 1 to 8 are the Cyton's, 9 to 16 the Daisy's."""

    label: ClassVar[str] = "OpenBCI Cyton + Daisy"
    n_chips: ClassVar[int] = 2
    counter_modulus: ClassVar[int] = 128
    sfreq = 125.0

    def reset(self) -> None:
        """Forget half-received bytes, and a first half that waits for its second."""
        super().reset()
        self._waiting = np.empty((0, FRAME_BYTES), np.uint8)

    def feed(self, data: bytes) -> Frames:
        """Take bytes as they came and return every sample both halves of which are there.

        Never raises and never blocks. A corrupt byte costs one sample; the rule by which frames are
        found is in `devices.boards._openbci_frames`.
        """
        rows, n_discarded = self._finder.feed(data)
        rows = np.concatenate([self._waiting, rows])
        first = _find_pairs(rows)
        is_waiting = len(rows) > 0 and rows[-1, COUNTER] % 2 == 0
        self._waiting = rows[-1:] if is_waiting else rows[:0]
        n_lost = len(rows) - 2 * first.size - int(is_waiting)
        board = self._read_rows(rows[first + 1])
        daisy = self._read_rows(rows[first])
        return Frames(
            counter=board.counter // 2,
            counts=np.concatenate([board.counts, daisy.counts]),
            aux=self._merge(daisy.aux, board.aux),
            board_ms=board.board_ms,
            markers=tuple(sorted(daisy.markers + board.markers)),
            n_discarded=n_discarded + n_lost * FRAME_BYTES,
        )

    def encode(self, frames: Frames) -> bytes:
        """Return the bytes with which the board would send these frames."""
        rows = np.empty((2 * frames.n_times, FRAME_BYTES), dtype=np.uint8)
        for is_board, counts in enumerate((frames.counts[8:], frames.counts[:8])):
            rows[is_board::2] = self._write_rows(
                Frames(
                    counter=2 * frames.counter + is_board,
                    counts=counts,
                    aux=frames.aux,
                    board_ms=frames.board_ms - (0 if is_board else FRAME_MS),
                    markers=frames.markers if is_board else (),
                )
            )
        return rows.tobytes()

    def _check_daisy(self, has_daisy: bool) -> None:
        if not has_daisy:
            raise WrongBoardError(
                "The device is set up as a Cyton with a Daisy, and the board found no Daisy.",
                suggestion="Press the Daisy firmly onto the board and switch the board off and on, "
                "or change the device's board to 'cyton' for 8 channels at 250 Hz.",
            )

    def _merge(
        self, first: NDArray[np.float32], second: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the mean of what both halves carried, as the board does with its channels."""
        if self.settings.mode == "digital":
            return np.fmax(first, second)  # a pulse in one of both is a pulse
        both = (first + second) / 2
        return np.where(np.isnan(both), np.fmax(first, second), both)


def _find_pairs(rows: Rows) -> NDArray[np.intp]:
    """Return where a Daisy's frame is followed by the board's frame of the same sample."""
    counter = rows[:, COUNTER]
    is_pair = (counter[:-1] % 2 == 0) & (counter[1:] == counter[:-1] + 1)
    # Equal after a loss of whole turns of the counter: a stamp tells.
    is_stamped = kinds(rows) >= STAMPED_ACCEL
    passed = np.diff(stamps(rows)) % 2**32
    is_pair &= ~(is_stamped[:-1] & is_stamped[1:]) | (passed <= FRAME_MS + JITTER_MS)
    return np.flatnonzero(is_pair)
