"""Where the project lies, and what is free on this machine."""

import socket
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
S001R04 = ROOT / "tests" / "data" / "S001R04.edf"  # see the README beside it


def find_free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
