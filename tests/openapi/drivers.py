"""How to bring about each answer that the document declares.

What every operation has in common is in `ALIKE`, by code; the rest in `GOOD` and `BAD`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import numpy as np
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection
from django.http import HttpResponse
from django.test import Client as HttpClient
from django.test import override_settings
from django.utils import timezone
from rest_framework.views import APIView

from ingest.arrays import ARROW, NPY
from ingest.models import Stream
from neurascale.celery import app
from neurascale.core import idempotency
from neurascale.core.graphql.views import GraphQLRenderer
from neurascale.core.guards import MAX_HEADER_BYTES, MAX_URL_BYTES
from neurascale.core.limits import Bucket, RateLimitExceededError, charge, rate_of
from neurascale.core.models import KeptAnswer
from sessions_app.models import Session, Study
from tests.ingest.factories import make_device, make_stream
from tests.lab.board import Board
from tests.openapi import fuzz
from tests.openapi.described import operations
from tests.openapi.room import START, Room

Driver = Callable[[Room], HttpResponse]

CONFLICT = {"channels": [2]}
QUERY = {"query": "{ devices { nodes { deviceId } } }"}
GRAPHQL = GraphQLRenderer.media_type
FORM = "application/x-www-form-urlencoded"


def board(room: Room) -> None:
    """Plug a virtual board into the device's port."""
    link = room.folder / "board"
    plugged = Board(link, room.folder / "truth")
    room.stack.callback(plugged.stop)
    room.device.port = str(link)
    room.device.save()


