"""Debian's Chromium, for tests, for measurements and for the pictures of the documentation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "there is no chromium here (Debian: apt-get install chromium)"


def find_chromium() -> str | None:
    """Return where the program is, if it is installed."""
    return shutil.which("chromium")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a headless browser."""
    from playwright.sync_api import sync_playwright  # takes a second that few tests need

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), headless=True, args=FLAGS
        )
        yield browser
        browser.close()


@contextmanager
def open_page(**options: Any) -> Iterator[Page]:
    """Start a headless browser with one page; ``options`` are those of Playwright's `new_page`."""
    with open_browser() as browser:
        yield browser.new_page(**options)
