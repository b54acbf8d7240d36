"""Wait for a thing instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(thing: Callable[[], T], *, seconds: float = 60, what: str = "") -> T:
    """Call ``thing`` until it returns something true, and return that; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := thing()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what or thing}")
        time.sleep(0.01)
    return found
