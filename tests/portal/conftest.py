"""A person who is logged in to the portal of the tests' lab."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.lab.running import Lab
from tests.portal.scope import Portal

expect.set_options(timeout=30_000)  # other tests share the machine


@pytest.fixture
def portal(lab: Lab, chromium: Page) -> Iterator[Portal]:
    """Somebody at the portal; fails if the browser asked another machine, or complained.

    The browser is given the session of a login that another program did: to draw the pages on the
    way takes it seconds. Whoever breaks something on purpose empties `errors`.
    """
    with httpx.Client(follow_redirects=True, timeout=60) as http:
        assert lab.log_in(http).url.path == "/admin/"
        session = {"name": "sessionid", "value": http.cookies["sessionid"], "url": lab.url}
    chromium.context.add_cookies([session])
    portal = Portal(lab, chromium)
    yield portal
    assert portal.asked
    assert portal.foreign() == []
    assert portal.errors == []
