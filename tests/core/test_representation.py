"""Tags, 304, 412, gzip and caches over HTTP, on the resources that every lab has."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from devices import serializers
from devices.models import Device
from neurascale.core.views.resources import CarefulMixin
from sessions_app.services import create_client
from tests.ingest.factories import make_device
from tests.ingest.rest import Program, error_of
from tests.routes import paths

pytestmark = pytest.mark.django_db

VIEWS_OF_OTHERS: set[str] = set()  # paths that a library's own view answers


@pytest.fixture
def program() -> Program:
    return Program("operator")


def get(program: Program, path: str, **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return program.http.get(f"/v1/{path}", headers=named)


def patch(program: Program, path: str, body: dict[str, Any], **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return program.http.patch(f"/v1/{path}", body, content_type="application/json", headers=named)


def at_once(acts: list[Callable[[], HttpResponse]]) -> list[HttpResponse]:
    """Do things in threads that begin together, and return their answers."""
    answers: list[Any] = [None] * len(acts)
    ready = threading.Barrier(len(acts))

    def run(place: int) -> None:
        ready.wait(30)
        try:
            answers[place] = acts[place]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


# --- By construction -----------------------------------------------------------------------------


def test_every_route_of_the_api_is_served_with_the_same_care():
    careless = {
        str(route)
        for route in paths()
        if not (isinstance(route.view, type) and issubclass(route.view, CarefulMixin))
    }
    assert careless == VIEWS_OF_OTHERS


def test_whatever_can_be_changed_can_be_changed_with_if_match():
    for route in paths():
        for method in route.methods & {"PUT", "PATCH", "DELETE"}:
            view = route.instance(method)
            assert view.action in view.together, route
            assert type(view).tag_now is not CarefulMixin.tag_now, route


# --- Tags ----------------------------------------------------------------------------------------


def things(program: Program) -> dict[str, str]:
    device = make_device()
    session = program.make_session(device)
    return {
        "device": f"devices/{device.public_id}",
        "devices": "devices",
        "filtered": "devices?status=disconnected",
        "status": f"devices/{device.public_id}/status",
        "session": f"sessions/{session.public_id}",
        "sessions": "sessions",
        "events": f"sessions/{session.public_id}/events",
        "study": f"studies/{program.study.public_id}",
        "studies": "studies",
    }


def test_every_thing_and_every_list_has_a_strong_tag_and_gives_304(program):
    for name, path in things(program).items():
        first = get(program, path)
        assert first.status_code == 200, name
        tag = first["ETag"]
        assert tag.startswith('"'), name
        again = get(program, path, If_None_Match=f'"other", W/{tag}')
        assert (again.status_code, again.content) == (304, b""), name
        assert again["ETag"] == tag
        assert "Content-Type" not in again
        assert "Content-Length" not in again
        assert again["X-Request-ID"]
        for response in (first, again):
            assert response["Cache-Control"] == "private, no-cache"
            vary = {part.strip() for part in response["Vary"].lower().split(",")}
            assert {"authorization", "cookie", "accept-encoding"} <= vary
        assert get(program, path, If_None_Match="*").status_code == 304
        assert get(program, path, If_None_Match='"other"').status_code == 200


def test_what_has_not_changed_is_not_even_written(program, monkeypatch):
    paths = things(program)
    tags = {name: get(program, paths[name])["ETag"] for name in ("device", "devices")}

    def break_down(*_: Any) -> None:
        raise AssertionError("the body was made")

    monkeypatch.setattr(serializers.DeviceSerializer, "to_representation", break_down)
    for name, tag in tags.items():
        assert get(program, paths[name], If_None_Match=tag).status_code == 304


def alike(answer):
    """Return the headers that are the same for the same question."""
    counted = {"X-Request-ID", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
    return {name: value for name, value in answer.items() if name not in counted}


def test_head_is_get_without_the_body(program):
    for name, path in things(program).items():
        for encoding in ("identity", "gzip"):
            whole = get(program, path, Accept_Encoding=encoding)
            head = program.http.head(f"/v1/{path}", headers={"Accept-Encoding": encoding})
            assert head.status_code == 200, name
            assert head.content == b""
            if name != "status":  # that says for how long it has been so
                assert alike(head) == alike(whole), name


def test_any_change_of_a_row_changes_its_tag_and_that_of_the_list(program):
    device = make_device()
    path = f"devices/{device.public_id}"
    seen = {get(program, path)["ETag"], get(program, "devices")["ETag"]}
    for change in (
        {"name": "Left"},
        {"status": "error"},
        {"error": {"code": "A"}},
        {"board_info": {"firmware": "v3"}},
        {"settings": {"gains": [8] * 8}},
    ):
        Device.objects.update(**change)  # past every save()
        fresh = {get(program, path)["ETag"], get(program, "devices")["ETag"]}
        assert len(fresh) == 2
        assert not fresh & seen
        seen |= fresh


def test_different_answers_share_no_tag(program):
    for place in range(3):
        make_device(name=f"Cyton {place}")
    other = Program("admin")
    first = get(program, "devices?limit=1").json()["pagination"]["next"]
    queries = [
        "",
        "?limit=1",
        "?limit=2",
        "?ordering=-name",
        "?search=cyton",
        first.split("v1/devices")[1],
    ]
    tags = [get(program, f"devices{query}")["ETag"] for query in queries]
    tags.append(get(other, "devices")["ETag"])
    assert len(set(tags)) == len(tags)


def test_an_empty_list_of_one_is_not_the_empty_list_of_another(program):
    tag = get(program, "sessions")["ETag"]
    other = Program("operator")
    assert get(other, "sessions", If_None_Match=tag).status_code == 200


# --- Lost updates --------------------------------------------------------------------------------


def test_the_tag_of_a_change_is_that_of_the_next_look(program):
    made = program.post("devices", {"name": "Cyton", "type": "openbci", "port": "/dev/a"})
    assert made.status_code == 201
    path = made["Location"].removeprefix("/v1/")
    assert path == f"devices/{made.json()['device_id']}"
    assert get(program, path)["ETag"] == made["ETag"]
    changed = patch(program, path, {"settings": {"gains": [8.0] * 8}}, If_Match=made["ETag"])
    assert changed.status_code == 200
    assert changed["ETag"] != made["ETag"]
    assert get(program, path)["ETag"] == changed["ETag"]
    assert get(program, path).json() == changed.json()


def test_the_tag_of_a_session_too(program):
    device = make_device()
    made = program.post("sessions", {"device_id": device.public_id, "metadata": {"b": 1, "a": 1.5}})
    path = made["Location"].removeprefix("/v1/")
    assert get(program, path)["ETag"] == made["ETag"]
    changed = patch(program, path, {"duration_minutes": 30}, If_Match=made["ETag"])
    assert get(program, path)["ETag"] == changed["ETag"]


def test_a_change_of_what_was_changed_meanwhile_is_refused(program):
    device = make_device()
    path = f"devices/{device.public_id}"
    tag = get(program, path)["ETag"]
    assert patch(program, path, {"name": "Left"}, If_Match=tag).status_code == 200
    error = error_of(
        patch(program, path, {"name": "Right"}, If_Match=tag), 412, "PRECONDITION_FAILED"
    )
    assert error["details"]["etag"] == get(program, path)["ETag"]
    assert "suggestion" in error["details"]
    assert get(program, path).json()["name"] == "Left"
    gone = program.http.delete(f"/v1/{path}", headers={"If-Match": tag})
    error_of(gone, 412, "PRECONDITION_FAILED")
    fresh = get(program, path)["ETag"]
    assert program.http.delete(f"/v1/{path}", headers={"If-Match": fresh}).status_code == 204


def test_a_tag_that_came_with_gzip_is_good_for_a_change(program):
    device = make_device(board_info={"firmware": "x" * 5000})
    path = f"devices/{device.public_id}"
    tag = get(program, path, Accept_Encoding="gzip")["ETag"]
    assert tag.endswith('-gzip"')
    assert patch(program, path, {"name": "Left"}, If_Match=tag).status_code == 200


def test_if_match_of_anything_and_of_nothing(program):
    path = f"devices/{make_device().public_id}"
    assert patch(program, path, {"name": "Left"}, If_Match="*").status_code == 200
    tag = get(program, path)["ETag"]
    for bad in ("", '"other"', f"W/{tag}", tag.strip('"')):
        response = patch(program, path, {"name": "Right"}, If_Match=bad)
        error_of(response, 412, "PRECONDITION_FAILED")
    response = patch(program, path, {"name": "Right"}, If_None_Match="*")
    error_of(response, 412, "PRECONDITION_FAILED")
    unknown = patch(program, "devices/dev_999", {"name": "Right"}, If_Match="*")
    error_of(unknown, 404, "INVALID_DEVICE_ID")


@pytest.mark.django_db(transaction=True)
def test_of_two_changes_at_once_with_one_tag_exactly_one_wins(program):
    device = make_device()
    path = f"devices/{device.public_id}"
    for round_ in range(4):
        tag = get(program, path)["ETag"]
        answers = at_once(
            [
                partial(patch, program, path, {"name": name}, If_Match=tag)
                for name in (f"Left {round_}", f"Right {round_}", f"Middle {round_}")
            ]
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
        (won,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert get(program, path).json()["name"] == won["name"]


# --- gzip ----------------------------------------------------------------------------------------


def test_large_answers_are_compressed_for_those_who_like_it(program):
    for place in range(20):
        make_device(name=f"Cyton {place}")
    plain = get(program, "devices")
    assert "Content-Encoding" not in plain
    packed = get(program, "devices", Accept_Encoding="br, gzip;q=0.8")
    assert packed["Content-Encoding"] == "gzip"
    assert int(packed["Content-Length"]) == len(packed.content) < len(plain.content) / 3
    assert gzip.decompress(packed.content) == plain.content
    assert packed["ETag"] == f'{plain["ETag"][:-1]}-gzip"'
    assert "Content-Encoding" not in get(program, "devices", Accept_Encoding="gzip;q=0")


def test_a_tag_of_one_encoding_is_no_tag_of_another(program):
    for place in range(20):
        make_device(name=f"Cyton {place}")
    tag = get(program, "devices", Accept_Encoding="gzip")["ETag"]
    again = get(program, "devices", Accept_Encoding="gzip", If_None_Match=tag)
    assert (again.status_code, again["ETag"]) == (304, tag)
    whole = get(program, "devices", If_None_Match=tag)  # takes no gzip now
    assert (whole.status_code, whole["ETag"] != tag) == (200, True)


def test_small_answers_and_secrets_are_not_compressed(program):
    path = f"devices/{make_device().public_id}"
    assert "Content-Encoding" not in get(program, path, Accept_Encoding="gzip")
    new = create_client(name="x", scopes=["all"])
    body = {"api_key": new.api_key, "grant_type": "client_credentials"}
    token = program.post("auth/token", body, Accept_Encoding="gzip")
    assert token.status_code == 200
    assert len(token.content) > 1024
    assert "Content-Encoding" not in token
    assert "ETag" not in token
    assert token["Cache-Control"] == "no-store"


def test_a_request_may_be_compressed(program):
    body = gzip.compress(b'{"name": "Cyton", "type": "openbci", ')
    body += gzip.compress(b'"port": "/dev/a"}')
    assert program.post("devices", body, Content_Encoding="gzip").status_code == 201


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "compress"])
def test_another_encoding_is_refused_with_those_that_are_read(program, encoding):
    response = program.post("devices", b"{}", Content_Encoding=encoding)
    error = error_of(response, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert error["details"]["supported"] == ["gzip", "identity"]


def test_a_damaged_body_is_refused(program):
    response = program.post("devices", b"no gzip", Content_Encoding="gzip")
    error_of(response, 400, "MALFORMED_GZIP")


def test_a_body_that_grows_too_large_is_refused_with_the_limit(program, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    response = program.post("devices", gzip.compress(b" " * 1001), Content_Encoding="gzip")
    error = error_of(response, 413, "PAYLOAD_TOO_LARGE")
    assert error["details"]["limit_bytes"] == 1000


def test_nobody_inflates_for_a_stranger():
    body = gzip.compress(b" " * 10**7)
    response = Client().post(
        "/v1/devices", body, content_type="application/json", headers={"Content-Encoding": "gzip"}
    )
    error_of(response, 401, "NOT_AUTHENTICATED")
