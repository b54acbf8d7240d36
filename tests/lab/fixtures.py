"""The whole lab, as `make run` starts it, in a folder of its own: for tests of any folder."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from neurascale.core.host import start_time
from tests.lab.board import Board
from tests.lab.running import Lab, make_lab
from tests.lab.sharing import is_last

SHARED = pytest.StashKey[Lab]()
numbers = itertools.count()  # of boards: two devices cannot have one port


@contextmanager
def database(name: str) -> Iterator[str | None]:
    """URL of an empty database on the tests' PostgreSQL; None where the run is on SQLite."""
    server = os.environ.get("DATABASE_URL")
    if server is None:
        yield None
        return
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def fresh_lab_database() -> Iterator[str | None]:
    """For a test that starts a lab of its own, with `make_lab`."""
    with database(f"own_{os.getpid()}") as url:
        yield url


def end(lab: Lab) -> None:
    """Stop a lab that was not stopped yet; nothing may be left of it."""
    if lab.supervisor is None:
        return
    pids = lab.pids()
    lab.stop()
    lab.supervisor = None
    left = {name: pid for name, pid in pids.items() if start_time(pid) is not None}
    assert not left, f"left behind: {left}"


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Stop the lab after the last of its tests, or it would record beside all others until the end.

    The fixture lives as long as the process, of whose tests those of the lab are the first.
    """
    if SHARED in item.config.stash and is_last(item):
        end(item.config.stash[SHARED])


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """A running lab with a virtual Cyton that streams, shared by all tests that ask for it.

    Whoever kills a part of it waits until it is back; whoever needs an untouched one uses
    `make_lab`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ns-lab-") as folder,  # short: unix sockets lie in it
        database(f"lab_{os.getpid()}") as url,
    ):
        started = make_lab(Path(folder), database_url=url)
        started.start()
        try:
            started.create_client()
            pytestconfig.stash[SHARED] = started
            yield started
        finally:
            end(started)


@pytest.fixture
def plug_in(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Plug in a virtual board of one's own and return its device's id.

    Takes the options of `manage.py virtual_board`, and ``settings=`` of the device.
    """
    plugged: list[tuple[Board, str]] = []

    def plug(*options: str, settings: dict[str, Any] | None = None) -> str:
        name = f"board{next(numbers)}"
        link = lab.home / "run" / name
        board = Board(link, tmp_path / name, *options)
        device = {"name": name, "type": "openbci", "port": str(link)}
        with lab.api() as api:
            made = api.post("devices", json=device | {"settings": settings or {}})
            plugged.append((board, made.raise_for_status().json()["device_id"]))
        return plugged[-1][1]

    yield plug
    with lab.api() as api:
        for board, device_id in plugged:
            api.post(f"devices/{device_id}/disconnect").raise_for_status()
            board.stop()
