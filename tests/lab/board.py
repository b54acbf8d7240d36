"""A virtual Cyton as a process of its own, like hardware: nothing in the lab ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.machine import ROOT
from tests.waiting import wait_until


class Board:
    """A virtual Cyton that states in a file what it sent."""

    def __init__(self, link: Path, truth: Path, *options: str) -> None:
        command = [sys.executable, "-m", "devices.virtual", "--link", str(link)]
        self.process = subprocess.Popen(
            [*command, "--truth", str(truth), *options], cwd=ROOT, stdin=subprocess.DEVNULL
        )
        wait_until(lambda: link.exists() or self.process.poll() is not None, what="the board")
        assert self.process.poll() is None, "the virtual board ended"

    def stop(self) -> None:
        """Switch it off."""
        self.process.terminate()
        self.process.wait(10)
