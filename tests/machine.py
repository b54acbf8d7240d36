"""Where the project lies, and what is free on this machine."""

import itertools
import os
import random
import socket
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
S001R04 = ROOT / "tests" / "data" / "S001R04.edf"  # see the README beside it


# Each process of the tests has ports of its own, below those that the kernel gives to connections
# (32768 and up): what is free when it is looked for is so still when a server comes to listen.
PORTS_A_PROCESS = 1000
_first = 20_000 + PORTS_A_PROCESS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12)
_ports = itertools.cycle(range(_first, _first + PORTS_A_PROCESS))
for _ in range(random.randrange(PORTS_A_PROCESS)):  # two runs at once begin at different ones
    next(_ports)


def find_free_port() -> int:
    """Return a port that nobody listens on just now, another one each time."""
    for port in itertools.islice(_ports, PORTS_A_PROCESS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"all {PORTS_A_PROCESS} ports of this process are taken")


def answers_http(port: int) -> bool:
    """Tell whether a web server answers on a port of this machine."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().status > 0
    except OSError:
        return False
    finally:
        connection.close()
