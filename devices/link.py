"""The only file that opens a port: a board behind a cable becomes a stream of chunks.

Rule of this file: what callers see of a board is here. The thread that reads it is in
`devices.reader`, bytes are in `devices.line`, arithmetic is in `devices.chunker` and
`devices.unwrap`, protocol is in `devices.boards`. No Django.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import serial

from devices.boards import Board, BoardInfo
from devices.chunker import Chunker
from devices.line import Line, not_opened
from devices.ports import PortFacts, facts_of, find_again, shorten_latency
from devices.reader import LISTEN_SECONDS, Reader
from devices.unwrap import CounterUnwrapper
from neurascale.core.chunk import Chunk, GapReason
from neurascale.core.clock import StreamClock, wall_minus_monotonic

WRITE_SECONDS = 5.0


def ignore(event: str, data: dict[str, Any]) -> None:
    """Do nothing with an event."""


@dataclass(frozen=True, slots=True)
class Resume:
    """What is stored of a stream whose process died: where to take it over.

    Parameters
    ----------
    next_sample : int
        First sample that is not stored.
    last_first_sample, last_time_ns : int
        Place and time, since the Unix epoch, of the first sample of the last chunk.
    counter_phase : int
        `Link.counter_phase` as it last was: 0 unless the board began anew within the stream.
    """

    next_sample: int
    last_first_sample: int
    last_time_ns: int
    counter_phase: int = 0


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What became of what the board sent, since the link was made.

    Parameters
    ----------
    n_lost : int
        Samples counted as missing, in all gaps.
    n_discarded : int
        Bytes that belonged to no frame.
    n_rejected : int
        Frames whose counter contradicted the clock.
    n_reconnects : int
        Times that the port or the board fell silent and came back.
    n_waiting : int
        Chunks that wait to be read: what a slow store is behind.
    sfreq : float
        Rate at which samples really come, in Hz of the host's clock.
    """

    n_lost: int
    n_discarded: int
    n_rejected: int
    n_reconnects: int
    n_waiting: int
    sfreq: float


