"""Who is behind a WebSocket: what the handshake shows, and where it may come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import validate_host
from django.utils.http import is_same_domain

from neurascale.core.api import Answer
from neurascale.core.auth import Principal, authenticate_token, refuse_token_in_url
from neurascale.core.errors import NeuraScaleError, NotFoundError
from neurascale.core.wire import dumps

log = logging.getLogger(__name__)

MAX_REASON_BYTES = 123  # RFC 6455, section 5.5: a control frame has 125, the code takes two
REFUSAL = "websocket.http.response"  # an extension of ASGI: a handshake answered like a request
SUBPROTOCOL = "neurascale.jwt."  # followed by the token, where a client cannot set headers


def reason_of(error: NeuraScaleError) -> str:
    """Return why a connection ends, as its close frame says it: ``INVALID_TOKEN: …``."""
    reason = f"{error.code}: {error.message}".encode()[:MAX_REASON_BYTES]
    return reason.decode(errors="ignore")


def chosen_subprotocol(scope: Mapping[str, Any]) -> str | None:
    """Return the subprotocol that carries a token, which the handshake must name in its answer."""
    offered = scope.get("subprotocols") or ()
    return next((name for name in offered if name.startswith(SUBPROTOCOL)), None)


async def authenticate_handshake(scope: Mapping[str, Any]) -> Principal | None:
    """Return who a handshake says it is; None if it says nothing, which may follow.

    Asked in this order: ``Authorization: Bearer``, the subprotocol, the portal's session.

    Raises
    ------
    InvalidTokenError
        If a token is shown that does not hold, or one is in the URL.
    """
    query = parse_qs(scope.get("query_string", b"").decode("latin1"), keep_blank_values=True)
    refuse_token_in_url(query)
    scheme, _, token = _header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return await authenticate(token.strip())
    subprotocol = chosen_subprotocol(scope)
    if subprotocol is not None:
        return await authenticate(subprotocol.removeprefix(SUBPROTOCOL))
    user = await get_user(scope)
    if not user.is_authenticated:
        return None
    if not is_origin_allowed(scope):
        # A browser sends its cookies along with whatever page opens the socket.
        log.warning(
            "The session of %s is not used for a socket opened by %r; if that is a page of "
            "yours, name its origin in CSRF_TRUSTED_ORIGINS",
            user,
            _header(scope, b"origin"),
        )
        return None
    return user


async def authenticate(token: str) -> Principal:
    """Return the client that an access token speaks for.

    Raises
    ------
    InvalidTokenError
        If it speaks for nobody.
    """
    return await database_sync_to_async(authenticate_token, thread_sensitive=False)(token)


def is_origin_allowed(scope: Mapping[str, Any]) -> bool:
    """Tell whether the page that opens a socket is the portal's own, or one it trusts.

    Likewise as Django checks the origin of a form that is posted.
    """
    origin, host = _header(scope, b"origin"), _header(scope, b"host")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    parts = urlsplit(origin)
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        scheme, _, pattern = trusted.partition("://*")
        if pattern and parts.scheme == scheme and is_same_domain(parts.netloc, pattern):
            return True
    hostname = urlsplit(f"//{host}").hostname or ""
    bracketed = f"[{hostname}]" if ":" in hostname else hostname
    return parts.netloc == host and validate_host(bracketed, settings.ALLOWED_HOSTS)


async def nowhere(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
    """Answer a handshake at a path where there is no WebSocket."""
    path = str(scope["path"])
    answer = Answer(
        HTTPStatus.NOT_FOUND,
        NotFoundError.code,
        f"There is no WebSocket at {path}",
        {"path": path, "suggestion": "Connect to /v1/stream or to /graphql."},
    )
    body = dumps(answer.envelope(SimpleNamespace(id=scope["request_id"])))
    headers = [
        (b"Content-Type", b"application/json"),
        (b"X-Request-ID", str(scope["request_id"]).encode()),
    ]
    if REFUSAL not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})  # which servers make a 403 of
        return
    await send({"type": f"{REFUSAL}.start", "status": answer.status, "headers": headers})
    await send({"type": f"{REFUSAL}.body", "body": body})


def _header(scope: Mapping[str, Any], name: bytes) -> str:
    return next((v.decode("latin1") for k, v in scope["headers"] if k == name), "")
