"""gzip: what goes in comes out, whatever is sent, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurascale.core.encoding import (
    MAX_MEMBERS,
    Inflated,
    accepts_gzip,
    compress,
    compress_parts,
    compress_parts_async,
)
from neurascale.core.errors import MalformedGzipError, TooLargeError

WHOLE = gzip.compress(b"x" * 100)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("x-gzip", True),
        ("GZIP", True),
        ("*", True),
        ("deflate, gzip;q=0.5", True),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=nonsense", False),
        (";;,,;q=", False),
    ],
)
def test_the_callers_taste_is_respected(header, accepted):
    assert accepts_gzip(header) is accepted


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 9))
def test_members_one_after_the_other_are_one_body(parts, level):
    members = b"".join(gzip.compress(part, level) for part in parts) or gzip.compress(b"")
    assert Inflated(BytesIO(members)).whole(2000) == b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3_000_000])
def test_a_body_of_any_size_is_inflated(size):
    body = bytes(size)
    assert Inflated(BytesIO(gzip.compress(body))).whole(size) == body
    if size:
        with pytest.raises(TooLargeError) as raised:
            Inflated(BytesIO(gzip.compress(body))).whole(size - 1)
        assert raised.value.details["limit_bytes"] == size - 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        WHOLE[:-1],
        WHOLE[:-9],
        WHOLE[:5],
        WHOLE + b"rubbish",
        WHOLE[:-4] + b"\0\0\0\1",  # its length, which is not that
        zlib.compress(b"x" * 100),
        gzip.compress(b"x") * (MAX_MEMBERS + 1),
    ],
    ids=[
        *("nothing", "json", "a byte short", "no trailer", "the head", "rubbish behind"),
        *("another length", "zlib", "too many members"),
    ],
)
def test_what_is_no_gzip_is_refused(body):
    with pytest.raises(MalformedGzipError):
        Inflated(BytesIO(body)).whole(10**6)


def test_a_compressed_body_beyond_the_limit_is_not_even_inflated():
    tiny = gzip.compress(b"x")  # with a name of 100 kB (RFC 1952, section 2.3.1: FNAME)
    named = tiny[:3] + b"\x08" + tiny[4:10] + b"n" * 100_000 + b"\0" + tiny[10:]
    assert Inflated(BytesIO(named)).whole(100_000) == b"x"
    with pytest.raises(TooLargeError):
        Inflated(BytesIO(named)).whole(1000)


def test_plain_readers_get_the_inflated_body_too(settings):
    body = Inflated(BytesIO(gzip.compress(b"0123456789")))
    assert (body.read(4), body.read(), body.read()) == (b"0123", b"456789", b"")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5
    with pytest.raises(TooLargeError):
        Inflated(BytesIO(gzip.compress(b"0123456789"))).read()


def test_the_same_body_is_the_same_gzip():
    assert compress(b"x" * 5000) == compress(b"x" * 5000)
    assert gzip.decompress(compress(b"x" * 5000)) == b"x" * 5000


async def test_parts_are_compressed_while_they_are_made():
    parts = [bytes([n]) * 100_000 for n in range(20)]
    made = []

    def making():
        for part in parts:
            made.append(part)
            yield part

    async def making_async():
        for part in parts:
            yield part

    compressed = compress_parts(making())
    first = next(compressed)
    assert len(made) < len(parts)
    assert gzip.decompress(first + b"".join(compressed)) == b"".join(parts)
    pieces = [piece async for piece in compress_parts_async(making_async())]
    assert gzip.decompress(b"".join(pieces)) == b"".join(parts)
