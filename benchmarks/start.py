"""From `manage.py up` to the first packet at a subscriber, for a lab that was started before.

    python -m benchmarks.start [--rounds 5]

A lab with a virtual Cyton is started, which makes its database, and stopped. Then, round after
round, in turns:

- **lab**: it is started again while a subscriber keeps trying to connect. Printed are the seconds
  until that subscriber has its first packet, and until all eight programs answer;
- **reference**: one process that imports what the web process imports and ends. The lab starts
  three that are about as large, one after another or side by side, before there is a packet.

Printed are the lowest, the median and the highest of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.lab.running import READY, Lab, make_lab
from tests.machine import ROOT

RETRY_SECONDS = 0.02
LONGEST_SECONDS = 60


def first_packet(lab: Lab, device_id: str, token: str) -> None:
    """Return as soon as a subscriber has a packet, however often it has to connect."""
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_SECONDS:
        try:
            with connect(lab.ws_url, additional_headers={"Authorization": token}) as socket:
                socket.send(json.dumps({"type": "subscribe", "device_id": device_id}))
                while json.loads(socket.recv(timeout=LONGEST_SECONDS))["type"] != "data":
                    pass
                return
        except (OSError, WebSocketException):
            time.sleep(RETRY_SECONDS)
    raise SystemExit(f"no packet within {LONGEST_SECONDS} s:\n{lab.log[-4000:]}")


def warm_start(lab: Lab, device_id: str, token: str) -> tuple[float, float]:
    """Start and stop the lab; return seconds to the first packet, and until all answer."""
    n_before = len(READY.findall(lab.log))
    began = time.monotonic()
    lab.start(wait=False)
    try:
        first_packet(lab, device_id, token)
        seconds = time.monotonic() - began
        lab.wait_until_ready(n_before + 1)
        return seconds, float(READY.findall(lab.log)[-1][0])
    finally:
        lab.stop()


def reference(lab: Lab) -> float:
    """Return the seconds of a process that imports the web application."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import neurascale.asgi"],
        cwd=ROOT,
        env=lab.environment,
        check=True,
    )
    return time.monotonic() - began


def report(name: str, values: list[float]) -> None:
    """Print one line."""
    middle = statistics.median(values)
    print(f"{name:<34} min {min(values):5.2f}  median {middle:5.2f}  max {max(values):5.2f} s")


def main() -> None:
    """Start the lab again and again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ns-start-") as folder:
        lab = make_lab(Path(folder))
        lab.start()
        lab.create_client()
        device_id = lab.device_id()
        with lab.api() as api:
            token = api.headers["Authorization"]
        lab.stop()
        found, references = [], []
        for _ in range(options.rounds):
            found.append(warm_start(lab, device_id, token))
            references.append(reference(lab))
    packets, ready = zip(*found, strict=True)
    print(f"warm start, {options.rounds} rounds")
    report("lab, first packet at a subscriber", list(packets))
    report("lab, all programs answer", list(ready))
    report("reference, one process's imports", references)


if __name__ == "__main__":
    main()
