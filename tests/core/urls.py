"""The project's paths, and some that go wrong in every way there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_GET
from rest_framework.exceptions import Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from neurascale.core import errors
from neurascale.core.views import ApiView

handler400 = "neurascale.core.api.bad_request"
handler403 = "neurascale.core.api.permission_denied"
handler404 = "neurascale.core.api.not_found"
handler500 = "neurascale.core.api.server_error"

RAISED = {
    "bug": ZeroDivisionError("a secret of ours"),
    "hardware": errors.HardwareError("The board is silent", port="/dev/ttyUSB0"),
    "conflict": errors.ConflictError("It streams already"),
    "forbidden": errors.ForbiddenError("Not yours"),
    "invalid": errors.InvalidError("That is no frequency"),
    "missing": errors.NotFoundError("No such thing"),
    "unsupported": errors.NotSupportedError("A Cyton has no battery gauge"),
    "large": errors.TooLargeError("Too many samples"),
    "often": errors.TooManyError("Too many requests", retry_after=7),
    "throttled": Throttled(wait=6.2),
    "unknown": Http404("No such page"),
    "denied": PermissionDenied("No"),
    "suspicious": SuspiciousOperation("A forged host"),
}


class Raise(APIView):
    """Raises what the path names, in a REST view."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request, name: str) -> Response:
        raise RAISED[name]


class Echo(APIView):
    """Answers what it was sent."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    max_body_bytes = 1000

    def post(self, request: Request) -> Response:
        return Response({"sent": request.data})


class Slow(ApiView):
    """Waits for something outside, as views do that make a board do something."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    act: Callable[[], Any] = staticmethod(dict)  # a test says what it does

    def post(self, request: Request) -> Response:
        return Response(Slow.act())


class Undeclared(APIView):
    """Forgot to say which scope it requires."""

    def get(self, request: Request) -> Response:
        return Response({})


def raise_plainly(request: HttpRequest, name: str) -> HttpResponse:
    raise RAISED[name]


def fine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine")


urlpatterns: list[Any] = [
    path("admin/broken", raise_plainly, {"name": "bug"}),
    path("admin/", admin.site.urls),
    path("rest/<str:name>", Raise.as_view()),
    path("plain/<str:name>", raise_plainly),
    path("echo", Echo.as_view()),
    path("slow", Slow.as_view()),
    path("undeclared", Undeclared.as_view()),
    path("get", require_GET(fine)),
    path("form", csrf_protect(fine)),
    path("v1/", include("neurascale.core.urls")),
    path("v1/", include("ingest.urls")),
    path("v1/", include("sessions_app.urls")),
    path("v1/", include("devices.urls")),
]
