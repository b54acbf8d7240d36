"""The live scope in a browser: frames a second, and what drawing one costs.

    python -m benchmarks.scope [--seconds 10]

Two ways of drawing the same ring of samples on the same canvas, one after the other in the same
browser, while packets of 40 ms come in at 250 Hz:

- **scope**: `ingest/static/ingest/trace.js` as it is; it draws the columns that are new;
- **reference**: the plain way, which draws every column of every channel in every frame, with the
  same lowest and highest sample a column.

Printed are frames a second (the browser asks for at most 60), how long the script takes for a
frame, and how long the frames at the 95th percentile are apart. The browser is Debian's Chromium,
headless: it draws in software, on the processors that everything else runs on. A desktop with a
graphics card is faster.
"""

from __future__ import annotations

import argparse
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.browser import open_page
from tests.machine import ROOT

WINDOW = {"width": 1440, "height": 900}
N_CHANNELS = (8, 32, 64)
WAYS = ("scope", "reference")


class Quiet(SimpleHTTPRequestHandler):
    """Serves the project's files to the browser, which loads modules only over HTTP."""

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Measure every number of channels both ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/benchmarks/scope.html"
    print("a window of 10 s at 250 Hz; headless Chromium, drawing in software")
    with open_page(viewport=WINDOW) as page:
        for n_channels in N_CHANNELS:
            for way in WAYS:
                page.goto(url)
                page.wait_for_function("window.measure")
                found = page.evaluate(
                    "([way, n, seconds]) => window.measure(way, n, seconds)",
                    [way, n_channels, options.seconds],
                )
                print(
                    f"{n_channels:>3} channels  {way:<10} {found['fps']:5.1f} frames/s   "
                    f"script {found['drawMs']:6.2f} ms a frame   "
                    f"95 % of frames within {found['p95Ms']:5.1f} ms"
                )
    server.shutdown()


if __name__ == "__main__":
    main()
