"""HTTP to Django, WebSocket to Channels."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neurascale.settings")
# Each request has a thread of its own here, so a connection to PostgreSQL that is kept for the next
# one is kept for nobody: under load they would use up all that the server has.
os.environ.setdefault("CONN_MAX_AGE", "0")
http = get_asgi_application()  # loads the apps: consumers may only be imported afterwards

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402

from neurascale.core.logs import SocketIds  # noqa: E402
from neurascale.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": SocketIds(SessionMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
