"""WebSocket paths."""

from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from ingest.consumers import StreamConsumer
from neurascale.graphql import doors

websocket_urlpatterns = [
    path("v1/stream", StreamConsumer.as_asgi()),
    path("graphql", doors.socket),
    re_path("", WebsocketDenier.as_asgi()),  # 403 in the handshake; without it, 500 and a trace
]
