"""HTTP alone, for WSGI servers where load matters; sockets stay with `neurascale.asgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neurascale.settings")
application = get_wsgi_application()
