"""The lab of `benchmarks/http.py`: fills a fresh database and writes down what to ask for.

python -m benchmarks.http_lab <number of connections> <file to write to>
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import django
import numpy as np

django.setup()

from django.core.management import call_command
from django.db import connection

from benchmarks.http_urls import TABLE
from devices.models import Device
from neurascale.core.auth import issue_tokens
from sessions_app.models import Session
from sessions_app.services import create_client
from tests.ingest.ingestions import ARROW, NPY, arrow, npy

N_DEVICES = 20
SHAPE = (8, 250)
KINDS = ("trivial", "devices", "plain", "json", "npy", "arrow")
MOMENT = "2026-01-01T00:00:00Z"


def make_table() -> None:
    """Make the table of the plain view."""
    is_postgresql = connection.vendor == "postgresql"
    key, binary = ("bigserial", "bytea") if is_postgresql else ("integer", "blob")
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {TABLE} (id {key} PRIMARY KEY, session varchar(40), body {binary})"
        )


def prepare(n_connections: int) -> dict[str, list[list[bytes]]]:
    """Return, for each kind and connection, what of a request is before and after its timestamp."""
    call_command("migrate", verbosity=0)
    make_table()
    client = create_client(name="bench", scopes=["admin"]).client
    token = issue_tokens(client)["access_token"]
    devices = [
        Device.objects.create(name=f"Cyton {n:02}", board="cyton", port=f"/dev/bench{n}")
        for n in range(N_DEVICES)
    ]
    data = np.random.default_rng(1).normal(0, 30, SHAPE).astype(np.float32)
    rows = ",".join("[" + ",".join(f"{value:.6f}" for value in row) + "]" for row in data)
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    prepared: dict[str, list[list[bytes]]] = {kind: [] for kind in KINDS}
    for n in range(n_connections):
        for kind, path in (("trivial", "/bench/trivial"), ("devices", "/v1/devices")):
            prepared[kind].append([f"GET {path} HTTP/1.1\r\n{head}\r\n".encode(), b""])
        # A session each, on a device each: as from so many boards.
        session = Session.objects.create(study=client.studies.get(), device=devices[n])
        ids = (devices[n].public_id, session.public_id)
        for kind in ("plain", "json", "npy", "arrow"):
            if kind in {"plain", "json"}:
                path = "/bench/plain" if kind == "plain" else "/v1/ingest/neural-data"
                start = f'{{"device_id":"{ids[0]}","session_id":"{ids[1]}","timestamp":"'
                end = f'","data":{{"eeg":[{rows}],"sample_rate":250,"channels":8}}}}'
                length = len(start) + len(MOMENT) + len(end)
                first = f"POST {path} HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
                first += f"Content-Length: {length}\r\n\r\n{start}"
                prepared[kind].append([first.encode(), end.encode()])
            else:
                body = npy(data) if kind == "npy" else arrow(data)
                query = f"device_id={ids[0]}&session_id={ids[1]}&sample_rate=250&channels=8"
                first = f"POST /v1/ingest/neural-data?{query}&timestamp="
                rest = f" HTTP/1.1\r\n{head}Content-Type: {NPY if kind == 'npy' else ARROW}\r\n"
                rest += f"Content-Length: {len(body)}\r\n\r\n"
                prepared[kind].append([first.encode(), rest.encode() + body])
    return prepared


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(pickle.dumps(prepare(int(sys.argv[1]))))
