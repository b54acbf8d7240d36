"""One board, one file: bytes in, frames out.

Rule of this package: no ports, no clocks, no sleeps, no Django. A board says which bytes to send,
what answer ends with what, and turns whatever bytes arrive into frames. `devices.link` does the
rest. How to add one is in `docs/adding_a_board.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neurascale.core.registry import Registry


@dataclass(frozen=True, slots=True)
class Ask:
    """One turn of the conversation with a board: say this, wait for that.

    Parameters
    ----------
    command : bytes
        Written to the port as it is; may be empty to only listen.
    until : bytes
        The answer is complete when it ends with this. Empty: do not wait for an answer.
    timeout : float
        Seconds to wait. When they have passed the board is handed what came, maybe nothing.
    """

    command: bytes
    until: bytes = b"$$$"
    timeout: float = 2.0


Conversation = Generator[Ask, bytes, "BoardInfo"]


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """What a board said of itself; None where it said nothing."""

    firmware: str | None = None
    sfreq: float | None = None
    n_channels: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames parsed from a stretch of bytes, oldest first.

    Parameters
    ----------
    counter : ndarray of int64, shape (n_times,)
        The board's own packet counter, modulo ``Board.counter_modulus``, one a sample.
    counts : ndarray of int32, shape (n_channels, n_times)
        ADC counts.
    aux : ndarray of float32, shape (n_aux, n_times)
        In the order of ``Board.aux_names``; NaN where the frame carried none.
    board_ms : ndarray of float64, shape (n_times,)
        The board's own clock in milliseconds; NaN where the frame carried none.
    markers : tuple of (int, int)
        (column, value) of every marker the board put into a frame.
    n_discarded : int
        Bytes thrown away while looking for the next frame.
    """

    counter: NDArray[np.int64]
    counts: NDArray[np.int32]
    aux: NDArray[np.float32]
    board_ms: NDArray[np.float64]
    markers: tuple[tuple[int, int], ...] = ()
    n_discarded: int = 0

    @property
    def n_times(self) -> int:
        """Number of samples."""
        return int(self.counter.size)


class Board(ABC):
    """The protocol of one kind of board, as a state machine over bytes.

    Parameters
    ----------
    settings : mapping
        Per-device settings such as ``{"gains": [24, …]}``; keys are the subclass's own.

    Raises
    ------
    InvalidBoardSettingsError
        If a setting is unknown or out of range.
    """

    label: ClassVar[str]  # "OpenBCI Cyton"
    type: ClassVar[str]  # the seed document's `type`: "openbci"
    baudrate: ClassVar[int] = 115200
    sfreq: float
    ch_names: tuple[str, ...]
    aux_names: tuple[str, ...] = ()
    counter_modulus: ClassVar[int] = 256
    has_battery_gauge: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, settings: Mapping[str, Any] | None = None) -> None: ...

    @property
    def n_channels(self) -> int:
        """Number of EEG channels."""
        return len(self.ch_names)

    @property
    @abstractmethod
    def scale_uv(self) -> NDArray[np.float64]:
        """Microvolts per ADC count, shape (n_channels,)."""

    @abstractmethod
    def handshake(self) -> Conversation:
        """Bring the board from whatever state to configured and silent; return what it said.

        Raises
        ------
        NoAnswerError
            If nothing came back.
        WrongBoardError
            If something else than this board answered.
        """

    @property
    @abstractmethod
    def start_command(self) -> bytes:
        """Bytes that make the board stream."""

    @property
    @abstractmethod
    def stop_command(self) -> bytes:
        """Bytes that make the board stop streaming."""

    @abstractmethod
    def feed(self, data: bytes) -> Frames:
        """Take bytes as they came and return every frame that is now whole.

        Never raises and never blocks, whatever the bytes; a corrupt byte costs one frame only.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget half-received bytes; call after a port was opened anew."""

    def encode(self, frames: Frames) -> bytes:
        """Return the bytes with which the board would send these frames: the inverse of `feed`.

        The contract tests make their bytes with it, so every board needs one.

        Parameters
        ----------
        frames : Frames
            What to send; what the board has no place for, a clock or aux rows, is left out.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no encode(): write the inverse of feed(), so that "
            "tests/contracts/test_boards.py can make bytes for it"
        )


boards: Registry[type[Board]] = Registry(__name__)
