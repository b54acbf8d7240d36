"""Paths under /v1/ that studies answer; those of sessions are served by `ingest`."""

from django.urls import path

from sessions_app.views.clients import ClientViewSet, MemberViewSet
from sessions_app.views.sessions import StudyViewSet
from sessions_app.views.subjects import AuditViewSet, SubjectViewSet

studies = StudyViewSet.as_view({"get": "list", "post": "create"})
study = StudyViewSet.as_view({"get": "retrieve", "patch": "partial_update"})
members = MemberViewSet.as_view({"get": "list", "post": "create"})
member = MemberViewSet.as_view({"delete": "destroy"})
clients = ClientViewSet.as_view({"get": "list", "post": "create"})
client = ClientViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"})
subject = SubjectViewSet.as_view({"get": "retrieve"})


def client_path(action: str) -> object:
    """Return the path of something that is done to a client."""
    view = ClientViewSet.as_view({"post": action})
    return path(f"clients/<str:client_id>/{action}", view, name=f"client-{action}")


urlpatterns = [
    path("studies", studies, name="study-list"),
    path("studies/<str:study_id>", study, name="study-detail"),
    path("studies/<str:study_id>/members", members, name="member-list"),
    path("studies/<str:study_id>/members/<str:client_id>", member, name="member-detail"),
    path("clients", clients, name="client-list"),
    path("clients/<str:client_id>", client, name="client-detail"),
    client_path("rotate"),
    client_path("revoke"),
    path("subjects", SubjectViewSet.as_view({"get": "list"}), name="subject-list"),
    path("subjects/<str:subject_id>", subject, name="subject-detail"),
    path("audit", AuditViewSet.as_view({"get": "list"}), name="audit-list"),
]
