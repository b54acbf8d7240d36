"""The answer to OPTIONS: what can be done here, with which scope, in which form."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.encoding import force_str
from rest_framework.metadata import BaseMetadata
from rest_framework.request import Request

WITH_BODY = ("POST", "PUT", "PATCH")


class Methods(BaseMetadata):
    """Describes a path: name, what it is for, its methods, the media types it writes."""

    def determine_metadata(self, request: Request, view: Any) -> dict[str, Any]:
        """Return the body of the answer."""
        return {
            "name": view.get_view_name(),
            "description": force_str(view.get_view_description()),
            "methods": {
                method: self._method(view, method)
                for method in view.allowed_methods
                if method != "OPTIONS"
            },
            "produces": [renderer.media_type for renderer in view.get_renderers()],
        }

    def _method(self, view: Any, method: str) -> dict[str, Any]:
        scopes = _scopes(view, method)
        if method not in WITH_BODY:
            return {"scopes": scopes}
        limit = getattr(view, "max_body_bytes", settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        return {
            "scopes": scopes,
            "accepts": [parser.media_type for parser in view.get_parsers()],
            "limit_bytes": limit,
        }


def _scopes(view: Any, method: str) -> list[str]:
    """Return the scopes that a method needs; none where anybody may use it."""
    declared = getattr(view, "required_scopes", {})
    actions = getattr(view, "action_map", None) or {}
    read = ("GET",) if method == "HEAD" else ()
    for key in (actions.get(method.lower()), method, *read):
        if key in declared:
            needed = declared[key]
            return sorted([str(needed)] if isinstance(needed, str) else map(str, needed))
    return []
