"""On SQLite the threads of a process write in turn; elsewhere nobody waits here."""

from __future__ import annotations

import os
import threading

import pytest
from django.db import connection, transaction

from neurascale.core import turns
from neurascale.core.turns import is_taken, turn

pytestmark = pytest.mark.django_db(transaction=True)

IS_SQLITE = connection.vendor == "sqlite"


def in_another_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def is_free() -> bool:
    """Tell whether another thread would get a turn at once."""
    found = []

    def look() -> None:
        found.append(turns._line.lock.acquire(blocking=False))
        if found[0]:
            turns._line.lock.release()

    in_another_thread(look).join(10)
    return found[0]


def test_the_second_waits_for_the_first_where_there_is_one_writer():
    is_in = threading.Event()

    def write() -> None:
        with turn():
            is_in.set()

    with turn():
        thread = in_another_thread(write)
        assert is_in.wait(0.2) is not IS_SQLITE
    thread.join(10)
    assert is_in.is_set()


def test_who_has_a_turn_may_ask_for_it_again_and_gives_it_back_once():
    with turn():
        with pytest.raises(RuntimeError, match="mine"), turn():
            raise RuntimeError("mine")
        assert is_free() is not IS_SQLITE
    assert is_free()


def test_others_know_that_there_is_time_to_prepare_until_the_last_turn_is_given_back():
    assert not is_taken()
    with turn():
        with turn():
            pass
        assert is_taken() is IS_SQLITE
    assert not is_taken()


def test_a_transaction_that_has_begun_waits_for_nobody():
    """Whoever holds SQLite's own lock must not stand in a line behind those who want it."""
    entered = threading.Event()

    def write() -> None:
        with transaction.atomic(), turn():
            entered.set()
        connection.close()

    with turn():
        thread = in_another_thread(write)
        assert entered.wait(10)
    thread.join(10)


def test_who_waited_as_long_as_sqlite_would_tries_anyhow(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.05)
    entered = threading.Event()

    def write() -> None:
        with turn():
            entered.set()

    with turn():
        thread = in_another_thread(write)
        assert entered.wait(10)
        thread.join(10)
        assert is_free() is not IS_SQLITE  # it gave back no turn but its own


def test_a_forked_process_has_a_line_of_its_own():
    with turn():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if turns._line.lock.acquire(timeout=0.1) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert is_free()
