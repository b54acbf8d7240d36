"""From the board to the subscriber: how long the last byte of a chunk takes to be JSON at a client.

    python -m benchmarks.latency [--seconds 60]

Two chains side by side, in the same minute on the same machine, each with a virtual Cyton on a
pseudo-terminal that logs when it handed every frame to the port:

- **lab**: the whole lab as `manage.py up` runs it, with two filters, storing every chunk
  durably before it is shown;
- **reference**: the least that could be done, in one process: pyserial reads, frames are cut,
  `websockets` broadcasts the counts as JSON. It stores nothing, filters nothing, checks nothing.

Printed are percentiles of (a client has the message) - (the chunk's last frame was handed to the
port), in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import serial
import websockets

from devices.virtual.truth import Truth
from tests.lab.board import Board
from tests.lab.running import make_lab
from tests.machine import find_free_port

CHUNK_FRAMES = 10
FRAME_BYTES = 33


async def receive(url: str, headers: dict[str, str], hello: dict | None, seconds: float) -> dict:
    """Return the arrival (monotonic ns) of every chunk's last frame, by its index."""
    arrivals: dict[int, int] = {}
    async with websockets.connect(url, additional_headers=headers, compression=None) as socket:
        if hello:
            await socket.send(json.dumps(hello))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = await asyncio.wait_for(socket.recv(), 10)
            now = time.monotonic_ns()
            message = json.loads(text)
            if message["type"] == "data":
                arrivals[message["first_sample"] + len(message["samples"]) - 1] = now
    return arrivals


def reference_chain(link: str, port: int) -> None:
    """Run the reference: read, cut, broadcast; ended by its parent."""

    async def serve() -> None:
        clients: set = set()

        async def join(socket) -> None:
            clients.add(socket)
            await socket.wait_closed()
            clients.discard(socket)

        loop = asyncio.get_running_loop()
        board = serial.Serial(link, 115200, timeout=1)
        async with websockets.serve(join, "127.0.0.1", port, compression=None):
            board.write(b"b")
            print("ready", flush=True)
            first = 0
            while True:
                chunk = await loop.run_in_executor(None, board.read, CHUNK_FRAMES * FRAME_BYTES)
                frames = np.frombuffer(chunk, np.uint8).reshape(-1, FRAME_BYTES)
                big_endian = frames[:, 2:26].reshape(-1, 8, 3).astype(np.int32)
                counts = big_endian[..., 0] << 16 | big_endian[..., 1] << 8 | big_endian[..., 2]
                message = {"type": "data", "first_sample": first, "samples": counts.tolist()}
                first += len(frames)
                websockets.broadcast(clients, json.dumps(message))

    asyncio.run(serve())


def latencies_ms(arrivals: dict[int, int], truth: Path) -> np.ndarray:
    """Return one latency a chunk, the first second left out."""
    sent = Truth.read(truth).sent_ns
    return np.array([(t - sent[i]) / 1e6 for i, t in sorted(arrivals.items()) if i > 250])


def report(name: str, values: np.ndarray) -> None:
    """Print one line."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    print(
        f"{name:<10} p50 {p50:6.2f}  p95 {p95:6.2f}  p99 {p99:6.2f}  max {values.max():6.2f} ms"
        f"   ({values.size} chunks)"
    )


def main() -> None:
    """Run both chains and print both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reference-chain", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reference_chain:
        reference_chain(options.reference_chain[0], int(options.reference_chain[1]))
        return
    with tempfile.TemporaryDirectory(prefix="ns-latency-") as folder:
        home = Path(folder)
        (home / "lab").mkdir()
        ours = Board(home / "a", home / "a.truth")
        theirs = Board(home / "b", home / "b.truth")
        lab = make_lab(home / "lab", NEURASCALE_VIRTUAL_BOARD="0")
        lab.start()
        port = find_free_port()
        chain = None
        try:
            lab.create_client()
            with lab.api() as api:
                device = {"name": "Cyton", "type": "openbci", "port": str(home / "a")}
                made = api.post("devices", json=device).raise_for_status()
                device_id = made.json()["device_id"]
                filters = {"notch": 50, "bandpass": [1, 50]}
                started = api.post(f"devices/{device_id}/stream/start", json={"filters": filters})
                started.raise_for_status()
                headers = {"Authorization": api.headers["Authorization"]}
            chain = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.latency",
                    "--reference-chain",
                    str(home / "b"),
                    str(port),
                ],
                stdout=subprocess.PIPE,
            )
            chain.stdout.readline()
            time.sleep(10)  # idle: the lab's late starters have started
            hello = {"type": "subscribe", "device_id": device_id, "filtered": True}
            there = f"ws://127.0.0.1:{port}"

            async def both() -> list[dict]:
                return await asyncio.gather(
                    receive(lab.ws_url, headers, hello, options.seconds),
                    receive(there, {}, None, options.seconds),
                )

            lab_arrivals, reference_arrivals = asyncio.run(both())
        finally:
            if chain is not None:
                chain.kill()
                chain.wait()
            lab.stop()
            ours.stop()
            theirs.stop()
        print("last byte of a 40 ms chunk written to the port -> JSON at a subscriber")
        report("lab", latencies_ms(lab_arrivals, home / "a.truth"))
        report("reference", latencies_ms(reference_arrivals, home / "b.truth"))


if __name__ == "__main__":
    main()
