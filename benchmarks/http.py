"""REST: requests a second and how long they take, beside the least that could be done.

    python -m benchmarks.http [--seconds 1] [--rounds 5] [--servers daphne granian] [--keep 0]

On each server (daphne, which the one-machine lab runs, and granian with WSGI, for production), one
worker, at 1 and at 16 connections, taken in turns, round after round. Each figure is the median of
the rounds; so is a share, which compares what ran within the same two seconds:

- **trivial**: a view of REST framework that knows its caller by a JWT;
- **devices**: ``GET /v1/devices``, 20 rows, with all checks of the lab;
- **plain**: a plain view that reads 8 x 250 samples as JSON with orjson and does one raw INSERT;
- **json**, **npy**, **arrow**: ``POST /v1/ingest/neural-data``, the same samples, durable when
  it answers, with all checks of the lab.

Goals: devices at least 0.7 of trivial, json 0.5 and npy and arrow 0.6 of plain. All of it on
a fresh SQLite, or with ``NEURASCALE_TEST_DATABASE=postgresql`` on a PostgreSQL. The load comes from
a process of its own, which does little more than to write bytes and to count answers.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import pickle
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.http_load import PRODUCTION, serve_orders
from tests.environment import spawn  # starts a Valkey, and PostgreSQL if asked
from tests.machine import ROOT, answers_http, find_free_port

SERVERS = {
    "daphne": ["neurascale.core.server", "--port", "{port}", "neurascale.asgi:application"],
    "granian": [
        *("granian", "--interface", "wsgi", "--workers", "1", "--port", "{port}"),
        *("--blocking-threads", "2", "--no-ws", "--log-level", "warning"),
        "neurascale.wsgi:application",
    ],
}
CONNECTIONS = (1, 16)
GOALS = {
    "devices": ("trivial", 0.7),
    "json": ("plain", 0.5),
    "npy": ("plain", 0.6),
    "arrow": ("plain", 0.6),
}
KINDS = ("trivial", "devices", "plain", "json", "npy", "arrow")


@dataclass
class Figures:
    """What one run measured: requests a second, and percentiles of one in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


# --- Runs ----------------------------------------------------------------------------------------


def measure(
    name: str, orders: Any, answers: Any, *, seconds: float, rounds: int
) -> dict[tuple[str, int], list[Figures]]:
    """Return the figures of each kind and number of connections, round by round, on one server."""
    port = find_free_port()
    command = [part.format(port=port) for part in SERVERS[name]]
    server = spawn([sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.DEVNULL)
    runs: dict[tuple[str, int], list[Figures]] = {}
    try:
        while not answers_http(port):
            assert server.poll() is None, f"{name} did not start"
            time.sleep(0.05)
        for round_ in range(rounds + 1):  # the first one warms up
            for n_connections, kind in itertools.product(CONNECTIONS, KINDS):
                orders.put((kind, port, n_connections, seconds if round_ else seconds / 3))
                latencies, took = answers.get(timeout=seconds + 60)
                if isinstance(latencies, str):
                    raise SystemExit(latencies)
                p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
                if round_:
                    figures = Figures(len(latencies) / took, p50, p99)
                    runs.setdefault((kind, n_connections), []).append(figures)
    finally:
        server.terminate()
        server.wait(30)
    return runs


def median(figures: list[Figures], name: str) -> float:
    """Return the median of one of the figures."""
    return statistics.median(getattr(each, name) for each in figures)


def share_of(found: list[Figures], reference: list[Figures]) -> float:
    """Return how fast one kind is beside another: round by round, as the machine's speed drifts."""
    return statistics.median(a.rate / b.rate for a, b in zip(found, reference, strict=True))


def main() -> int:
    """Print the figures of each server, and how far from its goal each kind is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of one run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--keep", type=int, default=0, help="seconds that SQLite is kept open")
    options = parser.parse_args()
    if "DATABASE_URL" not in os.environ:
        os.environ["CONN_MAX_AGE"] = str(options.keep)
    is_good = True
    os.environ |= PRODUCTION
    prepared = Path(os.environ["NEURASCALE_HOME"]) / "requests"
    command = [sys.executable, "-m", "benchmarks.http_lab", str(max(CONNECTIONS)), str(prepared)]
    subprocess.run(command, cwd=ROOT, check=True)
    context = multiprocessing.get_context("fork")
    orders, answers = context.Queue(), context.Queue()
    process = context.Process(
        target=serve_orders,
        args=(orders, answers, pickle.loads(prepared.read_bytes())),
        daemon=True,
    )
    process.start()
    for name in options.servers:
        found = measure(name, orders, answers, seconds=options.seconds, rounds=options.rounds)
        print(f"\n{name}, one worker: median of {options.rounds} rounds")
        for n_connections in CONNECTIONS:
            print(f"{n_connections:>3} connections{'requests/s':>14}{'p50 ms':>9}{'p99 ms':>9}")
            for kind in KINDS:
                figures = found[kind, n_connections]
                line = f"    {kind:11}{median(figures, 'rate'):14,.0f}"
                line += "".join(f"{median(figures, name):9.2f}" for name in ("p50_ms", "p99_ms"))
                if kind in GOALS:
                    reference, goal = GOALS[kind]
                    share = share_of(figures, found[reference, n_connections])
                    verdict = "" if share >= goal else f"  NOT the {goal:g} it should be"
                    is_good = is_good and share >= goal
                    line += f"   {share:.2f} of {reference}{verdict}"
                print(line)
    orders.put(None)
    process.join(10)
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
