"""Which tests use the lab that is started once for all."""

from __future__ import annotations

import pytest


def shares_lab(item: pytest.Item) -> bool:
    """Tell whether a test uses that lab."""
    definitions = getattr(item, "_fixtureinfo", None)
    found = definitions.name2fixturedefs.get("lab") if definitions else None
    return bool(found) and found[-1].scope == "session"


def is_last(item: pytest.Item) -> bool:
    """Tell whether a test uses that lab and none of those after it does."""
    items = item.session.items
    return shares_lab(item) and not any(map(shares_lab, items[items.index(item) + 1 :]))
