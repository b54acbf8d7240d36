"""`python -m tests.torture --kills 300 --seed 1`: exit status 0 if nothing promised was lost."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import django

from tests.lab.board import Board
from tests.lab.running import Lab, make_lab
from tests.torture.witness import Api, Uploader, Witness

PATIENCE_SECONDS = 90
VICTIMS = ("acquisition", "web", "valkey", "supervisor")


def main() -> int:
    """Run the torture and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="give up after this long")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="ns-torture-"))
    try:
        found = torture(home, random.Random(options.seed), options.kills, options.minutes * 60)
    except BaseException:
        log = (home / "lab" / "log").read_text(errors="replace").splitlines()[-60:]
        print("\n".join(["the lab's last words:", *log]), file=sys.stderr)
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print("; ".join(f"{name}: {value}" for name, value in found.items()))
    print("nothing that was shown or acknowledged is missing, and nothing is there twice")
    return 0


def torture(home: Path, chance: random.Random, n_kills: int, seconds: float) -> dict[str, object]:
    """Record, kill, count; return the numbers."""
    truth, link = home / "truth", home / "board"
    (home / "lab").mkdir()
    board = Board(link, truth)
    lab = make_lab(
        home / "lab",
        database_url=os.environ.get("DATABASE_URL"),
        NEURASCALE_VIRTUAL_BOARD="0",
    )
    lab.start()
    lab.create_client()
    try:
        api = Api(lab.url, lab.client)
        device = api.call(
            "POST", "/devices", json={"name": "Cyton", "type": "openbci", "port": str(link)}
        )["device_id"]
        other = api.call(
            "POST", "/devices", json={"name": "elsewhere", "type": "openbci", "port": "none"}
        )["device_id"]
        api.call("POST", f"/devices/{device}/stream/start", json={})
        session = api.call("POST", "/sessions", json={"device_id": device})["session_id"]
        upload = api.call("POST", "/sessions", json={"device_id": other})["session_id"]
        witness, uploader = Witness(api, device), Uploader(api, other, upload)
        witness.start()
        uploader.start()
        try:
            wait_for_news(witness)
            killed = kill_at_random(lab, witness, chance, n_kills, seconds)
            wait_for_news(witness)
        finally:
            witness.stop()
            uploader.stop()
        api.call("POST", f"/sessions/{session}/stop")
        api.call("POST", f"/devices/{device}/stream/stop")
    finally:
        lab.stop(signal.SIGINT)
        board.stop()
    return {**killed, **count(home, witness, uploader, truth)}


def kill_at_random(
    lab: Lab, witness: Witness, chance: random.Random, n_kills: int, seconds: float
) -> dict[str, object]:
    """Kill one of the victims at a random moment, again and again."""
    deadline = time.monotonic() + seconds
    killed = dict.fromkeys(VICTIMS, 0)
    began = time.monotonic()
    while sum(killed.values()) < n_kills:
        assert time.monotonic() < deadline, f"only {killed} in {seconds} s"
        # Sometimes in the middle of recovering, sometimes when everything runs again.
        if chance.random() < 0.5:
            wait_for_news(witness)
        time.sleep(chance.uniform(0, 1.5))
        victim = chance.choice(VICTIMS)
        if kill(lab, victim):
            killed[victim] += 1
            if sum(killed.values()) % 10 == 0:
                print(f"{killed} after {time.monotonic() - began:.0f} s", flush=True)
    return {"killed": killed, "seconds": round(time.monotonic() - began)}


def wait_for_news(witness: Witness) -> None:
    """Wait until the subscriber is shown a packet it has not seen."""
    seen = witness.newest()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while witness.newest() <= seen + 5:
        assert time.monotonic() < deadline, f"nothing new for {PATIENCE_SECONDS} s"
        time.sleep(0.02)


def count(home: Path, witness: Witness, uploader: Uploader, truth: Path) -> dict[str, object]:
    """Open the lab's database and count."""
    os.environ["NEURASCALE_HOME"] = str(home / "lab")
    os.environ["DJANGO_SETTINGS_MODULE"] = "neurascale.settings"
    django.setup()
    verdict = import_module("tests.torture.verdict")  # its models need the settings
    models = import_module("ingest.models")
    stream = models.Stream.objects.get(origin="board")
    return {
        **verdict.judge_stream(stream, truth),
        **verdict.judge_witness(witness, stream),
        **verdict.judge_uploader(uploader),
    }


def kill(lab: Lab, victim: str) -> bool:
    """Kill a program with SIGKILL; False if it does not run just now."""
    if victim == "supervisor":
        assert lab.supervisor is not None
        lab.stop(signal.SIGKILL)
        lab.start(wait=False)
        return True
    try:
        lab.kill(victim)
    except (KeyError, FileNotFoundError, ProcessLookupError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
