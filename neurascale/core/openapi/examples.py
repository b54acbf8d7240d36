"""The examples of the seed document, so that the schema shows the very bodies that are promised.

The document is `docs/api-documentation.md`; where it is not installed there are no examples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings

HEADING = re.compile(r"^#{2,4} (.+)$")
FENCE = re.compile(r"^```(\w*)$")
REQUEST = re.compile(r"^(GET|POST) (/\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Example:
    """What the seed document prints under one heading.

    Parameters
    ----------
    heading : str
        The heading.
    method, path : str
        Of the request, the path without its version; "" if none is printed.
    request, response : any
        The bodies, as values; None if none is printed.
    blocks : list of (str, str)
        All fenced blocks, as (language, text).
    """

    heading: str
    method: str = ""
    path: str = ""
    request: Any = None
    response: Any = None
    blocks: list[tuple[str, str]] = field(default_factory=list)


def fill(text: str) -> Any:
    """Return an example's value, with the dots of ``[0.1, 0.2, ...]`` left out."""
    return orjson.loads(re.sub(r",?\s*\.\.\.", "", text))


def read_examples(markdown: str) -> list[Example]:
    """Return the examples of a document, one a heading that has any block."""
    examples: list[Example] = []
    language: str | None = None
    block: list[str] = []
    says_request = False
    for line in markdown.splitlines():
        fence = FENCE.match(line)
        if fence and language is None:
            language, block = fence[1], []
        elif fence:
            _add(examples[-1], str(language), "\n".join(block), says_request=says_request)
            language = None
        elif language is not None:
            block.append(line)
        elif match := HEADING.match(line):
            examples.append(Example(match[1]))
            says_request = False
        elif line.startswith("**"):
            says_request = line.startswith("**Request")
    return [example for example in examples if example.blocks]


def _add(example: Example, language: str, text: str, *, says_request: bool) -> None:
    """Note a block of an example."""
    example.blocks.append((language, text))
    if request := REQUEST.search(text):
        example.method, example.path = request.groups()
        if "\n{" in text:  # the body is printed with the request
            example.request = fill(text[text.index("\n{") :])
    elif language == "json" and says_request:
        example.request = fill(text)
    elif language == "json":
        example.response = fill(text)


@cache
def seed_examples() -> tuple[Example, ...]:
    """Return the examples of the seed document."""
    document = Path(settings.BASE_DIR) / "docs" / "api-documentation.md"
    if not document.exists():
        return ()
    return tuple(read_examples(document.read_text(encoding="utf-8")))


def printed_for(method: str, path: str) -> Example | None:
    """Return what is printed for a request, whose path has its version."""
    bare = path.removeprefix("/v1")
    return next((e for e in seed_examples() if (e.method, e.path) == (method, bare)), None)
