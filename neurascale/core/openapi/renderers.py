"""The document as JSON and as YAML, written once a process, and the pages that show it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from drf_spectacular.renderers import OpenApiYamlRenderer
from rest_framework.renderers import BaseRenderer

from neurascale.core.openapi.schema import document
from neurascale.core.wire import dumps


@cache
def as_json() -> bytes:
    """Return the document as JSON."""
    return dumps(document())


@cache
def as_yaml() -> bytes:
    """Return the document as YAML."""
    text: bytes = OpenApiYamlRenderer().render(document())
    return text


class JsonDocument(BaseRenderer):
    """Writes the document as JSON."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the body."""
        return as_json()


class YamlDocument(JsonDocument):
    """Writes the document as YAML (RFC 9512)."""

    media_type = "application/yaml"
    format = "yaml"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the body."""
        return as_yaml()
