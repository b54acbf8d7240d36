"""What a request may be like before anybody looks at what it asks: lengths and counts.

The limits are below those of the servers in front (ours takes 64 KiB of headers, see
`neurascale.core.server`), which refuse without a reason.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict

from neurascale.core.api import answer_to
from neurascale.core.errors import (
    HeadersTooLargeError,
    InvalidError,
    NeuraScaleError,
    UrlTooLongError,
)
from neurascale.core.middleware import Middleware

MAX_URL_BYTES = 8 * 2**10
MAX_PARAMETERS = 100
MAX_HEADERS = 100
MAX_HEADER_BYTES = 12 * 2**10


class GuardMiddleware(Middleware):
    """Refuse what is too long or too much, and what no database can look up.

    Inside those that name a request, say who may read its answer, and count it: a refusal is like
    any other answer.
    """

    def __call__(self, request: HttpRequest) -> Any:  # noqa: D102 - Django's protocol
        if self.is_async:
            return self._call_async(request)
        return _refused(request) or self.get_response(request)

    async def _call_async(self, request: HttpRequest) -> Any:
        return _refused(request) or await self.get_response(request)


def _refused(request: HttpRequest) -> HttpResponse | None:
    error = refusal_of(request)
    answer = None if error is None else answer_to(error)
    if answer is None:
        return None
    request.GET = QueryDict()  # nor is it read by who counts the request
    return answer.response(request)


def refusal_of(request: HttpRequest) -> NeuraScaleError | None:
    """Return why a request is not even looked at, or None if it is."""
    query = request.META.get("QUERY_STRING", "")
    if "\0" in request.path or "%00" in query:
        return InvalidError("The URL has a NUL character in it", suggestion="Leave it out.")
    n_bytes = len(request.path.encode(errors="replace")) + len(query)
    if n_bytes > MAX_URL_BYTES:
        return UrlTooLongError(
            f"The URL has {n_bytes} bytes; {MAX_URL_BYTES} are accepted",
            limit_bytes=MAX_URL_BYTES,
            suggestion="Ask for less at once.",
        )
    if (n_parameters := query.count("&") + 1) > MAX_PARAMETERS:
        return InvalidError(
            f"The URL has {n_parameters} parameters; {MAX_PARAMETERS} are accepted",
            limit_parameters=MAX_PARAMETERS,
            suggestion="Ask for less at once.",
        )
    return _refusal_of_headers(request.META)


def _refusal_of_headers(meta: dict[str, Any]) -> NeuraScaleError | None:
    sizes = [len(name) + len(value) for name, value in meta.items() if name.startswith("HTTP_")]
    if len(sizes) <= MAX_HEADERS and sum(sizes) <= MAX_HEADER_BYTES:
        return None
    return HeadersTooLargeError(
        f"The request has {len(sizes)} headers of {sum(sizes)} bytes in all; {MAX_HEADERS} of "
        f"{MAX_HEADER_BYTES} are accepted",
        limit_headers=MAX_HEADERS,
        limit_bytes=MAX_HEADER_BYTES,
        suggestion="Leave out what is not needed, cookies for one.",
    )
