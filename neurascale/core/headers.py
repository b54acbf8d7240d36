"""The headers that tell a browser what it may do with an answer; on every answer there is.

HSTS, nosniff and the referrer policy come from Django's own middleware, by the settings.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from neurascale.core import csp
from neurascale.core.api import is_portal
from neurascale.core.middleware import Middleware

PORTAL, DATA = csp.policy(csp.PORTAL), csp.policy(csp.DATA)
ALWAYS = {
    # Of a lab's pages none needs what a browser could lend it.
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeadersMiddleware(Middleware):
    """Add what a view did not say itself."""

    def __call__(self, request: HttpRequest) -> Any:  # noqa: D102 - Django's protocol
        if self.is_async:
            return self._call_async(request)
        return _with_headers(request, self.get_response(request))

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        return _with_headers(request, await self.get_response(request))


def _with_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault(csp.HEADER, PORTAL if is_portal(request) else DATA)
    for name, value in ALWAYS.items():
        response.headers.setdefault(name, value)
    return response
