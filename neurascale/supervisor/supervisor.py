"""The loop: start in order, merge the logs, start again what dies, stop all of it in good order."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType

from neurascale.supervisor.child import BackOff, Child
from neurascale.supervisor.log import Lines, Log
from neurascale.supervisor.program import Program
from neurascale.supervisor.state import RunState

LOOK_SECONDS = 0.02  # how often programs that start are asked whether they answer
REST_SECONDS = 0.5  # how often the supervisor looks whether its parent lives, when all is well
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """Run programs until told to stop; leave nothing behind.

    Parameters
    ----------
    programs : sequence of Program
        In the order of their start.
    state : RunState
        The lock that was taken; keeps the list of processes.
    log : Log
        Where all lines go.
    on_ready : callable, optional
        Called once, when every program has answered.
    grace : float
        Seconds from asking programs to end to killing them.
    back_off : BackOff
        When a program that ended is started again.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        state: RunState,
        log: Log,
        on_ready: Callable[[], None] | None = None,
        grace: float = 10.0,
        back_off: BackOff | None = None,
    ) -> None:
        self.children = {p.name: Child(p, back_off or BackOff()) for p in programs}
        self.state = state
        self.log = log
        self.on_ready = on_ready
        self.grace = grace
        self._answered: set[str] = set()
        self._waiting = dict(self.children)  # never started yet
        self._is_stopping = self._is_last = False
        self._kill_at = float("inf")
        self._parent = os.getppid()
        self._selector = selectors.SelectSelector()

    # --- from outside ----------------------------------------------------------------------------

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not self._is_stopping:
            self.stop(f"{kind.__name__ if kind else ''}: {error}")
        while any(child.process for child in self.children.values()):
            self._turn()
        self._listen(REST_SECONDS if self._selector.get_map() else 0)
        self.log.write(seconds=1)
        self._selector.close()

    def start(self, *names: str) -> None:
        """Start programs before `run` does, to gain time."""
        for name in names:
            self._start(self._waiting.pop(name))

    def run(self) -> None:
        """Start everything and keep it running until a signal, or the end of the parent."""
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(read, selectors.EVENT_READ, partial(os.read, read, 512))
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        before_wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        try:
            while not self._is_stopping or any(c.process for c in self.children.values()):
                self._turn()
        finally:
            signal.set_wakeup_fd(before_wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.unregister(read)
            os.close(read)
            os.close(write)

    def stop(self, why: str) -> None:
        """Ask every program to end; asked again, kill what is left."""
        if self._is_stopping:
            self._kill_at = 0
            return
        self.log.line("lab", f"stopping: {why}")
        self._is_stopping = True
        self._kill_at = time.monotonic() + self.grace
        for child in self.children.values():
            if not child.program.outlives_others:
                child.signal(signal.SIGTERM)

    # --- one turn of the loop --------------------------------------------------------------------

    def _turn(self) -> None:
        self._listen(self._patience())
        self._reap()
        if self._is_stopping:
            self._finish()
            return
        if os.getppid() != self._parent:
            self.stop("the process that started the lab is gone")
            return
        for child in self.children.values():
            if child.ask():
                self._is_answered(child)
        self._start_due()

    def _patience(self) -> float:
        children = self.children.values()
        if self._is_stopping or not all(child.is_ready for child in children):
            return LOOK_SECONDS
        return REST_SECONDS

    def _listen(self, seconds: float) -> None:
        """Pass on what programs say, for at most this long when nobody says anything."""
        if self.log.is_waiting:
            seconds = min(seconds, LOOK_SECONDS)
            self.log.write()
        for key, _ in self._selector.select(seconds):
            key.data()

    def _reap(self) -> None:
        for child in self.children.values():
            how = child.reap()
            if how is None:
                continue
            self._record()
            if not self._is_stopping:
                self.log.line("lab", f"{child.name} ended {how}; again in {child.pause:.1f} s")
            elif how not in {"with exit code 0", "by SIGTERM"}:
                self.log.line("lab", f"{child.name} ended {how}")

    def _start_due(self) -> None:
        now = time.monotonic()
        for name, child in list(self._waiting.items()):
            if self._answered.issuperset(child.program.needs):
                del self._waiting[name]
                self._start(child)
        for child in self.children.values():
            if child.due_at is not None and child.due_at <= now:
                self._start(child)

    def _start(self, child: Child) -> None:
        printed, announced = child.start()
        self._selector.register(
            printed, selectors.EVENT_READ, partial(self._hear, child.name, Lines(), printed)
        )
        self._selector.register(
            announced, selectors.EVENT_READ, partial(self._announced, child, announced)
        )
        self._record()

    def _hear(self, name: str, lines: Lines, fd: int) -> None:
        data = os.read(fd, 65536)
        for line in lines.feed(data) if data else lines.end():
            self.log.line(name, line)
        if not data:
            self._forget(fd)

    def _announced(self, child: Child, fd: int) -> None:
        said = os.read(fd, 16)
        self._forget(fd)
        if said and child.process is not None and not child.is_ready:
            child.is_ready = True
            self._is_answered(child)

    def _forget(self, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)

    def _is_answered(self, child: Child) -> None:
        self._answered.add(child.name)
        if self.on_ready is not None and self._answered.issuperset(self.children):
            on_ready, self.on_ready = self.on_ready, None
            on_ready()

    def _finish(self) -> None:
        """Let those end last on whom the others depend, and kill whoever takes too long."""
        alive = [child for child in self.children.values() if child.process is not None]
        asked = [child for child in alive if not child.program.outlives_others]
        if not asked and not self._is_last:
            self._is_last = True
            self._kill_at = time.monotonic() + self.grace
            for child in alive:
                child.signal(signal.SIGTERM)
        if time.monotonic() >= self._kill_at:
            for child in asked or alive:
                self.log.line("lab", f"{child.name} does not end; killing it")
                child.kill()
            self._kill_at = time.monotonic() + self.grace

    def _record(self) -> None:
        self.state.record({n: c.process.pid for n, c in self.children.items() if c.process})

    def _on_signal(self, signum: int, frame: object) -> None:
        self.stop(signal.Signals(signum).name)
