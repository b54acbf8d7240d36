"""The two doors of /graphql, HTTP and WebSocket, which open without a GraphQL library."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from neurascale import graphql
from neurascale.core.graphql.views import GraphQLView

view = GraphQLView.as_view(get_schema=lambda: graphql.schema)


async def socket(scope: Any, receive: Any, send: Any) -> None:
    """Serve a WebSocket; the first one has the libraries loaded in a thread, beside the streams."""
    serve = await sync_to_async(getattr, thread_sensitive=False)(graphql, "Socket")
    await serve(scope, receive, send)
