"""A lab as `make run` starts it, in a folder of its own: to be started, asked, killed, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from neurascale.core.host import start_time
from tests.machine import ROOT, find_free_port
from tests.waiting import wait_until

PROGRAMS = {
    *("valkey", "board", "acquisition", "web"),
    *("beat", "default", "signal", "training"),
}
READY = re.compile(r"ready after (\S+) s: (http://\S+)/")
READY_SECONDS = 120.0  # generous: other tests share the machine


@dataclass
class Lab:
    """A running lab.

    Parameters
    ----------
    home : Path
        Its data folder.
    port : int
        Where its web server listens.
    environment : dict
        Of the supervisor, and for `manage.py` commands about this lab.
    """

    home: Path
    port: int
    environment: dict[str, str]
    supervisor: subprocess.Popen[bytes] | None = None
    client: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """URL of the stream."""
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    @property
    def log_path(self) -> Path:
        """The merged log of all starts."""
        return self.home / "log"

    @property
    def log(self) -> str:
        """What the merged log says until now."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def admin_password(self) -> str:
        """The password that was printed once."""
        found = re.search(r"log in as admin with the password (\S+)", self.log)
        assert found, self.log
        return found[1]

    def start(self, *, wait: bool = True) -> None:
        """Start the supervisor; wait until it says that all programs answer."""
        n_before = len(READY.findall(self.log))
        with self.log_path.open("ab") as log:
            self.supervisor = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_until_ready(n_before + 1)

    def wait_until_ready(self, times: int = 1) -> None:
        """Wait until the log has said so many times that the lab is ready."""
        assert self.supervisor is not None
        wait_until(
            lambda: len(READY.findall(self.log)) >= times or self.supervisor.poll() is not None,
            seconds=READY_SECONDS,
            what=f"the lab to become ready:\n{self.log[-8000:]}",
        )
        assert self.supervisor.poll() is None, self.log

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send the supervisor a signal, wait for its end, and return its exit code."""
        assert self.supervisor is not None
        self.supervisor.send_signal(signum)
        return self.supervisor.wait(60)

    def pids(self) -> dict[str, int]:
        """Return the process of each program that runs now, by name."""
        listed = json.loads((self.home / "run" / "processes.json").read_text())["processes"]
        return {name: pid for name, (pid, began) in listed.items() if start_time(pid) == began}

    def kill(self, name: str) -> int:
        """Kill a program's process, wait for nothing, and return its pid."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def manage(self, *arguments: str) -> str:
        """Run a `manage.py` command on this lab's data and return what it printed."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def create_client(self) -> None:
        """Make the client that `api` uses; it may do everything. The lab must have been ready."""
        created = self.manage("create_client", "--name", "tests", "--scopes", "admin", "--json")
        self.client = json.loads(created)

    def api(self, *, timeout: float = 30) -> httpx.Client:
        """Return an HTTP client with a fresh token that may do everything; close it."""
        asked = {"grant_type": "client_credentials"}
        asked |= {name: self.client[name] for name in ("client_id", "client_secret")}
        answer = httpx.post(f"{self.url}/v1/auth/token", json=asked, timeout=timeout)
        answer.raise_for_status()
        token = answer.json()["access_token"]
        return httpx.Client(
            base_url=f"{self.url}/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
        )

    def log_in(self, http: httpx.Client) -> httpx.Response:
        """Log in to the portal by its form, and return the page that follows."""
        page = http.get(f"{self.url}/")
        form = {
            "username": "admin",
            "password": self.admin_password,
            "csrfmiddlewaretoken": http.cookies["csrftoken"],
        }
        return http.post(page.url, data=form, headers={"Referer": str(page.url)})

    def device_id(self) -> str:
        """Return the id of the virtual Cyton."""
        with self.api() as api:
            devices = api.get("devices").raise_for_status().json()["devices"]
        return next(d["device_id"] for d in devices if d["name"] == "OpenBCI Cyton (virtual)")


def make_lab(home: Path, *, database_url: str | None = None, **environment: str) -> Lab:
    """Return a lab that was not started yet."""
    port = find_free_port()
    given = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "REDIS_URL"}}
    given |= {"NEURASCALE_HOME": str(home), "NEURASCALE_PORT": str(port)}
    # Tests ask for as long as it takes; what limits do is tested where nothing else is.
    given |= {"NEURASCALE_LIMIT_STANDARD": "1000000/hour", "NEURASCALE_LIMIT_BULK": "1000000/hour"}
    given |= environment
    if database_url is not None:
        given["DATABASE_URL"] = database_url
    return Lab(home, port, given)