class Link:
    """A board on a port, through unplugged cables and restarted processes.

    A thread of its own reads the port, stamps what arrives, and makes chunks of it; chunks wait in
    memory until they are read, so a slow store loses nothing. Everything else, ``on_event``
    included, happens in the thread that calls.

    When the port goes away it is looked for again, after 0.1 s at first and every 5 s at last. A
    board that then streams is listened to; one that is silent is greeted and started anew. A
    board that says nothing for 2 s is started again where it is, and after that likewise.

    Parameters
    ----------
    port : str
        Path of a serial port, or any URL that pyserial opens.
    board : Board
        The protocol spoken there.
    chunk_ms : float
        Length of the chunks.
    on_event : callable
        Told ``connected`` (the port's facts, ``streams``), ``disconnected`` (``reason``, a
        `GapReason`, and ``message``), ``reconnecting`` (``attempt``, ``retry_in_seconds``,
        ``message``) and ``packet_loss`` (``first_sample``, ``n_samples``, ``reason``), in the
        order in which they happened to the chunks.
    resume : Resume or None
        Take over a stream: a board that still streams is not disturbed, and what it sent
        meanwhile is counted exactly.
    clock_offset_ns : int or None
        Wall clock minus monotonic clock of the stream that is taken over. None: measure it.
    """

    def __init__(
        self,
        port: str,
        board: Board,
        *,
        chunk_ms: float = 40.0,
        on_event: Callable[[str, dict[str, Any]], None] = ignore,
        resume: Resume | None = None,
        clock_offset_ns: int | None = None,
    ) -> None:
        self.port = port
        if clock_offset_ns is None:
            clock_offset_ns = wall_minus_monotonic()
        self.clock_offset_ns = clock_offset_ns
        self._board = board
        self._on_event = on_event
        clock = StreamClock(board.sfreq, offset_ns=clock_offset_ns)
        if resume is not None:
            clock.seed(resume.last_first_sample, resume.last_time_ns, now_ns=time.monotonic_ns())
        self._unwrapper = CounterUnwrapper(
            clock,
            modulus=board.counter_modulus,
            phase=resume.counter_phase if resume else 0,
            next_index=resume.next_sample if resume else 0,
        )
        self._chunker = Chunker(board, self._unwrapper, chunk_ms=chunk_ms)
        if resume is not None:
            self._chunker.expect(GapReason.NOT_LISTENING)
        self._is_resumed = resume is not None
        self._next_sample = self._unwrapper.next_index
        self._facts = PortFacts(port=port, description="")
        self._info = BoardInfo()
        self._reader = Reader(
            port, board, self._unwrapper, self._chunker, open_port=self._open_port
        )
        self._is_over = False
        self._n_lost = 0

    @property
    def port_info(self) -> dict[str, Any]:
        """The facts of the port that was opened last."""
        return self._reader.port_info

    @property
    def counter_phase(self) -> int:
        """Sample index minus board counter, modulo its modulus; see `Resume`."""
        return self._unwrapper.phase

    @property
    def clock(self) -> StreamClock:
        """The stream's clock; ask it from any thread, tell it nothing."""
        return self._unwrapper.clock

    @property
    def statistics(self) -> LinkStatistics:
        """What became of what the board sent."""
        return LinkStatistics(
            n_lost=self._n_lost,
            n_discarded=self._chunker.n_discarded,
            n_rejected=self._unwrapper.n_rejected,
            n_reconnects=self._reader.n_reconnects,
            n_waiting=self._reader.waiting.qsize(),
            sfreq=self.clock.sfreq,
        )

    def open(self) -> BoardInfo:
        """Open the port, for us alone, and greet the board.

        Returns
        -------
        BoardInfo
            What the board said of itself; of one that was found streaming, what it was asked for.

        Raises
        ------
        PortMissingError, PortBusyError, PortForbiddenError
            If the port cannot be opened.
        NoAnswerError, WrongBoardError
            If it opens and the board is not there.
        """
        reader = self._reader
        if reader.is_open:
            return self._info
        try:
            reader.connect()
            if self._is_resumed and reader.listen(LISTEN_SECONDS):
                reader.streams = True
                self._info = BoardInfo(
                    sfreq=self._board.sfreq,
                    n_channels=self._board.n_channels,
                    details={"found": "streaming"},
                )
            else:
                self._info = reader.greet()
        except BaseException:
            self.close()
            raise
        self._on_event("connected", {**self.port_info, "streams": reader.streams})
        return self._info

    def start(self) -> None:
        """Let the board stream, unless it does, and begin to read.

        Raises
        ------
        RuntimeError
            If the link is not open, or was stopped: a stream is started once.
        """
        if self._reader.is_ended:
            raise RuntimeError(f"The link to {self.port} was stopped; a stream needs a new one.")
        if not self._reader.is_open:
            raise RuntimeError(f"The link to {self.port} is not open; open() comes first.")
        self._reader.begin()

    def read(self, timeout: float) -> Chunk | None:
        """Return the next chunk, as soon as its last sample has arrived.

        Parameters
        ----------
        timeout : float
            Seconds to wait.

        Returns
        -------
        Chunk or None
            None when the time has passed, and after the last chunk of a stopped link. Unplugged
            cables and silent boards raise nothing; they are events.
        """
        deadline = time.monotonic() + timeout
        while not self._is_over:
            try:
                item = self._reader.waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if isinstance(item, Chunk):
                self._tell_loss(item)
                return item
            if isinstance(item, tuple):
                self._on_event(*item)
                continue
            self._is_over = True
            if item is not None:  # the reading thread died of it
                raise item
        return None

    def stop(self) -> None:
        """Let the board stop streaming; what it sent until then can still be read."""
        self._reader.end(says_stop=True)

    def close(self) -> None:
        """Give the port back. A board that was not stopped goes on streaming."""
        self._reader.end(says_stop=False)
        self._reader.close()

    def _open_port(self, wake_r: int) -> tuple[Line, dict[str, Any]]:
        """Open the port, wherever it is now, and return the line and what is known of the port."""
        where = find_again(self._facts)
        try:
            port = serial.serial_for_url(
                where, self._board.baudrate, timeout=0, write_timeout=WRITE_SECONDS, exclusive=True
            )
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise not_opened(where, error) from error
        line = Line(port, url=where, wake_r=wake_r)
        self._facts = facts_of(where)
        timer = shorten_latency(where)
        return line, {
            "port": where,
            "description": self._facts.description,
            "vid": self._facts.vid,
            "pid": self._facts.pid,
            "serial_number": self._facts.serial_number,
            "latency_timer_ms": timer.milliseconds,
            "latency_timer_note": timer.note,
        }

    def _tell_loss(self, chunk: Chunk) -> None:
        if chunk.gap is not None:
            n_samples = chunk.first_sample - self._next_sample
            self._n_lost += n_samples
            data = {"first_sample": self._next_sample, "n_samples": n_samples}
            self._on_event("packet_loss", {**data, "reason": chunk.gap.value})
        self._next_sample = chunk.stop_sample
