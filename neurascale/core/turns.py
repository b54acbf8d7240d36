"""Who writes next: on SQLite, which has one writer, the threads of a process stand in line.

Left to themselves they would all ask SQLite again and again, with growing pauses; whoever has
waited longest asks least often. Between processes that remains so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

PATIENCE_SECONDS = 20.0  # as long as SQLite itself waits, in the settings


class Line:
    """The line of one process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # what is done on commit may write again
        self.is_taken = False


_line = Line()
os.register_at_fork(after_in_child=_line.__init__)  # type: ignore[misc]  # nobody stands in it there


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn to write, before the transaction begins; a thread that has one goes on.

    It is a courtesy and not a lock: whoever has waited as long as SQLite would wait tries anyhow.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    lock = _line.lock
    is_mine = lock.acquire(timeout=PATIENCE_SECONDS)
    had_it_before = _line.is_taken
    _line.is_taken = True
    try:
        yield
    finally:
        if is_mine:
            _line.is_taken = had_it_before
            lock.release()


def is_taken() -> bool:
    """Tell whether another thread of this process writes, so that there is time to prepare."""
    return _line.is_taken
