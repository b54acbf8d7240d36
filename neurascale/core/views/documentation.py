"""The API, described: the OpenAPI document, and two pages that show it."""

from __future__ import annotations

from collections.abc import Mapping

from rest_framework.permissions import AllowAny
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from neurascale.core import csp
from neurascale.core.openapi.operation import Operation
from neurascale.core.openapi.renderers import JsonDocument, YamlDocument
from neurascale.core.serializers import OutputSerializer
from neurascale.core.views.resources import ApiView


class DocumentationView(ApiView):
    """What anybody may read, as often as they like."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    limit = None


class SchemaView(DocumentationView):
    """The OpenAPI 3.1 document of this API: JSON, or YAML by ``Accept`` or ``?output=yaml``."""

    renderer_classes = (JsonDocument, YamlDocument)
    operations = {
        "GET": Operation(
            query=OutputSerializer,
            gives={"application/json": {"type": "object"}, "application/yaml": {"type": "object"}},
        )
    }

    def get(self, request: Request) -> Response:
        """Return the document."""
        return Response({})


class DocsView(DocumentationView):
    """The API in Swagger UI, where requests can be tried out."""

    renderer_classes = (TemplateHTMLRenderer,)
    template_name = "core/docs.html"
    policy: Mapping[str, str] = csp.SWAGGER_UI
    operations = {"GET": Operation(gives={"text/html": {"type": "string"}})}

    def get(self, request: Request) -> Response:
        """Return the page; its scripts and styles are files of this server."""
        return Response({}, headers={csp.HEADER: csp.policy(self.policy)})


class RedocView(DocsView):
    """The API in Redoc, on one page to read."""

    template_name = "core/redoc.html"
    policy = csp.REDOC
