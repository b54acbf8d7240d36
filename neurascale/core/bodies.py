"""Bodies of requests and responses, as REST framework reads and writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.http import HttpResponse, QueryDict
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from neurascale.core.encoding import too_large
from neurascale.core.wire import dumps, loads


class OrjsonRenderer(BaseRenderer):
    """Write JSON with orjson, numpy arrays included."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the body of a response; none for None."""
        return b"" if data is None else dumps(data)


def json_response(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return an answer that is written already.

    For hot paths: REST framework's own knows of templates, and is asked twice how it is written.
    """
    return HttpResponse(
        dumps(value), status=status, headers=headers, content_type=OrjsonRenderer.media_type
    )


def read_body(stream: IO[Any], parser_context: Mapping[str, Any] | None = None) -> bytes:
    """Return a request's body, whole, and inflated if it came as gzip; for parsers.

    Raises
    ------
    TooLargeError
        If it is larger than ``view.max_body_bytes``, or where the view has no such attribute
        than ``settings.DATA_UPLOAD_MAX_MEMORY_SIZE``.
    MalformedGzipError, UnsupportedFormError
        If it cannot be inflated, or is in an encoding that is not read here.
    """
    context = parser_context or {}
    limit = getattr(context.get("view"), "max_body_bytes", settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    encoded = getattr(stream, "inflated", None)
    if encoded is not None:
        body: bytes = encoded.whole(limit)
    else:
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise too_large(limit)
    request = context.get("request")
    if request is not None and "Idempotency-Key" in request.headers:
        request._request.body_digest = hashlib.sha256(body).hexdigest()
    return body


class OrjsonParser(BaseParser):
    """Read JSON with orjson."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value of a body; see `loads` and `read_body` for what is refused."""
        return loads(read_body(stream, parser_context))


class FormParser(BaseParser):
    """Read what HTML forms send, and what OAuth libraries send to a token endpoint."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> QueryDict:
        """Return the fields of a body; see `read_body` for what is refused."""
        return QueryDict(read_body(stream, parser_context))
