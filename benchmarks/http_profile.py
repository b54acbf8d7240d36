"""Where the time of a request goes: processor time of each kind, and the costliest functions.

    python -m benchmarks.http_profile [kind ...]

In this process, through Django's WSGI handler and without a server: processor time does not depend
on who else uses the machine. Kinds are those of `benchmarks/http.py`.
"""

from __future__ import annotations

import cProfile
import io
import itertools
import os
import pstats
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.http_load import PRODUCTION, requests
from tests import environment  # noqa: F401 - first: a home, a Valkey, a database

os.environ |= PRODUCTION
os.environ |= {"LOG_LEVEL": "INFO", "ALLOWED_HOSTS": "127.0.0.1"}

from benchmarks.http_lab import KINDS, prepare
from neurascale.wsgi import application

N_REQUESTS, ROUNDS = 400, 40  # of a kind; kinds take turns, as the machine's speed changes


def environ_of(request: bytes) -> dict[str, object]:
    """Return a raw request as a WSGI server passes it on."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    environ: dict[str, object] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    for line in lines:
        name, _, value = line.partition(": ")
        key = name.upper().replace("-", "_")
        environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value
    return environ


def ask(request: bytes) -> None:
    """Serve one request."""
    seen: list[str] = []
    start: Callable[..., None] = lambda status, headers: seen.append(status)  # noqa: E731
    response = application(environ_of(request), start)
    body = b"".join(response)
    response.close()
    assert seen[0][:3] in {"200", "201"}, body


def main() -> None:
    """Print processor milliseconds a request, and a profile of the kinds that were named."""
    prepared = prepare(1)
    clock = itertools.count()
    streams: dict[str, Iterator[bytes]] = {k: requests(prepared[k][0], clock) for k in KINDS}
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, stream in streams.items():
            ready = list(itertools.islice(stream, N_REQUESTS // ROUNDS))
            began_at = time.process_time()
            for request in ready:
                ask(request)
            spent[kind].append((time.process_time() - began_at) / len(ready) * 1e3)
    for kind, times in spent.items():
        print(f"{kind:10}{statistics.median(times[1:]):8.3f} ms")
    for kind in sys.argv[1:]:
        profile = cProfile.Profile(time.process_time)
        ready = list(itertools.islice(streams[kind], N_REQUESTS))
        profile.enable()
        for request in ready:
            ask(request)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        pstats.Stats(profile).sort_stats("cumtime").print_stats(70)


if __name__ == "__main__":
    main()
