"""The shape of the API: error envelope and request ids.

The only file that knows which error is which HTTP status. Whatever goes wrong on whatever path,
outside the portal's pages, leaves as ``{"error": {code, message, details, request_id}}``: errors in
a REST view through `exception_handler`, the others through `RequestIdMiddleware`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import defaults
from rest_framework import exceptions as drf
from rest_framework.response import Response

from neurascale.core.bodies import OrjsonRenderer
from neurascale.core.credentials import challenge
from neurascale.core.encoding import too_large
from neurascale.core.errors import (
    ConflictError,
    ForbiddenError,
    HardwareError,
    HeadersTooLargeError,
    InvalidError,
    LengthRequiredError,
    NeuraScaleError,
    NotAuthenticatedError,
    NotFoundError,
    NotSupportedError,
    PreconditionFailedError,
    TooLargeError,
    TooManyError,
    UnsupportedFormError,
    UrlTooLongError,
)
from neurascale.core.logs import log_access, name_request
from neurascale.core.middleware import Middleware
from neurascale.core.wire import dumps

if TYPE_CHECKING:
    # That module looks for this project's classes while it is imported: a circle at run time.
    from rest_framework.views import APIView

STATUS = {
    InvalidError: HTTPStatus.BAD_REQUEST,
    NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    LengthRequiredError: HTTPStatus.LENGTH_REQUIRED,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UrlTooLongError: HTTPStatus.REQUEST_URI_TOO_LONG,
    UnsupportedFormError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HeadersTooLargeError: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
    NotSupportedError: HTTPStatus.NOT_IMPLEMENTED,
    HardwareError: HTTPStatus.SERVICE_UNAVAILABLE,
    NeuraScaleError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
CODES = {
    HTTPStatus.UNAUTHORIZED: NotAuthenticatedError.code,
    HTTPStatus.FORBIDDEN: ForbiddenError.code,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError.code,
    HTTPStatus.TOO_MANY_REQUESTS: TooManyError.code,
    HTTPStatus.INTERNAL_SERVER_ERROR: NeuraScaleError.code,
}
DJANGO = {
    SuspiciousOperation: HTTPStatus.BAD_REQUEST,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    Http404: HTTPStatus.NOT_FOUND,
}
PORTAL = "/admin"  # below it, people get pages and not envelopes
INSTEAD = {
    "allowed": "Use {}.",
    "supported": "Send the body as {}, and say so in Content-Type.",
    "available": "Ask for {} in Accept.",
}
KEPT_HEADERS = ("allow", "retry-after", "vary", "www-authenticate")
KEPT_PREFIXES = ("access-control-", "x-ratelimit-")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is told about an error.

    Parameters
    ----------
    status : int
        HTTP status.
    code, message, details
        As in the envelope.
    headers : mapping
        HTTP headers that belong to the error.
    """

    status: int
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def envelope(self, request: Any) -> dict[str, Any]:
        """Return the body, which names the request so that it can be found in the log."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "details": self.details,
                "request_id": getattr(request, "id", None),
            }
        }

    def response(self, request: HttpRequest) -> HttpResponse:
        """Return the envelope as a response of plain Django."""
        return HttpResponse(
            dumps(self.envelope(request)),
            status=self.status,
            content_type=OrjsonRenderer.media_type,
            headers=dict(self.headers),
        )


# --- From an error to an answer ------------------------------------------------------------------


def answer_to(error: BaseException, *, view: APIView | None = None) -> Answer | None:
    """Return what the caller is told about an error; None if it is a bug of ours.

    Parameters
    ----------
    error : exception
        One of `NeuraScaleError`, Django REST framework or Django.
    view : APIView, optional
        Knows which methods and media types would have been right.
    """
    if isinstance(error, NeuraScaleError):
        return _answer_to_ours(error)
    if isinstance(error, drf.APIException):
        return _answer_to_drf(error, view)
    if isinstance(error, RequestDataTooBig):
        return _answer_to_ours(too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE))
    for kind, status in DJANGO.items():
        if isinstance(error, kind):
            code = CODES.get(status, status.name)
            return Answer(status, code, str(error) or status.description or status.phrase)
    return None


def status_of(kind: type[NeuraScaleError]) -> HTTPStatus:
    """Return the HTTP status of a kind of error."""
    return next(STATUS[branch] for branch in kind.__mro__ if branch in STATUS)


def _answer_to_ours(error: NeuraScaleError) -> Answer:
    status = status_of(type(error))
    details, headers = dict(error.details), {}
    if error.code == InvalidError.code:
        details.setdefault("fields", {})
    if status == HTTPStatus.UNAUTHORIZED:
        # RFC 6750, section 3.1: a reason is given only to those who sent a token.
        known = error.code != NotAuthenticatedError.code
        headers["WWW-Authenticate"] = challenge("invalid_token" if known else None)
    if "retry_after" in details:
        headers["Retry-After"] = str(details["retry_after"])
    return Answer(status, error.code, error.message, details, headers)


def _answer_to_drf(error: drf.APIException, view: APIView | None) -> Answer:
    if isinstance(error, drf.ValidationError):
        fields = dict(_flat(error.detail))
        told = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in fields.items())
        advice = getattr(error, "suggestion", None)  # of a query: see `StrictSerializer`
        suggested = {} if advice is None else {"suggestion": advice}
        return _answer_to_ours(
            InvalidError(f"The request is not valid: {told}", fields=fields, **suggested)
        )
    if isinstance(error, drf.NotAuthenticated):
        missing = NotAuthenticatedError(
            "This needs a token and the request has none",
            suggestion="Get one at POST /v1/auth/token and send it as Authorization: Bearer.",
        )
        return _answer_to_ours(missing)
    if isinstance(error, drf.Throttled):
        seconds = getattr(error, "wait", None)
        wait = {} if seconds is None else {"retry_after": math.ceil(seconds)}
        return _answer_to_ours(TooManyError(str(error.detail), **wait))
    details: dict[str, Any] = {}
    if isinstance(error, drf.MethodNotAllowed) and view:
        details = _instead("allowed", view.allowed_methods)
    elif isinstance(error, drf.UnsupportedMediaType) and view:
        details = _instead("supported", [parser.media_type for parser in view.get_parsers()])
    elif isinstance(error, drf.NotAcceptable) and view:
        details = _instead("available", [form.media_type for form in view.get_renderers()])
    status = HTTPStatus(error.status_code)
    headers = {"WWW-Authenticate": challenge()} if status == HTTPStatus.UNAUTHORIZED else {}
    return Answer(status, CODES.get(status, status.name), str(error.detail), details, headers)


def _instead(name: str, known: list[str]) -> dict[str, Any]:
    """Return the details of what is not there: what is, and what to do with it."""
    return {name: known, "suggestion": INSTEAD[name].format(" or ".join(known))}


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield ("filters.notch", [texts]) from Django REST framework's nested errors."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            whole = "request" if name == "non_field_errors" else str(name)
            yield from _flat(inner, f"{path}.{whole}" if path else whole)
    elif isinstance(detail, list) and any(isinstance(inner, dict | list) for inner in detail):
        for place, inner in enumerate(detail):
            if inner:
                yield from _flat(inner, f"{path}.{place}" if path else str(place))
    else:
        texts = detail if isinstance(detail, list) else [detail]
        yield path or "request", [str(text) for text in texts]


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an exception in a REST view; always JSON, whatever the view itself renders."""
    request, view = context["request"], context["view"]
    answer = answer_to(error, view=view)
    if answer is None:
        return None
    request.accepted_renderer = OrjsonRenderer()
    request.accepted_media_type = OrjsonRenderer.media_type
    return Response(answer.envelope(request), status=answer.status, headers=dict(answer.headers))


