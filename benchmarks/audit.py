"""The audit log: what an entry adds to an ingestion.

    python -m benchmarks.audit [--requests 400] [--databases sqlite postgresql]

Each request stores 8 channels by 250 samples through `ingest_samples`. With and without its entry
they take turns, so that whatever the machine does besides hits both alike. Beside them, an entry
alone: a transaction of its own with the three statements.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np

from benchmarks.databases import on_each_database
from devices.models import Device
from ingest.services import ingestions
from neurascale.core.audit import record, verify
from sessions_app.models import Session
from sessions_app.services import create_client, get_session

SFREQ = 250.0


def main() -> None:
    """Measure on each database in a process that has Django to itself."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=400)
    on_each_database(
        parser, "benchmarks.audit", lambda name, options: measure(name, options.requests)
    )


def measure(name: str, n_requests: int) -> None:
    """Print the medians of an ingestion with its entry, without it, and of an entry alone."""
    device = Device.objects.create(name="Cyton", board="cyton", port="/dev/nowhere")
    client = create_client(name="benchmark", scopes=["all"]).client
    study = client.studies.get()
    data = np.random.default_rng(0).normal(0, 20, (8, 250)).astype(np.float32)
    sessions = [
        Session.objects.create(study=study, device=device, status="active"),
        Session.objects.create(
            study=study,
            device=Device.objects.create(name="Cyton", board="cyton", port="/dev/else"),
            status="active",
        ),
    ]
    took: dict[str, list[float]] = {"with": [], "without": [], "entry alone": []}
    for number in range(n_requests + 20):
        for session, kind in zip(sessions, ("with", "without"), strict=True):
            found = get_session(client, session.public_id)
            with ExitStack() as stack:
                if kind == "without":
                    stack.enter_context(patch.object(ingestions, "record", lambda *a, **k: None))
                took[kind].append(
                    timed(
                        lambda found=found, number=number: ingestions.ingest_samples(
                            principal=client,
                            session_id=found.public_id,
                            device_id=found.device.public_id,
                            data=data,
                            sfreq=SFREQ,
                            time_ns=1_700_000_000_000_000_000 + number * 10**9,
                            metadata={},
                            request_hash="0" * 64,
                        )
                    )
                )
        took["entry alone"].append(timed(lambda: record("benchmark.do", "nothing")))
    medians = {kind: statistics.median(times[20:]) * 1e3 for kind, times in took.items()}
    added = medians["with"] - medians["without"]
    print(
        f"{name}: an ingestion takes {medians['with']:.2f} ms with its entry, "
        f"{medians['without']:.2f} ms without: {added:+.2f} ms, "
        f"a ratio of {medians['with'] / medians['without']:.2f}; "
        f"an entry alone {medians['entry alone']:.2f} ms"
    )
    began = time.perf_counter()
    checked = verify()
    assert not checked.problems
    rate = checked.n_entries / (time.perf_counter() - began)
    print(f"{name}: verify_audit checks {rate:,.0f} entries a second")


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
