"""GET /v1/stream by those who do not know that it is a WebSocket."""

from __future__ import annotations

from http import HTTPStatus

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from neurascale.core.api import Answer


@csrf_exempt  # it does nothing, and whoever posts is to be told why
def stream_over_http(request: HttpRequest) -> HttpResponse:
    """Answer that this is a WebSocket (RFC 9110, section 15.5.22).

    The header that says so is of the connection, and no application may send it under WSGI (PEP
    3333), where there is no WebSocket either.
    """
    if request.method == "OPTIONS":
        return HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"Allow": "OPTIONS"})
    return Answer(
        HTTPStatus.UPGRADE_REQUIRED,
        HTTPStatus.UPGRADE_REQUIRED.name,
        f"{request.path} is a WebSocket, and this is a plain {request.method}",
        {"suggestion": "Connect with a WebSocket library, to ws:// or wss://."},
        {"Upgrade": "websocket"} if isinstance(request, ASGIRequest) else {},
    ).response(request)
