"""Entity tags: made of what determines a body, compared as RFC 9110 has it.

A tag is made either of a body or of the state that a body is a function of, so that the body need
not be built to learn that a caller has it already. All tags are strong. One of a state has two
parts with a dot between: what a change would overwrite, and all else that is shown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import orjson
from django.conf import settings

import neurascale
from neurascale.core.wire import encode

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')  # RFC 9110, 8.8.3
GZIP_SUFFIX = "-gzip"  # RFC 9110, 8.8.3.3: another encoding is another representation
OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
DIGEST_BYTES = 12


class NotModified(Exception):
    """The caller has what it asks for; ``tag`` says so."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


@cache
def _key(secret_key: str) -> bytes:
    """Return a key: a tag must not tell what is in columns that are not shown."""
    return hashlib.blake2b(f"neurascale.etag.{secret_key}".encode(), digest_size=32).digest()


def digest_of(*state: Any) -> str:
    """Return a digest of JSON values, and of which version of this program would show them."""
    text = encode([neurascale.__version__, *state], default=str, option=OPTIONS)
    key = _key(settings.SECRET_KEY)
    return hashlib.blake2b(text, key=key, digest_size=DIGEST_BYTES).hexdigest()


def tag_of_body(body: bytes) -> str:
    """Return the tag of a body that is there."""
    return f'"{hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest()}"'


def tag_of_state(own: Any, *rest: Any) -> str:
    """Return the tag of a thing.

    Parameters
    ----------
    own : JSON value
        What a change of the thing would overwrite.
    *rest : JSON values
        All else that its body is a function of.
    """
    return f'"{digest_of(own)}.{digest_of(*rest)}"'


def encoded(tag: str) -> str:
    """Return the tag of the same thing as gzip."""
    return f'{tag[:-1]}{GZIP_SUFFIX}"'


def parse(header: str) -> list[tuple[bool, str]]:
    """Return whether each tag of a header is weak, and what it is without the mark of gzip."""
    return [
        (bool(weak), f'"{opaque.removesuffix(GZIP_SUFFIX)}"')
        for weak, opaque in _TAG.findall(header)
    ]


def shown_again(header: str | None, tag: str, *, gzip: bool) -> str | None:
    """Return the tag with which a caller shows that it has a thing, or None if it has not.

    Parameters
    ----------
    header : str or None
        ``If-None-Match``.
    tag : str
        Of the thing as it is, not encoded.
    gzip : bool
        Whether the caller takes gzip; what it has in an encoding it does not take now is no answer
        to it.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return tag
    both = [tag, *([encoded(tag)] if gzip else [])]
    named = {f'"{opaque}"' for _, opaque in _TAG.findall(header)}  # weak comparison
    return next((known for known in reversed(both) if known in named), None)


def overwrites(header: str, tag: str) -> bool:
    """Tell whether ``If-Match`` allows to change a thing that has this tag now.

    Compared is the part that a change would overwrite: that a recording has grown meanwhile is no
    update that could be lost.
    """
    if header.strip() == "*":
        return True
    return _own(tag) in _owns(parse(header))


def _owns(tags: Iterable[tuple[bool, str]]) -> set[str]:
    return {_own(tag) for is_weak, tag in tags if not is_weak}  # strong comparison


def _own(tag: str) -> str:
    return tag.strip('"').partition(".")[0]
