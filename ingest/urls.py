"""Paths under /v1/ that the live stream and the stored one answer."""

from django.urls import URLPattern, include, path

from ingest.views.devices import DeviceControlViewSet
from ingest.views.ingestions import IngestionView, IngestView
from ingest.views.sessions import EventViewSet, SessionDataView, SessionViewSet
from ingest.views.subjects import WithdrawalView

sessions = SessionViewSet.as_view({"get": "list", "post": "create"})
session = SessionViewSet.as_view(
    {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
)
events = EventViewSet.as_view({"get": "list", "post": "create"})


def device_path(what: str, method: str, action: str) -> URLPattern:
    """Return the path of something that a device does."""
    view = DeviceControlViewSet.as_view({method: action})
    return path(f"<str:device_id>/{what}", view, name=f"device-{action}")


def session_path(action: str) -> URLPattern:
    """Return the path of a step in a session's life."""
    view = SessionViewSet.as_view({"post": action})
    return path(f"<str:session_id>/{action}", view, name=f"session-{action}")


# Django tries one after the other, so what begins alike stands together.
DEVICES = [
    path("discover", DeviceControlViewSet.as_view({"get": "discover"}), name="discover"),
    device_path("status", "get", "status"),
    device_path("connect", "post", "connect"),
    device_path("disconnect", "post", "disconnect"),
    device_path("stream/start", "post", "start"),
    device_path("stream/stop", "post", "stop"),
]
SESSIONS = [
    path("<str:session_id>", session, name="session-detail"),
    session_path("start"),
    session_path("pause"),
    session_path("resume"),
    session_path("stop"),
    path("<str:session_id>/events", events, name="event-list"),
    path("<str:session_id>/data", SessionDataView.as_view(), name="session-data"),
]
urlpatterns = [
    path("ingest/neural-data", IngestView.as_view(), name="ingest"),
    path("ingest/<str:ingestion_id>", IngestionView.as_view(), name="ingestion-detail"),
    path("devices/", include(DEVICES)),
    path("sessions", sessions, name="session-list"),
    path("sessions/", include(SESSIONS)),
    path("subjects/<str:subject_id>/withdraw", WithdrawalView.as_view(), name="subject-withdraw"),
]
