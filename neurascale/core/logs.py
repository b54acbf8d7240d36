"""The log: each line names the request it belongs to, and no line holds a secret.

The id of a request follows it through threads, coroutines and into the tasks that it enqueues. A
WebSocket connection has one id for as long as it lasts; a task that nobody asked for has its own.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun
from django.core.signals import request_finished
from django.utils.functional import SimpleLazyObject

from neurascale.core.ids import make_public_id

NOBODY = "-"
HEADER = "neurascale_request_id"  # of a Celery message
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

access = logging.getLogger("neurascale.access")
request_id: ContextVar[str] = ContextVar("request_id", default=NOBODY)

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F) if code != 0x09}
# Whatever looks like a token, an API key or what follows a word that promises a secret. Nobody logs
# these on purpose; an error message, a URL or a trace may.
_SECRETS = re.compile(
    r"eyJ[\w-]{4,}\.[\w-]+\.?[\w-]*"  # a JWT
    r"|\bns_[\w-]{8,}"
    r"|(?i:(?<=bearer )|(?<=secret=)|(?<=token=)|(?<=password=)|(?<=api_key=))[^\s&\"',}]+"
    r"|(?i:(?<=secret\": \")|(?<=secret': ')|(?<=api_key\": \")|(?<=api_key': '))[^\"']+"
)


def name_request(asked: str) -> str:
    """Return the id of a request, its caller's if that is sane, and note it for the log."""
    name = asked if SANE_REQUEST_ID.fullmatch(asked) else make_public_id("req_")
    request_id.set(name)
    return name


@request_finished.connect
def forget_request(**_: Any) -> None:
    """Note that what is logged from now on belongs to no request."""
    request_id.set(NOBODY)


class RequestIdFilter(logging.Filter):
    """Gives each record the ``request_id`` of where it was logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id; every record passes."""
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get()
        return True


class SecretsFormatter(logging.Formatter):
    """Writes a line, or a trace, without the secrets that got into it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text that is written."""
        return _SECRETS.sub("[secret]", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's interface
        """Return the line, of which what somebody called a thing makes no two."""
        record.message = record.message.translate(_CONTROLS)
        return super().formatMessage(record)


# --- One line a request --------------------------------------------------------------------------


def log_access(request: Any, status: int, began_at: float) -> None:
    """Log a request that was answered: without its query, in which anything may stand.

    Parameters
    ----------
    request : HttpRequest
        What was asked.
    status : int
        What was answered.
    began_at : float
        `time.perf_counter` when it came.
    """
    if not access.isEnabledFor(logging.INFO):
        return
    principal = request.__dict__.get("user")
    if isinstance(principal, SimpleLazyObject):  # of the portal; looked up only if somebody asked
        principal = request.__dict__.get("_cached_user")
    access.info(
        "%s %s %d %.1f ms %s",
        request.method,
        request.path.encode("unicode_escape").decode("ascii"),
        status,
        (time.perf_counter() - began_at) * 1e3,
        name_of(principal),
    )


def name_of(principal: Any) -> str:
    """Return what the log calls a principal: no name, and nothing that has to be looked up."""
    public_id = getattr(principal, "public_id", None)
    if public_id:
        return str(public_id)
    key = getattr(principal, "pk", None)
    return f"user:{key}" if key else NOBODY


# --- WebSockets ----------------------------------------------------------------------------------


class SocketIds:
    """Name each WebSocket connection as a request is named; ASGI, around all that serves them.

    Parameters
    ----------
    app : ASGI application
        Serves the connection; finds the id in ``scope["request_id"]``.
    """

    def __init__(self, app: Callable[..., Awaitable[Any]]) -> None:
        self.app = app

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Serve a connection, and log its beginning and its end."""
        asked = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        name = name_request(asked.decode("latin1"))
        began_at = time.perf_counter()
        path = scope["path"].encode("unicode_escape").decode("ascii")
        access.info("WEBSOCKET %s opened", path)
        try:
            await self.app({**scope, "request_id": name}, receive, send)
        finally:
            access.info("WEBSOCKET %s closed after %.1f s", path, time.perf_counter() - began_at)


# --- Tasks ---------------------------------------------------------------------------------------


@before_task_publish.connect
def send_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Give a task the id of the request that enqueues it."""
    if headers is not None and request_id.get() != NOBODY:
        headers[HEADER] = request_id.get()


@task_prerun.connect
def take_request_id(task: Any = None, task_id: str = "", **_: Any) -> None:
    """Log a task's lines under the id it was sent with, or its own."""
    sent = getattr(task.request, HEADER, None) or (task.request.headers or {}).get(HEADER)
    request_id.set(sent or f"task_{task_id}")


@task_postrun.connect
def forget_task(**_: Any) -> None:
    """Note that the task is over."""
    request_id.set(NOBODY)
