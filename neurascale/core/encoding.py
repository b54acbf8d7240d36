"""gzip in both directions, a bounded number of bytes at a time."""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from io import BytesIO
from typing import IO, Any

from django.conf import settings

from neurascale.core.errors import MalformedGzipError, TooLargeError

GZIP = 31  # zlib's wbits: a gzip header and trailer around the largest window
NAMES = ("gzip", "x-gzip")  # RFC 9110, section 8.4.1.3: one and the same
PIECE = 64 * 2**10
KEPT_IN_MEMORY = 2**20  # of an inflated body, until it is known to be small enough
MAX_MEMBERS = 1000  # of one body: each costs time and needs to hold nothing
WHOLE_LEVEL, STREAM_LEVEL = 4, 1  # signals are noise: a higher level finds little more in them


def too_large(limit: int) -> TooLargeError:
    """Return the error for a body beyond ``limit`` bytes."""
    return TooLargeError(
        f"The body is larger than the {limit} bytes that are accepted here",
        limit_bytes=limit,
        suggestion="Send it in smaller parts.",
    )


# --- In ------------------------------------------------------------------------------------------


class Inflated:
    """A request's body that came as gzip, as whoever reads it wants it: inflated.

    Nothing is inflated until somebody reads. What comes out is counted while it is inflated, and
    kept in a file once it is more than a little, so that a body that is too large costs little
    memory however small it was when it came.

    Parameters
    ----------
    source : file object
        The body as it came.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._rest: BytesIO | None = None

    def whole(self, limit: int) -> bytes:
        """Return the inflated body.

        Raises
        ------
        TooLargeError
            If it has more than ``limit`` bytes.
        MalformedGzipError
            If it is no gzip, is damaged, or ends too soon.
        """
        with tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY) as spool:
            size = 0
            for piece in inflate(self._source, max_bytes=limit):
                size += len(piece)
                if size > limit:
                    raise too_large(limit)
                spool.write(piece)
            spool.seek(0)
            return spool.read()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes of the inflated body, for those who know nothing of `whole`.

        Raises
        ------
        TooLargeError
            If it has more than ``settings.DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes in all.
        """
        if self._rest is None:
            self._rest = BytesIO(self.whole(settings.DATA_UPLOAD_MAX_MEMORY_SIZE))
        return self._rest.read(size)

    def close(self) -> None:
        """Close the body as it came."""
        self._source.close()


def inflate(source: IO[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """Yield what gzip holds, in pieces; one member after the other (RFC 1952, section 2.2).

    Who takes the pieces stops at ``max_bytes``.

    Raises
    ------
    TooLargeError
        If even the compressed bytes are more than that.
    MalformedGzipError
        If they are no gzip, are damaged, or end too soon.
    """
    n_members, n_read = 0, 0
    member, data = zlib.decompressobj(GZIP), b""
    try:
        while True:
            if not data:
                data = source.read(PIECE)
                n_read += len(data)
                if n_read > max_bytes + PIECE:  # gzip may add a little to what it cannot shrink
                    raise too_large(max_bytes)
                if not data:
                    break
            if member.eof:
                n_members += 1
                if n_members >= MAX_MEMBERS:
                    raise _malformed(f"it has more than {MAX_MEMBERS} members")
                member = zlib.decompressobj(GZIP)
            yield member.decompress(data, PIECE)
            data = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise _malformed(str(error).partition(": ")[2] or str(error)) from None
    if not member.eof:
        raise _malformed("it ends too soon")


def _malformed(why: str) -> MalformedGzipError:
    return MalformedGzipError(
        f"The body is said to be gzip, and cannot be inflated: {why}",
        suggestion="Send all of what a gzip program wrote, or leave out Content-Encoding.",
    )


# --- Out -----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def accepts_gzip(header: str) -> bool:
    """Tell whether an ``Accept-Encoding`` header likes gzip at least as well as nothing."""
    wanted: dict[str, float] = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        wanted[name] = next((_quality(text[2:]) for text in parameters if text[:2] == "q="), 1.0)
    gzip = max((wanted[name] for name in NAMES if name in wanted), default=wanted.get("*", 0.0))
    return gzip > 0 and gzip >= wanted.get("identity", 0.0)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def compress(body: bytes) -> bytes:
    """Return a body as gzip: the same bytes every time, without the time of day in them."""
    stream = zlib.compressobj(WHOLE_LEVEL, zlib.DEFLATED, GZIP)
    return stream.compress(body) + stream.flush()


def compress_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Compress a body while it is made."""
    stream = zlib.compressobj(STREAM_LEVEL, zlib.DEFLATED, GZIP)
    for part in parts:
        if piece := stream.compress(part):
            yield piece
    yield stream.flush()


async def compress_parts_async(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a body while it is made, in a thread: the event loop serves live streams too."""
    stream = zlib.compressobj(STREAM_LEVEL, zlib.DEFLATED, GZIP)
    compress_one: Callable[[Any], bytes] = stream.compress
    async for part in parts:
        if piece := await asyncio.to_thread(compress_one, part):
            yield piece
    yield await asyncio.to_thread(stream.flush)
