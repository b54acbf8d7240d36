"""The seed document as tests read it: what it prints, and whether an answer is like it."""

from __future__ import annotations

import re
from typing import Any

import orjson

from neurascale.core.openapi.examples import Example, seed_examples

# Null is allowed where a board does not report something, or nobody measured it.
MAY_BE_NULL = {
    "battery_level",
    "signal_quality.overall",
    "signal_quality.channels[].impedance",
    "signal_quality.channels[].quality",
    "start_time",
    "quality_metrics.artifact_percentage",
    "quality_metrics.signal_quality",
}
ID = re.compile(r"^(dev|sess|ing)_\d+$")
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def printed(heading: str) -> Example:
    """Return what is printed under a heading."""
    (example,) = [example for example in seed_examples() if example.heading == heading]
    return example


def block(heading: str, language: str = "") -> str:
    """Return the text of the one block of a language under a heading."""
    (text,) = [text for name, text in printed(heading).blocks if name == language]
    return text


def kind(value: Any) -> str:
    """Return what JSON calls a value, and of a text what it is: numbers are one kind."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", dict: "object", list: "array", type(None): "null"}[type(value)]


def differences(shown: Any, answered: Any, where: str = "") -> list[str]:
    """Return where an answer lacks a printed field, or has another kind of value there."""
    if answered is None and where in MAY_BE_NULL:
        return []
    if kind(shown) != kind(answered):
        return [f"{where or 'body'}: {kind(shown)} printed, {kind(answered)} answered"]
    if isinstance(shown, str):
        return other_format(shown, answered, where)
    if isinstance(shown, dict):
        found = []
        for name, value in shown.items():
            place = f"{where}.{name}" if where else name
            if name in answered:
                found += differences(value, answered[name], place)
            else:
                found.append(f"{place}: missing")
        return found
    if isinstance(shown, list) and shown:
        if not answered:
            return [f"{where}: empty"]
        return [d for item in answered for d in differences(shown[0], item, f"{where}[]")]
    return []


def other_format(shown: str, answered: str, where: str) -> list[str]:
    """Return whether a text is no id, or no moment, though one is printed."""
    expected = None
    if match := ID.match(shown):
        expected = re.compile(rf"^{match[1]}_[a-z2-7]{{16}}$")
    elif MOMENT.match(shown):
        expected = MOMENT
    if expected and not expected.match(answered):
        return [f"{where}: {answered!r} is not written as {shown!r}"]
    return []


def from_javascript(text: str) -> Any:
    """Return the value of a literal of JavaScript: names without quotes, commas at the end."""
    quoted = re.sub(r"(\w+):", r'"\1":', text)
    return orjson.loads(re.sub(r",(\s*[}\]])", r"\1", quoted))
