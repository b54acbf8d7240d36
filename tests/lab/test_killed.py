"""A lab of which nothing is left but its folder: `kill -9` of the supervisor."""

import contextlib
import signal
import tempfile
from pathlib import Path

import pytest

from neurascale.core.host import start_time
from tests.lab.packets import newest_packet
from tests.lab.running import PROGRAMS, READY, make_lab
from tests.waiting import wait_until


def descendants(pid):
    """Return the processes below one, with when they began: numbers are used again."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: start_time(child) for child in below - {pid}}


def alive(processes):
    return [pid for pid, began in processes.items() if began and start_time(pid) == began]


@pytest.mark.long
def test_kill_9_leaves_nothing_and_the_next_start_goes_on(fresh_lab_database):
    with tempfile.TemporaryDirectory(prefix="ns-lab-") as folder:
        lab = make_lab(Path(folder), database_url=fresh_lab_database)
        lab.start()
        lab.create_client()
        device = lab.device_id()
        before = newest_packet(lab, device)
        processes = descendants(lab.supervisor.pid)
        assert len(processes) > len(PROGRAMS)  # prefork workers have pool processes
        lab.stop(signal.SIGKILL)
        wait_until(lambda: not alive(processes), what="the end of all that the lab had started")

        lab.start(wait=False)
        after = newest_packet(lab, device, after=before["sequence"])
        assert after["stream_id"] == before["stream_id"]
        lab.wait_until_ready(2)

        processes = descendants(lab.supervisor.pid)
        assert lab.stop(signal.SIGINT) == 0
        assert alive(processes) == []
        assert lab.log.rstrip().endswith("│ stopped")
        assert len(READY.findall(lab.log)) == 2
        assert lab.log.count("log in as admin") == 1