@contextmanager
def meanwhile(where: str, act: Callable[[], Any]) -> Iterator[None]:
    """Do something once, just after a statement with these words, as another process might."""
    waiting = [act]

    def run(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if waiting and where in sql:
            waiting.pop()()
        return result

    with connection.execute_wrapper(run):
        yield


def overtaken(name: str, status: str = "created") -> Driver:
    """Ask while somebody else starts a stream with other settings, just after we looked."""

    def drive(room: Room) -> HttpResponse:
        room.session = room.make_session(status=status)
        with meanwhile('FROM "ingest_stream"', lambda: make_stream(room.device, picks=[7])):
            return room.ask(name)

    return drive


def just_missed(name: str, status: str = "created") -> Driver:
    """Ask while somebody else's stream is just being stopped: it is in the way, and then gone."""

    def refuse() -> None:
        raise IntegrityError("another stream of the device is wanted")

    def drive(room: Room) -> HttpResponse:
        room.session = room.make_session(status=status)
        with meanwhile('INSERT INTO "ingest_stream"', refuse):
            return room.ask(name)

    return drive


def after(prepare: Callable[[Room], Any], name: str, body: Any = None, **how: Any) -> Driver:
    """Ask after something was done."""

    def drive(room: Room) -> HttpResponse:
        prepare(room)
        return room.ask(name, body(room) if callable(body) else body, **how)

    return drive


def asked(name: str, body: Any = None, **how: Any) -> Driver:
    return after(lambda room: None, name, body, **how)


def session_is(status: str) -> Callable[[Room], None]:
    def prepare(room: Room) -> None:
        room.session = room.make_session(status=status)

    return prepare


def recording(room: Room) -> None:
    """Let the session record from a stream that runs."""
    room.streaming()
    assert room.ask("sessions_start").status_code == 200


def paused(room: Room) -> None:
    recording(room)
    assert room.ask("sessions_pause").status_code == 200


def taken(room: Room) -> None:
    """Let another session record from the device."""
    room.streaming()
    room.make_session(status=Session.Status.ACTIVE)


def taken_by_another_study(room: Room) -> None:
    """Let a session record from the device that who asks may not see."""
    taken(room)
    Session.objects.filter(device=room.device, status=Session.Status.ACTIVE).update(
        study=Study.objects.create(name="another")
    )


def new_device(room: Room) -> dict[str, Any]:
    return {"name": "New", "type": "openbci", "port": "/dev/new"}


def new_session(room: Room, **more: Any) -> dict[str, Any]:
    return {"device_id": room.device.public_id, **more}


def token_request(room: Room) -> dict[str, Any]:
    return {
        "grant_type": "client_credentials",
        "client_id": room.new.client_id,
        "client_secret": room.new.client_secret,
    }


def revocation(room: Room) -> dict[str, Any]:
    return {
        "token": room.powerless,
        "client_id": room.new.client_id,
        "client_secret": room.new.client_secret,
    }


def same_port(room: Room) -> dict[str, Any]:
    return {**new_device(room), "port": make_device().port}


def new_client(room: Room) -> dict[str, Any]:
    return {"name": "new", "scopes": ["viewer"]}


def reused_key(room: Room) -> HttpResponse:
    assert room.ingest(Idempotency_Key="once").status_code == 201
    body = {**room.neural_data(), "metadata": {"other": True}}
    return room.ask("ingest_neural_data", body, Idempotency_Key="once")


def withdrawn(room: Room) -> None:
    assert room.ask("subjects_withdraw").status_code == 200


def named(body: Callable[[Room], dict[str, Any]]) -> Callable[[Room], dict[str, Any]]:
    """Name the subject in the metadata of a body."""
    return lambda room: {**body(room), "metadata": {"subject_id": room.subject.public_id}}


def recorded_now(room: Room) -> None:
    room.session.subject = room.subject
    room.session.save()
    recording(room)


def guessed(name: str, body: Callable[[Room], dict[str, Any]]) -> Driver:
    """Send wrong secrets until that is one too many."""

    def drive(room: Room) -> HttpResponse:
        wrong = {**body(room), "client_secret": "wrong"}
        for _ in range(5):
            assert room.ask(name, wrong, token=None).status_code == 401
        return room.ask(name, wrong, token=None)

    return drive


def no_port(room: Room) -> None:
    room.device.port = str(room.folder / "nothing")
    room.device.save()


def by_another_site(room: Room) -> HttpResponse:
    """Ask with the session of somebody in the portal, and without the CSRF token."""
    http = HttpClient(enforce_csrf_checks=True)
    http.force_login(get_user_model().objects.create_user("kim", is_staff=True))
    return http.post("/graphql", QUERY, content_type="application/json")


GOOD: dict[str | tuple[str, str], Driver] = {
    "graphql": asked("graphql", QUERY),
    ("graphql", GRAPHQL): asked("graphql", QUERY, Accept=GRAPHQL),
    "auth_token": lambda room: room.ask("auth_token", token_request(room), token=None),
    "auth_revoke": lambda room: room.ask("auth_revoke", revocation(room), token=None),
    "clients_create": asked("clients_create", new_client),
    "clients_partial_update": asked("clients_partial_update", {"name": "Other"}),
    "studies_create": asked("studies_create", {"name": "new"}),
    "studies_partial_update": asked("studies_partial_update", {"name": "Other"}),
    "studies_members_create": asked(
        "studies_members_create", lambda room: {"client_id": room.nobody.public_id}
    ),
    "devices_create": asked("devices_create", new_device),
    "devices_partial_update": asked("devices_partial_update", {"name": "Other"}),
    "devices_destroy": after(lambda room: room.session.delete(), "devices_destroy"),
    "devices_connect": after(board, "devices_connect"),
    "ingest_neural_data": lambda room: room.ingest(),
    "sessions_create": asked("sessions_create", new_session),
    "sessions_partial_update": asked("sessions_partial_update", {"metadata": {"a": 1}}),
    "sessions_events_create": asked("sessions_events_create", {"label": "eyes closed"}),
    "sessions_start": after(lambda room: room.streaming(), "sessions_start"),
    "sessions_pause": after(recording, "sessions_pause"),
    "sessions_resume": after(paused, "sessions_resume"),
    "sessions_stop": after(recording, "sessions_stop"),
}
BAD: dict[tuple[str, str], Driver] = {
    ("graphql", GRAPHQL): asked("graphql", {"query": "{ nothing }"}, Accept=GRAPHQL),
    ("graphql", "PERMISSION_DENIED"): by_another_site,
    ("auth_token", "INVALID_CLIENT"): asked(
        "auth_token", lambda room: {**token_request(room), "client_secret": "wrong"}
    ),
    ("auth_token", "INVALID_TOKEN"): asked(
        "auth_token", {"grant_type": "refresh_token", "refresh_token": "forged"}
    ),
    ("auth_token", "RATE_LIMIT_EXCEEDED"): guessed("auth_token", token_request),
    ("auth_revoke", "RATE_LIMIT_EXCEEDED"): guessed("auth_revoke", revocation),
    ("auth_revoke", "INVALID_CLIENT"): asked(
        "auth_revoke", lambda room: {**revocation(room), "client_secret": "wrong"}
    ),
    ("clients_create", "INVALID_STUDY_ID"): asked(
        "clients_create", lambda room: {**new_client(room), "study_id": "study_999"}
    ),
    ("studies_members_create", "INVALID_CLIENT_ID"): asked(
        "studies_members_create", {"client_id": "cli_999"}
    ),
    ("subjects_withdraw", "SUBJECT_IS_RECORDING"): after(recorded_now, "subjects_withdraw"),
    ("sessions_create", "SUBJECT_WITHDRAWN"): after(
        withdrawn,
        "sessions_create",
        lambda room: new_session(room, subject_id=room.subject.public_id),
    ),
    ("sessions_partial_update", "SUBJECT_WITHDRAWN"): after(
        withdrawn, "sessions_partial_update", named(lambda room: {})
    ),
    ("ingest_neural_data", "SUBJECT_WITHDRAWN"): after(
        withdrawn, "ingest_neural_data", named(lambda room: room.neural_data())
    ),
    ("devices_create", "DEVICE_EXISTS"): asked("devices_create", same_port),
    ("devices_partial_update", "DEVICE_EXISTS"): asked("devices_partial_update", same_port),
    ("devices_partial_update", "DEVICE_BUSY"): after(
        lambda room: room.streaming(), "devices_partial_update", {"port": "/dev/other"}
    ),
    ("devices_destroy", "DEVICE_BUSY"): after(lambda room: room.streaming(), "devices_destroy"),
    ("devices_destroy", "DEVICE_IN_USE"): asked("devices_destroy"),
    ("devices_connect", "DEVICE_UNAVAILABLE"): after(no_port, "devices_connect"),
    ("devices_stream_start", "DEVICE_UNAVAILABLE"): after(no_port, "devices_stream_start"),
    ("devices_stream_stop", "DEVICE_BUSY"): after(taken_by_another_study, "devices_stream_stop"),
    ("devices_disconnect", "DEVICE_BUSY"): after(taken_by_another_study, "devices_disconnect"),
    ("devices_stream_start", "STREAM_ALREADY_RUNNING"): after(
        lambda room: room.streaming(), "devices_stream_start", CONFLICT
    ),
    ("devices_stream_start", "DEVICE_BUSY"): just_missed("devices_stream_start"),
    ("ingest_neural_data", "INVALID_DEVICE_ID"): asked(
        "ingest_neural_data", lambda room: {**room.neural_data(), "device_id": "dev_999"}
    ),
    ("ingest_neural_data", "INVALID_SESSION_ID"): asked(
        "ingest_neural_data", lambda room: {**room.neural_data(), "session_id": "sess_999"}
    ),
    ("ingest_neural_data", "INVALID_SESSION_STATE"): after(
        session_is("completed"), "ingest_neural_data", lambda room: room.neural_data()
    ),
    ("ingest_neural_data", "DEVICE_BUSY"): after(
        taken, "ingest_neural_data", lambda room: room.neural_data()
    ),
    ("sessions_create", "INVALID_DEVICE_ID"): asked("sessions_create", {"device_id": "dev_999"}),
    ("sessions_create", "INVALID_STUDY_ID"): asked(
        "sessions_create", lambda room: new_session(room, study_id="study_999")
    ),
    ("sessions_create", "DEVICE_BUSY"): after(taken, "sessions_create", new_session),
    ("sessions_destroy", "INVALID_SESSION_STATE"): after(session_is("active"), "sessions_destroy"),
    ("sessions_data", "INVALID_SESSION_STATE"): asked("sessions_data"),
    ("sessions_pause", "INVALID_SESSION_STATE"): asked("sessions_pause"),
    ("sessions_stop", "INVALID_SESSION_STATE"): asked("sessions_stop"),
    ("sessions_start", "INVALID_SESSION_STATE"): after(session_is("completed"), "sessions_start"),
    ("sessions_resume", "INVALID_SESSION_STATE"): asked("sessions_resume"),
    ("sessions_start", "DEVICE_BUSY"): after(taken, "sessions_start"),
    ("sessions_resume", "DEVICE_BUSY"): just_missed("sessions_resume", "paused"),
    **{
        (name, code): after(
            lambda room, status=status, state=state: (
                session_is(status)(room),
                room.streaming(state=state),
            ),
            name,
        )
        for name, status in (("sessions_start", "created"), ("sessions_resume", "paused"))
        for code, state in (
            ("DEVICE_NOT_STREAMING", Stream.State.STARTING),
            ("DEVICE_NOT_CONNECTED", Stream.State.RECONNECTING),
        )
    },
    **{
        (name, "STREAM_ALREADY_RUNNING"): overtaken(name, status)
        for name, status in (("sessions_start", "created"), ("sessions_resume", "paused"))
    },
    **{
        (name, "DEVICE_UNAVAILABLE"): after(
            lambda room, status=status: (session_is(status)(room), no_port(room)), name
        )
        for name, status in (("sessions_start", "created"), ("sessions_resume", "paused"))
    },
}


def nobody_works(room: Room) -> HttpResponse:
    app.conf.update(task_always_eager=False)
    return room.ask("devices_discover")


def a_bug(room: Room, name: str) -> HttpResponse:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret of ours")

    ids = room.ids_of(name)
    with room.monkeypatch.context() as patch:
        patch.setattr(APIView, "initial", broken)
        return room.ask(name, **ids)


def after_the_last_one(room: Room, name: str) -> HttpResponse:
    """Ask when all requests of a window were made."""
    ids = room.ids_of(name)
    with override_settings(RATE_LIMITS=dict.fromkeys(Bucket, "2/hour")):
        for bucket in Bucket:
            with suppress(RateLimitExceededError):
                for _ in range(rate_of(bucket).amount):
                    charge(room.new.client, bucket)
        return room.ask(name, **ids)


def key_of_another(room: Room, name: str) -> HttpResponse:
    """Ask with a key that another request was sent with."""
    if name == "ingest_neural_data":
        return reused_key(room)
    ids = room.ids_of(name)
    KeptAnswer.objects.create(
        principal=room.new.client_id,
        key="once",
        request_hash="of another request",
        holder="another",
        lease_until=timezone.now(),
        status=200,
    )
    return room.ask(name, Idempotency_Key="once", **ids)


def while_its_twin_is_at_work(room: Room, name: str) -> HttpResponse:
    """Ask with a key that another process has taken for the same request, just before."""

    def take() -> None:
        KeptAnswer.objects.update(holder="the twin")

    with room.monkeypatch.context() as patch, meanwhile('INTO "core_keptanswer"', take):
        patch.setattr(idempotency, "PATIENCE_SECONDS", 0.0)
        return room.ask(name, Idempotency_Key="a twin's")


BAD["devices_discover", "DEVICE_UNAVAILABLE"] = nobody_works
ALIKE: dict[str, Callable[[Room, str], HttpResponse]] = {
    "VALIDATION_ERROR": lambda room, name: room.ask(name, query={"a": "\0"}),
    "BAD_REQUEST": lambda room, name: room.ask(name, Host="evil.example"),
    "MALFORMED_JSON": lambda room, name: room.ask(name, b'{"a": NaN}'),
    "NOT_AUTHENTICATED": lambda room, name: room.ask(name, token=None),
    "INVALID_TOKEN": lambda room, name: room.ask(name, token="forged"),
    "PERMISSION_DENIED": lambda room, name: room.ask(name, token=room.powerless),
    "NOT_FOUND": lambda room, name: room.ask(
        name, **dict.fromkeys(operations()[name].variables, "a/b")
    ),
    "URI_TOO_LONG": lambda room, name: room.ask(name, query={"a": "x" * MAX_URL_BYTES}),
    "REQUEST_HEADER_FIELDS_TOO_LARGE": lambda room, name: room.ask(
        name, X_Long="x" * MAX_HEADER_BYTES
    ),
    "RATE_LIMIT_EXCEEDED": after_the_last_one,
    "PRECONDITION_FAILED": lambda room, name: room.ask(name, If_Match='"as it was"'),
    "IDEMPOTENCY_CONFLICT": key_of_another,
    "IDEMPOTENCY_IN_PROGRESS": while_its_twin_is_at_work,
    "MALFORMED_GZIP": lambda room, name: room.ask(name, b"no gzip", Content_Encoding="gzip"),
    "LENGTH_REQUIRED": lambda room, name: room.ask(
        name, Transfer_Encoding="chunked", Content_Type="application/json"
    ),
    "NOT_ACCEPTABLE": lambda room, name: room.ask(name, Accept="application/x-nothing"),
    "PAYLOAD_TOO_LARGE": lambda room, name: room.ask(name, b'"' + b"x" * 300_000 + b'"'),
    "UNSUPPORTED_MEDIA_TYPE": lambda room, name: room.ask(name, b"a", kind="text/plain"),
    "INTERNAL_ERROR": a_bug,
}


def in_query(room: Room) -> dict[str, Any]:
    return {
        "device_id": room.device.public_id,
        "session_id": room.session.public_id,
        "timestamp": START,
        "sample_rate": 250,
        "channels": 8,
    }


FORMS = {"auth_token": token_request, "auth_revoke": revocation}
TAKEN: dict[str, Callable[[Room, str], HttpResponse]] = {
    FORM: lambda room, name: room.ask(
        name, urlencode(FORMS[name](room)).encode(), kind=FORM, token=None
    ),
    NPY: lambda room, _: room.ask(
        "ingest_neural_data", fuzz.npy(np.zeros((8, 5))), kind=NPY, query=in_query(room)
    ),
    ARROW: lambda room, _: room.ask(
        "ingest_neural_data", fuzz.arrow(np.zeros((8, 5))), kind=ARROW, query=in_query(room)
    ),
}
