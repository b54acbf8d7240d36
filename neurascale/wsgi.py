"""HTTP alone, for WSGI servers where load matters; sockets stay with `neurascale.asgi`."""

import os
import sys

from django.core.wsgi import get_wsgi_application

# Half a millisecond rather than five: a thread that comes back from a statement of the database,
# of which an ingestion has fifteen, waits that long for another one that computes.
sys.setswitchinterval(0.0005)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neurascale.settings")
application = get_wsgi_application()
