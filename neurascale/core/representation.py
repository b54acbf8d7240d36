"""How a body comes in and goes out, for every path of the API: encodings, tags, caches.

The innermost of the middlewares, so that a refusal further out costs none of this. It runs in the
thread of the view and not in the event loop, and with it all middlewares around it: Django would
change threads for each of them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from neurascale.core import etags
from neurascale.core.encoding import (
    NAMES,
    Inflated,
    accepts_gzip,
    compress,
    compress_parts,
    compress_parts_async,
)
from neurascale.core.errors import LengthRequiredError, NeuraScaleError, UnsupportedFormError

SAFE = ("GET", "HEAD")
PART_BYTES = 64 * 2**10
MIN_BYTES = 1024  # below, the headers are most of an answer
COMPRESSIBLE = ("application/json", "application/vnd.", "application/x-npy", "application/yaml")
VARY = ("Authorization", "Cookie", "Accept", "Accept-Encoding")
CACHE_CONTROL = "private, no-cache"  # keep it, and ask each time whether it still holds
OF_A_BODY = ("Content-Type", "Content-Length", "Content-Encoding", "Content-Disposition")


class RepresentationMiddleware:
    """Inflate what comes; tag, compress and describe what goes."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:  # noqa: D102 - Django's protocol
        if not is_api(request):
            return self.get_response(request)
        take_body(request)
        return represent(request, self.get_response(request))


def is_api(request: HttpRequest) -> bool:
    """Tell whether a program asks, and not a person for a page of the portal."""
    return not request.path.startswith("/admin")


# --- In ------------------------------------------------------------------------------------------


def take_body(request: Any) -> None:
    """Put the inflated body in the place of one that came as gzip, and say how long a body is.

    Raises
    ------
    UnsupportedFormError, LengthRequiredError
        When the view reads it, if the encoding is another, or if the body came in chunks through a
        server that does not say where they end.
    """
    if not request.META.get("CONTENT_LENGTH"):
        measure_body(request)
    named = request.META.get("HTTP_CONTENT_ENCODING", "")
    encodings = [name.strip().lower() for name in named.split(",")] if named else []
    encodings = [name for name in encodings if name not in {"", "identity"}]
    if not encodings:
        return
    if len(encodings) == 1 and encodings[0] in NAMES:
        request._stream = request.inflated = Inflated(request._stream)
    else:
        request.inflated = request._stream = Unreadable(
            UnsupportedFormError(
                f"The body has the Content-Encoding {named!r}, which is not read here",
                supported=["gzip", "identity"],
                suggestion="Send it as gzip, or as it is.",
            )
        )


def measure_body(request: Any) -> None:
    """Say how long a body is that came in chunks: who reads it asks for its length first.

    ASGI has collected it. Of WSGI Django reads nothing that has no length; a server that ends the
    stream where the body ends says so, and then it is collected here, as far as anybody may read.
    """
    if not request._stream.seekable():
        environ = getattr(request, "environ", {})
        if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            return
        if not environ.get("wsgi.input_terminated"):
            request.META["CONTENT_LENGTH"] = "1"  # so that somebody tries
            request.inflated = request._stream = Unreadable(
                LengthRequiredError(
                    "The body came in chunks, and the server cannot tell where they end",
                    suggestion="Send Content-Length.",
                )
            )
            return
        request._stream = collected(environ["wsgi.input"])
    request.META["CONTENT_LENGTH"] = str(request._stream.seek(0, os.SEEK_END))
    request._stream.seek(0)


def collected(stream: Any) -> IO[bytes]:
    """Return a body that comes in chunks, at most a byte more of it than any view reads."""
    most = max(settings.INGEST_MAX_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE) + 1
    body = SpooledTemporaryFile(max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE)  # noqa: SIM115
    while most > 0 and (part := stream.read(min(most, PART_BYTES))):
        most -= body.write(part)
    return body


class Unreadable:
    """A body that cannot be read here: whoever tries is told why."""

    def __init__(self, error: NeuraScaleError) -> None:
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        """Raise the error."""
        raise self._error

    whole = read

    def close(self) -> None:
        """Do nothing."""


# --- Out -----------------------------------------------------------------------------------------


def represent(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return a response with its tag and in the encoding that the caller wants; 304 if it has it.

    The tag is that of the view, if it gave one, else one of the body. What a view marks with
    ``Cache-Control: no-store`` is a secret: it is neither tagged nor compressed, since the length
    of a compressed secret tells of it (BREACH).
    """
    is_secret = "no-store" in response.get("Cache-Control", "")
    if "Cache-Control" not in response:
        response["Cache-Control"] = CACHE_CONTROL
    patch_vary_headers(response, VARY)
    if is_secret:
        return response
    wants_gzip = accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", ""))
    if request.method in SAFE:
        if response.status_code == 200 and "ETag" not in response and not response.streaming:
            response["ETag"] = etags.tag_of_body(cast(HttpResponse, response).content)
        if response.status_code in {200, 304} and "ETag" in response:
            known = etags.shown_again(
                request.META.get("HTTP_IF_NONE_MATCH"), response["ETag"], gzip=wants_gzip
            )
            if known is not None:
                return not_modified(response, known)
    if wants_gzip and may_be_compressed(response):
        encode(response)
    if request.method == "HEAD" and isinstance(response, StreamingHttpResponse):
        # Nothing of the body is made, and nothing is said of its length, as in answer to GET.
        response.streaming_content = nothing() if response.is_async else iter(())
    return response


async def nothing() -> AsyncIterator[bytes]:
    """Make no body."""
    none: tuple[bytes, ...] = ()
    for part in none:
        yield part


def may_be_compressed(response: HttpResponseBase) -> bool:
    """Tell whether compressing a body is worth it."""
    kind = response.get("Content-Type", "")
    return (
        (kind.startswith(COMPRESSIBLE) or kind.startswith("text/"))
        and "Content-Encoding" not in response
        and (response.streaming or len(cast(HttpResponse, response).content) >= MIN_BYTES)
    )


def encode(response: HttpResponseBase) -> None:
    """Compress the body of a response, all of it or while it is made."""
    response["Content-Encoding"] = "gzip"
    if "ETag" in response:
        response["ETag"] = etags.encoded(response["ETag"])
    if isinstance(response, StreamingHttpResponse):
        del response["Content-Length"]
        if response.is_async:
            parts = cast(AsyncIterator[bytes], response.streaming_content)
            response.streaming_content = compress_parts_async(parts)
        else:
            made = cast(Iterator[bytes], response.streaming_content)
            response.streaming_content = compress_parts(made)
    elif isinstance(response, HttpResponse):
        response.content = compress(response.content)
        response["Content-Length"] = str(len(response.content))


def not_modified(response: HttpResponseBase, tag: str) -> HttpResponse:
    """Return that the caller has it, with the headers that do not belong to the body."""
    bare = HttpResponse(status=304)
    del bare["Content-Type"]
    for name, value in response.items():
        if name not in OF_A_BODY:
            bare[name] = value
    bare["ETag"] = tag
    bare.cookies = response.cookies
    bare._resource_closers = response._resource_closers  # type: ignore[attr-defined]
    return bare
