"""Twenty kills at random moments; `make torture` does three hundred."""

import os
import subprocess
import sys

import pytest

from tests.machine import ROOT


@pytest.mark.long
def test_nothing_that_was_promised_is_lost_by_killing(fresh_lab_database):
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    if fresh_lab_database:
        environment["DATABASE_URL"] = fresh_lab_database
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--kills", "20", "--seed", "7"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing that was shown or acknowledged is missing" in done.stdout