# --- Errors outside REST views -------------------------------------------------------------------


def answer_with_status(request: HttpRequest, status: int) -> Answer:
    """Return what is told of an error of which only the status is known."""
    kind = HTTPStatus(status)
    asked = f"{request.method} {request.path}"
    match kind:
        case HTTPStatus.NOT_FOUND:
            slash = len(request.path) > 1 and request.path.endswith("/")
            check = "Leave out the slash at the end." if slash else "Check path and version."
            details = {"path": request.path, "suggestion": check}
            return Answer(status, NotFoundError.code, f"There is nothing at {asked}", details)
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            hint = {"suggestion": "Tell the lab's administrator the request_id."}
            return Answer(status, NeuraScaleError.code, f"{asked} failed inside the server", hint)
    headers = {"WWW-Authenticate": challenge()} if kind == HTTPStatus.UNAUTHORIZED else {}
    return Answer(status, CODES.get(kind, kind.name), f"{asked}: {kind.description}", {}, headers)


def is_portal(request: HttpRequest) -> bool:
    """Say whether a page is asked for and not the API."""
    return request.path == PORTAL or request.path.startswith(f"{PORTAL}/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown URL (Django's ``handler404``)."""
    if is_portal(request):
        return defaults.page_not_found(request, exception)
    return answer_with_status(request, 404).response(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself refuses (``handler400``)."""
    if is_portal(request):
        return defaults.bad_request(request, exception)
    return answer_with_status(request, 400).response(request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what a plain view does not allow (``handler403``)."""
    if is_portal(request):
        return defaults.permission_denied(request, exception)
    return answer_with_status(request, 403).response(request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a bug of ours without its trace, which is in the log (``handler500``)."""
    if is_portal(request):
        return defaults.server_error(request)
    return answer_with_status(request, 500).response(request)


class RequestIdMiddleware(Middleware):
    """Name every request, and put into the envelope whatever error is not in it yet.

    The first of the middlewares, so that nothing leaves without passing it: Django's debug pages,
    which know more than a caller may, its plain texts for refused hosts and CSRF tokens, and
    the errors of views outside REST framework.
    """

    def __call__(self, request: HttpRequest) -> Any:  # noqa: D102 - Django's protocol
        if self.is_async:
            return self._call_async(request)
        began_at = time.perf_counter()
        request.id = name_request(request.headers.get("X-Request-ID", ""))  # type: ignore[attr-defined]
        response = self.get_response(request)
        return self._finish(request, response, began_at)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        began_at = time.perf_counter()
        request.id = name_request(request.headers.get("X-Request-ID", ""))  # type: ignore[attr-defined]
        response = await self.get_response(request)
        return self._finish(request, response, began_at)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer an expected error of a view outside REST framework."""
        answer = None if is_portal(request) else answer_to(error)
        return None if answer is None else answer.response(request)

    @staticmethod
    def _finish(
        request: HttpRequest, response: HttpResponseBase, began_at: float
    ) -> HttpResponseBase:
        if response.status_code >= HTTPStatus.BAD_REQUEST and not is_portal(request):
            response = _in_envelope(request, response)
        elif response.status_code == HTTPStatus.NOT_MODIFIED:
            del response["Content-Length"]  # it would be that of the body that is not sent
        response["X-Request-ID"] = request.id  # type: ignore[attr-defined]
        log_access(request, response.status_code, began_at)
        return response


def _in_envelope(request: HttpRequest, bare: HttpResponseBase) -> HttpResponseBase:
    """Return an error response in the envelope, itself if it is in it."""
    media_type = bare.get("Content-Type", "").partition(";")[0]
    if media_type == OrjsonRenderer.media_type or media_type.endswith("+json"):
        return bare
    answer = answer_with_status(request, bare.status_code)
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED and "Allow" in bare:
        answer = replace(answer, details=_instead("allowed", bare["Allow"].split(", ")))
    response = answer.response(request)
    response.cookies = bare.cookies
    for name, value in bare.items():
        if name.lower() in KEPT_HEADERS or name.lower().startswith(KEPT_PREFIXES):
            response[name] = value
    return response
