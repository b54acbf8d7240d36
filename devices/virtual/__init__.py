"""The virtual Cyton: firmware on a pseudo-terminal, a subject's signal, faults on demand.

Rule of this package: no Django, and nothing that is slow to import unless it is asked for. The
board is a process of its own (``python -m devices.virtual``, or ``manage.py virtual_board``); the
rest of the lab sees a serial port and cannot tell the difference.
"""

from __future__ import annotations

import importlib
from typing import Any

# SciPy and edfio take most of a second, and only a replay needs them.
LAZY = {"Recording": "devices.virtual.replay"}


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
