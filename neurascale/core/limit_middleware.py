"""The one place where requests are counted and where the headers that tell so are written.

Whatever is below ``/v1/`` is limited, and ``/graphql``, without doing anything for it. A view says
``limit`` if its bucket is another than the standard one: a `Bucket`, None if it is not limited at
all, or a mapping from action (``"create"``) or method (``"POST"``) to either.

A middleware and not a throttle of REST framework, which asks throttles last: what it refuses
before (403, 405, 406) would neither be counted nor have the headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from neurascale.core.api import answer_to
from neurascale.core.auth import principal_of
from neurascale.core.errors import NotAuthenticatedError
from neurascale.core.limits import (
    Allowance,
    Bucket,
    RateLimitExceededError,
    charge,
    rate_of,
    untouched,
)
from neurascale.core.middleware import Middleware

LIMITED = ("/v1/", "/graphql")


class LimitMiddleware(Middleware):
    """Count a request of somebody who is known, before its view; write the headers, after it.

    Somebody who is not known (401) uses up nobody's requests, and is told what a bucket holds.
    Another middleware or a plain view that counts by itself, such as GraphQL's, leaves what
    `charge` returned as ``request.allowance``.
    """

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        super().__init__(get_response)
        for bucket in Bucket:
            rate_of(bucket)  # a setting that cannot be read is refused now

    def __call__(self, request: HttpRequest) -> Any:  # noqa: D102 - Django's protocol
        if self.is_async:
            return self._call_async(request)
        response = self.get_response(request)
        if not _is_settled(request):
            response = _settled(request, response)
        return _with_headers(request, response)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        response = await self.get_response(request)
        if not _is_settled(request):
            response = await sync_to_async(_settled, thread_sensitive=True)(request, response)
        return _with_headers(request, response)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Count a request; answer it if it is one too many."""
        if not request.path_info.startswith(LIMITED):
            return None
        try:
            request.allowance = _charge(request, view)  # type: ignore[attr-defined]
        except RateLimitExceededError as error:
            request.allowance = error.allowance  # type: ignore[attr-defined]
            answer = answer_to(error)
            return None if answer is None else answer.response(request)
        return None


def bucket_of(view: Callable[..., Any] | None, method: str | None = "GET") -> Bucket | None:
    """Return the bucket of a request, None if the view is not limited.

    Parameters
    ----------
    view : callable
        What the URL leads to, as Django's resolver has it; None where it leads nowhere.
    method : str
        Of HTTP.
    """
    kind = getattr(view, "cls", None) or getattr(view, "view_class", view)
    declared = getattr(view, "limit", getattr(kind, "limit", Bucket.STANDARD))
    if not isinstance(declared, Mapping):
        return declared
    asked = "GET" if method == "HEAD" else str(method)
    action = (getattr(view, "actions", None) or {}).get(asked.lower())
    return declared.get(action, declared.get(asked, Bucket.STANDARD))


def _charge(request: HttpRequest, view: Callable[..., Any] | None) -> Allowance | None:
    bucket = bucket_of(view, request.method)
    if bucket is None:
        return None
    try:
        principal = principal_of(request)
    except NotAuthenticatedError:
        principal = None  # the view says so too, with its 401
    return untouched(bucket) if principal is None else charge(principal, bucket)


def _is_settled(request: HttpRequest) -> bool:
    return hasattr(request, "allowance") or not request.path_info.startswith(LIMITED)


def _settled(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Count a request that was answered before its view was found, and return its answer.

    That is what another middleware answered, and what has no view: a path that is not there.
    """
    view = None
    with suppress(Resolver404):
        view = resolve(request.path_info).func
    try:
        request.allowance = _charge(request, view)  # type: ignore[attr-defined]
    except RateLimitExceededError as error:
        request.allowance = error.allowance  # type: ignore[attr-defined]
        answer = answer_to(error)
        return response if answer is None else answer.response(request)
    return response


def _with_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    allowance: Allowance | None = getattr(request, "allowance", None)
    if allowance is not None:
        for name, value in allowance.headers.items():
            response[name] = value
    return response
