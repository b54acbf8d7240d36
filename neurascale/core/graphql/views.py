"""POST /graphql: a REST view, so that tokens, CSRF, limits and the envelope are those of REST.

Rule of this file: no GraphQL library is imported; the schema is handed over with the first request.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from neurascale.core.bodies import OrjsonParser, OrjsonRenderer
from neurascale.core.graphql.context import Context
from neurascale.core.idempotency import Idempotency
from neurascale.core.openapi.operation import Operation, Schema
from neurascale.core.views.resources import ApiView

SHOWN_ONCE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class GraphQLRenderer(OrjsonRenderer):
    """For clients that want a status with what was not run ("GraphQL over HTTP", section 6.4)."""

    media_type = "application/graphql-response+json"
    format = "graphql"


ERROR: Schema = {
    "type": "object",
    "required": ["message", "extensions"],
    "properties": {
        "message": {"type": "string"},
        "locations": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["line", "column"],
                "properties": {"line": {"type": "integer"}, "column": {"type": "integer"}},
            },
        },
        "path": {"type": "array", "items": {"type": ["string", "integer"]}},
        "extensions": {
            "type": "object",
            "description": "What the envelope of an error has in REST.",
            "required": ["code", "details", "requestId"],
            "properties": {
                "code": {"type": "string"},
                "details": {"type": "object", "additionalProperties": {}},
                "requestId": {"type": ["string", "null"]},
            },
        },
    },
}
RESULT: Schema = {
    "type": "object",
    "description": "What was asked for, null where it failed, and what failed.",
    "required": ["data"],
    "properties": {
        "data": {"type": ["object", "null"], "additionalProperties": {}},
        "errors": {"type": "array", "minItems": 1, "items": ERROR},
    },
}


class OperationSerializer(serializers.Serializer[Any]):
    """One operation; more than one a request is not taken."""

    query = serializers.CharField(trim_whitespace=False, help_text="A document of GraphQL.")
    variables = serializers.DictField(
        required=False, allow_null=True, help_text="Values of its variables, by their names."
    )
    operationName = serializers.CharField(  # noqa: N815 - of "GraphQL over HTTP"
        required=False, allow_null=True, help_text="Which to run, where a document has several."
    )


class GraphQLView(ApiView):
    """Run a query or a change of GraphQL; what there is, GraphQL's own schema says.

    Only POST, and only JSON: no page of another site can make a browser send that without asking,
    and no link can change anything. Whoever comes with the portal's session shows the CSRF token.

    An answer is kept for its ``Idempotency-Key`` with a lease, since a change may wait for a board:
    the whole answer, errors of single fields included, so that what was changed is not changed
    again. Of what shows a secret only that it was done is kept.
    """

    required_scopes = {"POST": ()}  # each field says what it needs
    parser_classes = (OrjsonParser,)
    renderer_classes = (OrjsonRenderer, GraphQLRenderer)
    idempotency = Idempotency.LEASED
    max_body_bytes = 256 * 2**10
    operations = {
        "POST": Operation(
            takes=OperationSerializer,
            gives={OrjsonRenderer.media_type: RESULT, GraphQLRenderer.media_type: RESULT},
            also={HTTPStatus.BAD_REQUEST: {GraphQLRenderer.media_type: RESULT}},
        )
    }
    get_schema: Callable[[], Any] = SimpleNamespace  # given to `as_view`

    def post(self, request: Request) -> Response:
        """Return ``{"data": …, "errors": […]}``."""
        asked = OperationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        sent = asked.validated_data
        result = self.get_schema().execute_sync(
            sent["query"],
            variable_values=sent.get("variables"),
            operation_name=sent.get("operationName"),
            context_value=self._context(request),
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [error.formatted for error in result.errors]
        status = HTTPStatus.OK
        if result.errors and result.data is None and self._wants_status(request):
            status = HTTPStatus.BAD_REQUEST
        headers = SHOWN_ONCE if self._shows_once() else {}
        kind = request.accepted_renderer.media_type  # told, so that a kept answer has it too
        return Response(answer, status=status, headers=headers, content_type=kind)

    def _shows_once(self) -> bool:
        asked = self.request.data
        query = asked.get("query") if isinstance(asked, dict) else None
        return isinstance(query, str) and self.get_schema().shows_once(query)

    @staticmethod
    def _context(request: Any) -> Context:
        return Context(request.user, request_id=request.id)

    @staticmethod
    def _wants_status(request: Request) -> bool:
        return bool(request.accepted_media_type.startswith(GraphQLRenderer.media_type))
