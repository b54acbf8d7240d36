"""The OpenBCI Cyton: eight channels at 250 Hz over its USB dongle.

The conversation is in `_openbci.py`, frames are found in `_openbci_frames.py`.
"""

from __future__ import annotations

from typing import ClassVar

from devices.boards import Frames, boards
from devices.boards._openbci import OpenBCIBoard


@boards.register("cyton", example={})
class Cyton(OpenBCIBoard):
    """OpenBCI Cyton, 8 channels at 250 Hz.

    A Daisy that is plugged in is switched off, so that all eight channels come at 250 Hz.
    """

    label: ClassVar[str] = "OpenBCI Cyton"
    n_chips: ClassVar[int] = 1
    sfreq = 250.0

    def feed(self, data: bytes) -> Frames:
        """Take bytes as they came and return every frame that is now certain.

        Never raises and never blocks. A corrupt byte costs one frame; the rule by which frames are
        found is in `devices.boards._openbci_frames`.
        """
        return self._read_rows(*self._finder.feed(data))

    def encode(self, frames: Frames) -> bytes:
        """Return the bytes with which the board would send these frames."""
        return self._write_rows(frames).tobytes()
