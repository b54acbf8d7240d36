"""Which app answers which path."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from neurascale.graphql import doors

handler400 = "neurascale.core.api.bad_request"
handler403 = "neurascale.core.api.permission_denied"
handler404 = "neurascale.core.api.not_found"
handler500 = "neurascale.core.api.server_error"

admin.autodiscover()

# What is asked for most often comes first: Django tries one after the other.
V1 = [
    path("", include("ingest.urls")),
    path("", include("devices.urls")),
    path("", include("sessions_app.urls")),
    path("", include("neurascale.core.urls")),
]
urlpatterns = [
    path("v1/", include(V1)),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("graphql", doors.view, name="graphql"),
]
