"""/graphql: the parts of all apps as one schema, loaded by the first request that needs it.

Importing this package imports no GraphQL library: they take a second, which neither a start of the
lab nor a command has to spare. Its attributes ``schema`` and ``Socket`` do.
"""

from __future__ import annotations

import importlib
from typing import Any

LAZY = ("schema", "Socket")


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    merged = importlib.import_module("neurascale.graphql.merged")
    globals().update({lazy: getattr(merged, lazy) for lazy in LAZY})
    return globals()[name]
