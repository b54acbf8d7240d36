"""What our middlewares have in common: each runs in a thread or in the event loop, as asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class Middleware:
    """A middleware that costs no change of threads.

    Parameters
    ----------
    get_response : callable
        What is inside; a coroutine function where Django runs in the event loop.

    Attributes
    ----------
    is_async : bool
        Whether it is called in the event loop, and what it returns is awaited.
    """

    sync_capable = async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response: Any = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)  # type: ignore[type-var]  # who inherits can be called
