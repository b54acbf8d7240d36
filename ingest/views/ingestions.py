"""Samples that come over REST."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework import status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from devices.errors import DeviceBusyError, InvalidDeviceIdError
from ingest import shapes
from ingest.serializers import ingestion_on_the_wire
from ingest.services import ingestions
from ingest.submission import ARROW, JSON, NPY, read_submission
from neurascale.core.auth import Scope
from neurascale.core.bodies import json_response, read_body
from neurascale.core.idempotency import REPLAYED, Idempotency, key_of
from neurascale.core.limits import Bucket
from neurascale.core.openapi.operation import Operation
from neurascale.core.views import ApiView
from sessions_app.errors import InvalidSessionIdError, SessionStateError, SubjectWithdrawnError

MAX_KEY_LENGTH = 255


class BytesParser(BaseParser):
    """Hands on the body as it came: its hash is needed, and arrays are read elsewhere."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the body; see `read_body` for what is refused."""
        return read_body(stream, parser_context)


class JsonBytesParser(BytesParser):
    """The seed document's form."""

    media_type = JSON


class NpyBytesParser(BytesParser):
    """What `numpy.save` writes."""

    media_type = NPY


class ArrowBytesParser(BytesParser):
    """An Arrow IPC stream."""

    media_type = ARROW


class IngestView(ApiView):
    """Take samples and answer when they are durable; see `ingest.submission` for the forms.

    With ``Idempotency-Key`` the same request stores once, however often it is sent: the key is kept
    with what was stored, in the same transaction, for as long as that is. What is refused is kept
    like any other answer.
    """

    idempotency = Idempotency.OWN

    required_scopes = {"POST": Scope.INGEST_WRITE}
    limit = Bucket.BULK
    parser_classes = (JsonBytesParser, NpyBytesParser, ArrowBytesParser)
    operations = {
        "POST": Operation(
            takes=shapes.FORMS,
            gives=shapes.Ingestion,
            status=status.HTTP_201_CREATED,
            raises=(
                *(InvalidDeviceIdError, InvalidSessionIdError),
                *(SessionStateError, DeviceBusyError, SubjectWithdrawnError),
            ),
            parameters=shapes.IN_QUERY,
        )
    }

    @property
    def max_body_bytes(self) -> int:
        """How large a body of this form may be; what is larger is answered with 413."""
        most = int(settings.INGEST_MAX_BYTES)
        return (
            min(most, settings.INGEST_MAX_JSON_BYTES)
            if media_type_of(self.request) == JSON
            else most
        )

    def post(self, request: Request) -> HttpResponse:
        """Store samples in a session."""
        began_at = time.perf_counter()
        key = key_of(request)
        body = request.data or b""
        media_type = media_type_of(request)
        sent = read_submission(body, media_type=media_type, query=request.query_params.dict())
        ingestion = ingestions.ingest_samples(
            principal=request.user,
            session_id=sent.session_id,
            device_id=sent.device_id,
            data=sent.data,
            sfreq=sent.sfreq,
            time_ns=sent.time_ns,
            metadata=sent.metadata,
            idempotency_key=key,
            request_hash=hash_of(media_type, request, body) if key else "",
            began_at=began_at,
        )
        headers = {REPLAYED: "true"} if ingestion.is_repeated else {}
        return json_response(
            ingestion_on_the_wire(ingestion), status=status.HTTP_201_CREATED, headers=headers
        )


class IngestionView(ApiView):
    """What became of samples that were sent."""

    required_scopes = {"GET": Scope.INGEST_WRITE}
    operations = {"GET": Operation(gives=shapes.Ingestion)}

    def get(self, request: Request, ingestion_id: str) -> Response:
        """Return an ingestion."""
        return Response(ingestion_on_the_wire(ingestions.get_ingestion(request.user, ingestion_id)))


def media_type_of(request: Request) -> str:
    """Return the form of a body, without its parameters."""
    return str(request.content_type).partition(";")[0].strip().lower()


def hash_of(media_type: str, request: Request, body: bytes) -> str:
    """Return what tells two requests apart."""
    query = request.META.get("QUERY_STRING", "")
    digest = hashlib.sha256(f"{media_type}?{query}\n".encode())
    digest.update(body)
    return digest.hexdigest()
