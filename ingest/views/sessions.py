"""Sessions as recordings: begin, pause, end, mark, read back.

What needs no samples (list, read, change, delete) comes from `sessions_app.views`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.mixins import ListModelMixin
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from devices.errors import DeviceBusyError, DeviceNotConnectedError, DeviceUnavailableError
from ingest import arrays, shapes
from ingest.errors import DeviceNotStreamingError, StreamAlreadyRunningError
from ingest.serializers import (
    EventSerializer,
    NewEventSerializer,
    RecordedSessionSerializer,
    StretchSerializer,
    stretch_on_the_wire,
)
from ingest.services import recordings
from ingest.services.readings import Stretch, find_stretch, note_export
from ingest.store import Recording, extents
from neurascale.core import etags
from neurascale.core.auth import Scope
from neurascale.core.bodies import OrjsonRenderer
from neurascale.core.openapi.operation import Operation
from neurascale.core.views import ApiView, ResourceViewSet
from neurascale.core.wire import dumps
from sessions_app import views
from sessions_app.errors import SessionStateError
from sessions_app.models import Event, Session
from sessions_app.services import get_session

MAX_JSON_VALUES = 1_000_000  # about 10 MB; the rest is one `next` away
BEGINNING = (
    *(SessionStateError, DeviceBusyError, DeviceNotConnectedError, DeviceNotStreamingError),
    *(StreamAlreadyRunningError, DeviceUnavailableError),
)
PIECE_VALUES = 250_000  # of a binary answer, which has no limit: a megabyte at a time


class SessionViewSet(views.SessionViewSet):
    """The sessions of one's studies, and their recordings."""

    serializer_class = RecordedSessionSerializer
    operations = {
        **views.SessionViewSet.operations,
        "start": Operation(raises=BEGINNING),
        "pause": Operation(raises=(SessionStateError,)),
        "resume": Operation(raises=BEGINNING),
        "stop": Operation(raises=(SessionStateError,)),
    }

    def states(self, rows: Sequence[Session]) -> list[Any]:
        """Return how much of each is stored: what is stored does not change."""
        return extents(rows)

    def create(self, request: Request) -> Response:
        """Create a session; on a device that streams it records from this moment."""
        session = recordings.create_session(**self.new_session())
        return Response(self.get_serializer(session).data, status=status.HTTP_201_CREATED)

    def start(self, request: Request, session_id: str) -> Response:
        """Begin to record."""
        return self._answer(recordings.start_session(session=self.get_object()))

    def pause(self, request: Request, session_id: str) -> Response:
        """Leave out what comes, until the session is resumed."""
        return self._answer(recordings.pause_session(session=self.get_object()))

    def resume(self, request: Request, session_id: str) -> Response:
        """Go on recording after a pause."""
        return self._answer(recordings.resume_session(session=self.get_object()))

    def stop(self, request: Request, session_id: str) -> Response:
        """End the recording; all that was taken until now is stored when this answers."""
        return self._answer(recordings.stop_session(session=self.get_object()))

    def _answer(self, session: Session) -> Response:
        return Response(self.get_serializer(session).data)


class EventViewSet(ListModelMixin, ResourceViewSet[Event]):
    """What happened in a session."""

    plural = "events"
    serializer_class = EventSerializer
    required_scopes = {"GET": Scope.SESSIONS_READ, "POST": Scope.SESSIONS_WRITE}
    filter_fields = {"label": "label", "source": "source", "stream_id": "stream_id"}
    search_fields = ("label",)
    ordering_fields = {"timestamp": "time_ns", "created_at": "created_at", "label": "label"}
    ordering = ("timestamp",)
    operations = {"create": Operation(takes=NewEventSerializer)}

    def get_queryset(self) -> QuerySet[Event]:
        """Return the session's events."""
        return Event.objects.filter(session=self._session()).select_related("session")

    def get_serializer_context(self) -> dict[str, Any]:
        """Give the events the timeline that they lie on."""
        context: dict[str, Any] = super().get_serializer_context()
        return {**context, "recording": Recording.of(self._session())}

    def create(self, request: Request, session_id: str) -> Response:
        """Add an event: at a sample of the session's timeline, at a moment, or now."""
        session = self._session()
        asked = NewEventSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        event = recordings.add_event(session=session, **asked.validated_data)
        return Response(self.get_serializer(event).data, status=status.HTTP_201_CREATED)

    def _session(self) -> Session:
        return get_session(self.request.user, self.kwargs["session_id"])


# --- Samples -------------------------------------------------------------------------------------


class NpyRenderer(BaseRenderer):
    """Names the form; `SessionDataView` writes it."""

    media_type = arrays.NPY
    format = "npy"


