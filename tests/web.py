"""A web process of the project, beside the tests and on their database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from tests.environment import spawn
from tests.machine import ROOT, answers_http, find_free_port
from tests.waiting import wait_until


@dataclass(frozen=True)
class Server:
    """A web process of the project on this test's database."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"


ASGI = ("neurascale.core.server", "--bind", "127.0.0.1", "neurascale.asgi:application")
WSGI = ("granian", "--interface", "wsgi", "--no-ws", "neurascale.wsgi:application")


@contextmanager
def serve(log: Path, command: Sequence[str] = ASGI, /, **environment: str) -> Iterator[Server]:
    """Run a web process on the database that the tests use; it may be killed meanwhile."""
    port = find_free_port()
    with log.open("wb") as output:
        process = spawn(
            [sys.executable, "-m", *command, "--port", str(port)],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database_url()} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: answers_http(port) or process.poll() is not None, seconds=60, what="web")
    assert process.poll() is None, log.read_text()
    try:
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait(30)


def database_url() -> str:
    """Return the URL of the test database this process uses."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{quote(name)}"
    return os.environ["DATABASE_URL"].replace("/postgres?", f"/{quote(name)}?")
