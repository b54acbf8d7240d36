"""WebSocket paths."""

from django.urls import path, re_path

from ingest.consumers import StreamConsumer
from neurascale.core.sockets import nowhere
from neurascale.graphql import doors

websocket_urlpatterns = [
    path("v1/stream", StreamConsumer.as_asgi()),
    path("graphql", doors.socket),
    re_path("", nowhere),
]