class ArrowRenderer(BaseRenderer):
    """Names the form; `SessionDataView` writes it."""

    media_type = arrays.ARROW
    format = "arrow"


class SessionDataView(ApiView):
    """Read samples back: JSON, .npy or Arrow IPC, by ``Accept`` or ``?output=``.

    Microvolts, as they were stored. In JSON and Arrow a missing sample is null, in .npy NaN.
    JSON gives up to a million values and then ``next``; the binary forms give everything.
    """

    required_scopes = {"GET": Scope.SESSIONS_READ}
    renderer_classes = (OrjsonRenderer, NpyRenderer, ArrowRenderer)
    operations = {
        "GET": Operation(
            query=StretchSerializer,
            gives={"application/json": shapes.Samples, arrays.NPY: bytes, arrays.ARROW: bytes},
            raises=(SessionStateError,),
            headers={
                "Content-Disposition": "A file's name, for the binary forms.",
                "X-First-Sample": "Where the samples begin, for the binary forms.",
                "X-Sample-Rate": "Hz, for the binary forms.",
            },
        )
    }

    def get(self, request: Request, session_id: str) -> HttpResponseBase:
        """Return samples of a session."""
        session = get_session(request.user, session_id)
        asked = StretchSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        stretch = find_stretch(session=session, **asked.arguments)
        # What is stored does not change, so that no sample has to be read to know the tag.
        self.offer(f'"{etags.digest_of(session.public_id, stretch.state(), self.circumstances())}"')
        form = request.accepted_renderer.format
        if request.method == "GET":
            note_export(stretch, session=session, form=form)
        write = {"json": as_json, "npy": as_npy, "arrow": as_arrow}[form]
        return write(request, session, stretch)


def as_json(request: Request, session: Session, asked: Stretch) -> Response:
    """Answer with JSON: the beginning of a stretch, and where the rest is."""
    stretch = asked.head(MAX_JSON_VALUES)
    reading = stretch.read()
    return Response(
        {
            **stretch_on_the_wire(session, stretch),
            "layout": arrays.Layout.CHANNELS_FIRST,
            "eeg": reading.data,
            "aux": reading.aux if stretch.aux_names else None,
            "next": next_url(request, asked, stretch),
        }
    )


def next_url(request: Request, asked: Stretch, answered: Stretch) -> str | None:
    """Return where the rest of a stretch is, or None if that was all."""
    if answered.stop == asked.stop:
        return None
    url = request.build_absolute_uri()
    for name in ("start_time", "stop_time", "tmin", "tmax"):
        url = remove_query_param(url, name)
    url = replace_query_param(url, "stop", asked.stop)
    return str(replace_query_param(url, "start", answered.stop))


def as_npy(request: Request, session: Session, stretch: Stretch) -> HttpResponseBase:
    """Answer with a .npy file: float32, (n_rows, n_times), NaN where samples are missing."""
    parts = arrays.to_npy(
        stretch.read_in_pieces(PIECE_VALUES), shape=(stretch.n_rows, stretch.n_times)
    )
    return streamed(request, parts, NpyRenderer, session, stretch)


def as_arrow(request: Request, session: Session, stretch: Stretch) -> HttpResponseBase:
    """Answer with an Arrow IPC stream, a column a channel; the facts are the schema's metadata."""
    facts = stretch_on_the_wire(session, stretch)
    metadata = {
        name: value if isinstance(value, str) else dumps(value).decode()
        for name, value in facts.items()
    }
    parts = arrays.to_arrow(
        stretch.read_in_pieces(PIECE_VALUES),
        names=[*stretch.ch_names, *stretch.aux_names],
        metadata={**metadata, "sfreq": metadata["sample_rate"]},
    )
    return streamed(request, parts, ArrowRenderer, session, stretch)


def streamed(
    request: Request,
    parts: Iterator[bytes],
    form: type[BaseRenderer],
    session: Session,
    stretch: Stretch,
) -> HttpResponseBase:
    """Send parts as they are made, under WSGI and under ASGI."""
    is_asgi = isinstance(request._request, ASGIRequest)
    return StreamingHttpResponse(
        in_order(parts) if is_asgi else parts,
        content_type=form.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{session.public_id}.{form.format}"',
            "X-First-Sample": str(stretch.start),
            "X-Sample-Rate": f"{stretch.recording.sfreq:.12g}",
        },
    )


async def in_order(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Make parts in the thread where the database connection of the request is.

    Given a plain iterator, Django's ASGI handler would collect it all before it sends anything.
    """
    make = sync_to_async(next, thread_sensitive=True)
    while (part := await make(parts, None)) is not None:
        yield part
