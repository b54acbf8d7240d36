"""A person who is logged in to the portal of the tests' lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.lab.running import Lab
from tests.portal.scope import Portal

expect.set_options(timeout=30_000)  # other tests share the machine


@pytest.fixture
def portal(lab: Lab, chromium: Page) -> Iterator[Portal]:
    """Somebody at the portal; fails if the browser asked another machine, or complained.

    Whoever breaks something on purpose empties `errors`.
    """
    portal = Portal(lab, chromium)
    chromium.goto(lab.url)
    portal.log_in()
    chromium.wait_for_url(f"{lab.url}/admin/")
    yield portal
    assert portal.asked
    assert portal.foreign() == []
    assert portal.errors == []
