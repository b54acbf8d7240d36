"""Which programs the lab of one machine is made of, and what needs what."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from neurascale.core.valkey import valkey_command
from neurascale.supervisor.program import Program, SocketProbe

ACQUISITION_THREADS = 32  # boards a lab host can stream from at once
NICE = {"default": 10, "signal": 5, "training": 15}  # of each queue's worker
# Celery has each worker check all of the project, for which it loads every page of the portal.
# `manage.py check` does so where it is of use: before anything is released.
CELERY = {"CELERY_SKIP_CHECKS": "1"}


def lab_programs(
    *,
    home: Path,
    host: str,
    bind: str,
    port: int,
    max_body_bytes: int,
    valkey_socket: Path | None,
    virtual_board: bool,
) -> list[Program]:
    """Return the programs of one machine's lab, in the order of their start.

    What stands between a sample and a subscriber comes first: Valkey, board, acquisition and web.
    The rest starts when those answer, and gives way to them for as long as it runs: training may
    take all of the processors that nobody else wants.

    Parameters
    ----------
    home : Path
        The data folder.
    host : str
        Name of this lab host, in its acquisition queue.
    bind : str
        Address where the web process listens.
    port : int
        And its port.
    max_body_bytes : int
        How much of a request it takes before anybody looks at it.
    valkey_socket : Path or None
        Where a Valkey of our own listens; None if another server is used.
    virtual_board : bool
        Whether there is a virtual Cyton.
    """
    run = home / "run"
    programs = []
    if valkey_socket is not None:
        programs.append(_valkey(home / "valkey", valkey_socket))
    broker = tuple(program.name for program in programs)
    if virtual_board:
        programs.append(_virtual_board(run / "virtual-cyton"))
    programs += [
        # It needs no board: a stream goes on when its port is there, and a new one is not wanted
        # before the database is ready, for which the board does not wait.
        _worker("acquisition", host, f"acquisition.{host}", threads=True, needs=broker),
        _web(bind, port, max_body_bytes, needs=broker),
    ]
    live = ("acquisition", "web")
    return [
        *programs,
        _beat(run / "beat-schedule", needs=live),
        *(_worker(queue, host, queue, needs=live, nice=nice) for queue, nice in NICE.items()),
    ]


def _valkey(directory: Path, socket: Path) -> Program:
    return Program(
        name="valkey",
        command=tuple(valkey_command(directory=directory, socket=socket, durable=True)),
        probe=partial(SocketProbe, socket, b"PING\r\n", b"+PONG"),
        outlives_others=True,
    )


def _virtual_board(link: Path) -> Program:
    return Program(
        name="board",
        command=(sys.executable, "-m", "devices.virtual", "--link", str(link), "--with-parent"),
        probe=lambda: link.exists,  # a link to a pseudo-terminal that is gone does not exist
    )


def _web(bind: str, port: int, max_body_bytes: int, *, needs: tuple[str, ...]) -> Program:
    here = "127.0.0.1" if bind in {"", "0.0.0.0"} else bind  # noqa: S104 (a comparison)
    request = f"GET / HTTP/1.1\r\nHost: {here}:{port}\r\nConnection: close\r\n\r\n"
    return Program(
        name="web",
        command=(
            *(sys.executable, "-m", "neurascale.core.server", "neurascale.asgi:application"),
            *("--bind", bind, "--port", str(port)),
            *("--max-body", str(max_body_bytes)),
        ),
        probe=partial(SocketProbe, (here, port), request.encode(), b"HTTP/1."),
        needs=needs,
    )


def _worker(
    name: str,
    host: str,
    queue: str,
    *,
    threads: bool = False,
    needs: tuple[str, ...],
    nice: int = 0,
) -> Program:
    pool = ("threads", ACQUISITION_THREADS) if threads else ("prefork", 1)
    # One host's workers have nothing to tell each other, and a worker that is busy must not be
    # given what another could do.
    return Program(
        name=name,
        command=(
            *(sys.executable, "-m", "celery", "--quiet", "-A", "neurascale.celery", "worker"),
            *("--queues", queue, "--hostname", f"{name}@{host}"),
            *("--pool", pool[0], "--concurrency", str(pool[1]), "--prefetch-multiplier", "1"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        environment=CELERY,
        needs=needs,
        nice=nice,
    )


def _beat(schedule: Path, *, needs: tuple[str, ...]) -> Program:
    return Program(
        name="beat",
        command=(
            *(sys.executable, "-m", "celery", "--quiet", "-A", "neurascale.celery", "beat"),
            *("--schedule", str(schedule), "--pidfile", ""),
        ),
        environment=CELERY,
        needs=needs,
        nice=5,
    )
