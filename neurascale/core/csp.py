"""What pages may load: only what this server serves, and nothing that is written into the page.

`STRICT` holds for every page that does not say more. A directive of a page replaces the strict one.
"""

from __future__ import annotations

from collections.abc import Mapping

HEADER = "Content-Security-Policy"
STRICT: Mapping[str, str] = {
    "default-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# An answer of the API is no page; should a browser take it for one, it may do nothing.
DATA: Mapping[str, str] = {"default-src": "'none'", "form-action": "'none'"}
# The icons in Swagger UI's style sheet are data: URLs.
SWAGGER_UI: Mapping[str, str] = {"img-src": "'self' data:"}
# Redoc searches in a worker that it makes of a blob:.
REDOC: Mapping[str, str] = {"img-src": "'self' data:", "worker-src": "blob:"}
# The portal's frame is django-unfold: Alpine compiles the expressions in its templates, and its
# pages bear style attributes. No script may be written into a page here either.
PORTAL: Mapping[str, str] = {
    "script-src": "'self' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
}


def policy(more: Mapping[str, str] | None = None) -> str:
    """Return the header's value for a page that needs ``more`` than the strict policy."""
    directives = {**STRICT, **(more or {})}
    return "; ".join(f"{name} {value}" for name, value in directives.items())
