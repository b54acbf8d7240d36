"""A Valkey of a test's own, which may be stopped and started."""

from __future__ import annotations

import subprocess
from pathlib import Path

from neurascale.core.valkey import valkey_command
from tests.environment import spawn
from tests.waiting import wait_until


class Broker:
    """A Valkey on a unix socket.

    Parameters
    ----------
    home : Path
        Where its socket and its append-only file are.
    durable : bool
        Whether it knows after a restart what it knew before.
    """

    def __init__(self, home: Path, *, durable: bool = False) -> None:
        self.socket = home / "v.sock"
        self.command = valkey_command(directory=home, socket=self.socket, durable=durable)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self.process = spawn(self.command, stdout=subprocess.DEVNULL)
        wait_until(self.socket.exists, what="Valkey")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)
