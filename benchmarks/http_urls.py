"""The project's paths, and two views to compare with: the least that could be done.

``bench/trivial``: a view of REST framework that knows its caller by a JWT, and says so.
``bench/plain``: a plain view that reads JSON with orjson and inserts what was sent, with one raw
INSERT; it knows nobody and checks nothing.
"""

from __future__ import annotations

import orjson
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from neurascale.core.auth import ClientTokenAuthentication

TABLE = "bench_plain"


class Trivial(APIView):
    """Know who asks."""

    authentication_classes = (ClientTokenAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        """Say who asks."""
        return Response({"client_id": request.user.public_id})


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    """Insert what was sent."""
    value = orjson.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (session, body) VALUES (%s, %s)",
            [value["session_id"], request.body],
        )
    return HttpResponse(b'{"status":"accepted"}', content_type="application/json", status=201)


urlpatterns = [
    path("bench/trivial", Trivial.as_view()),
    path("bench/plain", plain),
    path("", include("neurascale.urls")),
]
