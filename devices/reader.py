"""The thread of a link: it reads, makes chunks, and brings a lost stream back.

Rule of this file: when to listen, to greet and to give up is here. It is told how to open the port
by `devices.link`; bytes are in `devices.line`, arithmetic in `devices.chunker`. No Django.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from devices.boards import Board, BoardInfo
from devices.chunker import Chunker
from devices.errors import NoAnswerError, PortMissingError
from devices.line import Line
from devices.unwrap import CounterUnwrapper
from neurascale.core.chunk import Chunk, GapReason
from neurascale.core.errors import HardwareError

LISTEN_SECONDS = 0.3
"""A board that streams shows frames within this time: 37 at 125 Hz."""

SILENCE_SECONDS = 2.0
FIRST_FRAME_SECONDS = 2.0
FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 5.0
DRAIN_SECONDS = 0.05
DRAIN_AT_MOST_SECONDS = 0.5

News = tuple[str, dict[str, Any]]


class Reader:
    """Reads a board on behalf of a `devices.link.Link`.

    Before `begin`, its methods run in the caller's thread; afterwards in a thread of its own.

    Parameters
    ----------
    port : str
        What the port is called in messages.
    board : Board
        The protocol spoken there.
    unwrapper : CounterUnwrapper
        Is told when the board is started anew.
    chunker : Chunker
        Makes chunks of frames.
    open_port : callable
        Takes the reading end of a pipe that ends all waiting; returns an open line and the facts
        of its port, or raises `HardwareError`.

    Attributes
    ----------
    waiting : queue.SimpleQueue
        Chunks, news (as `devices.link.Link` tells them) and, at the end, None; an exception before
        it if the thread died.
    port_info : dict
        The facts of the port that was opened last.
    streams : bool
        Whether the board streamed when it was found.
    n_reconnects : int
        Times that the port or the board fell silent and came back.
    """

    def __init__(
        self,
        port: str,
        board: Board,
        unwrapper: CounterUnwrapper,
        chunker: Chunker,
        *,
        open_port: Callable[[int], tuple[Line, dict[str, Any]]],
    ) -> None:
        self.waiting: queue.SimpleQueue[Chunk | News | Exception | None] = queue.SimpleQueue()
        self.port_info: dict[str, Any] = {"port": port}
        self.streams = False
        self.n_reconnects = 0
        self._port = port
        self._board = board
        self._unwrapper = unwrapper
        self._chunker = chunker
        self._open_port = open_port
        self._open_line: Line | None = None
        self._thread: threading.Thread | None = None
        self._held: list[Chunk] | None = None
        self._ending = threading.Event()
        self._says_stop = False
        self._wake_r, self._wake_w = -1, -1

    @property
    def is_open(self) -> bool:
        """Whether there is a line; it may be dead."""
        return self._open_line is not None

    @property
    def is_ended(self) -> bool:
        """Whether the thread was told to end."""
        return self._ending.is_set()

    def connect(self) -> None:
        """Open the port.

        Raises
        ------
        HardwareError
            If that cannot be done.
        """
        if self._wake_r < 0:
            self._wake_r, self._wake_w = os.pipe()
        self._open_line, self.port_info = self._open_port(self._wake_r)
        self._board.reset()

    def begin(self) -> None:
        """Let the board stream, unless it does, and read it in a thread; once."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"link {self._port}", daemon=True
            )
            self._thread.start()

    def end(self, *, says_stop: bool) -> None:
        """End the thread, if there is one, and wait for its end; saying so twice does no harm.

        Parameters
        ----------
        says_stop : bool
            Stop the board too, and read what it still had to say.
        """
        if self._thread is None or self._ending.is_set():
            return
        self._says_stop = says_stop
        self._ending.set()
        os.write(self._wake_w, b".")
        self._thread.join()

    def close(self) -> None:
        """Give the port back; the thread has ended, or never began."""
        self._drop_line()
        if self._wake_r >= 0:
            os.close(self._wake_r)
            os.close(self._wake_w)
            self._wake_r = self._wake_w = -1

    def _drop_line(self) -> None:
        if self._open_line is not None:
            self._open_line.close()
            self._open_line = None

    def greet(self) -> BoardInfo:
        """Have the conversation that the board's handshake asks for; return what the board said.

        Raises
        ------
        HardwareError
            If nobody answers, or another board does.
        """
        line = self._line()
        line.flush()
        conversation = self._board.handshake()
        try:
            ask = next(conversation)
            while True:
                ask = conversation.send(line.ask(ask.command, ask.until, ask.timeout))
        except StopIteration as end:
            info: BoardInfo = end.value
        except HardwareError as error:
            error.details.setdefault("port", self._port)
            raise
        self._board.reset()
        return info

    def listen(self, seconds: float) -> bool:
        """Return whether frames come within so many seconds; those that do are kept."""
        deadline = time.monotonic() + seconds
        n_frames = 0
        while n_frames < 2 and not self._ending.is_set():
            patience = deadline - time.monotonic()
            if patience <= 0:
                return False
            n_frames += self._take(patience)
        return True

    def _run(self) -> None:
        try:
            self._stream()
            self._take_all(self._chunker.flush())
        except Exception as error:  # handed to whoever reads: a thread must not die in silence
            self.waiting.put(error)
        self.waiting.put(None)

    def _stream(self) -> None:
        try:
            if not self.streams:
                self._start_board()
        except HardwareError as error:
            self._recover(GapReason.UNPLUGGED, str(error))
        heard = time.monotonic()
        while not self._ending.is_set():
            patience = heard + SILENCE_SECONDS - time.monotonic()
            try:
                if self._take(max(0.0, patience)):
                    heard = time.monotonic()
                elif time.monotonic() - heard >= SILENCE_SECONDS:
                    message = f"The board on {self._port} said nothing for {SILENCE_SECONDS:g} s."
                    self._recover(GapReason.SILENT, message)
                    heard = time.monotonic()
            except HardwareError as error:
                self._recover(GapReason.UNPLUGGED, str(error))
                heard = time.monotonic()
        if self._says_stop and self._open_line is not None:
            self._silence()

    def _line(self) -> Line:
        if self._open_line is None:
            raise PortMissingError(f"{self._port} is not open.", port=self._port)
        return self._open_line

    def _start_board(self) -> None:
        """Start a board that was greeted."""
        line = self._line()
        line.flush()
        if self._unwrapper.clock.is_empty:
            self._unwrapper.begin(time.monotonic_ns())
        else:
            self._unwrapper.renew()
        line.write(self._board.start_command)

    def _take(self, timeout: float) -> int:
        """Wait for bytes, make chunks of them, and return how many frames there were."""
        line = self._line()
        data = line.read(timeout, gathers=True)
        if not data:
            return 0
        frames = self._board.feed(data)
        self._take_all(self._chunker.feed(frames, line.arrival_ns))
        return frames.n_times

    def _take_all(self, chunks: list[Chunk]) -> None:
        if self._held is not None:
            self._held += chunks
            return
        for chunk in chunks:
            self.waiting.put(chunk)

    def _silence(self) -> None:
        """Stop the board and take what it still had to say."""
        try:
            self._line().write(self._board.stop_command)
            deadline = time.monotonic() + DRAIN_AT_MOST_SECONDS
            os.read(self._wake_r, 1)  # the wake-up call was heard; now wait for bytes again
            while self._take(DRAIN_SECONDS) and time.monotonic() < deadline:
                pass
        except HardwareError:
            return  # unplugged while it was being stopped: there is no more to read

    def _recover(self, reason: GapReason, message: str) -> None:
        """Bring the stream back, however long it takes; return when it flows, or on `stop`."""
        self._take_all(self._chunker.flush())
        self._chunker.expect(reason)
        self.waiting.put(("disconnected", {"reason": reason.value, "message": message}))
        self._held = []  # so that the news comes before the first chunks
        if not (reason is GapReason.SILENT and self._nudge()):
            self._reconnect()
        if not self._ending.is_set():
            self.n_reconnects += 1
            self.waiting.put(("connected", {**self.port_info, "streams": True}))
        chunks, self._held = self._held, None
        self._take_all(chunks)

    def _nudge(self) -> bool:
        """Tell a silent board to stream, and return whether it does."""
        try:
            self._unwrapper.suspect_restart()
            self._line().write(self._board.start_command)
            return self.listen(FIRST_FRAME_SECONDS)
        except HardwareError:
            return False

    def _reconnect(self) -> None:
        attempt, delay = 0, FIRST_DELAY_SECONDS
        while not self._ending.is_set():
            try:
                self._reopen()
                return
            except HardwareError as error:
                attempt += 1
                data = {"attempt": attempt, "retry_in_seconds": delay, "message": error.message}
                self.waiting.put(("reconnecting", data))
            select.select([self._wake_r], [], [], delay)
            delay = min(2 * delay, LAST_DELAY_SECONDS)

    def _reopen(self) -> None:
        self._drop_line()
        self.connect()
        if self.listen(LISTEN_SECONDS):
            return
        self.greet()
        self._start_board()
        if not self.listen(FIRST_FRAME_SECONDS):
            raise NoAnswerError(
                f"The board on {self._port} answers but does not stream.", port=self._port
            )
