"""Whatever goes wrong, on whatever path: one envelope, the right status, no trace."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import AsyncClient, Client

from neurascale.core import wire

pytestmark = pytest.mark.urls("tests.core.urls")

STATUS_AND_CODE = {
    "bug": (500, "INTERNAL_ERROR"),
    "hardware": (503, "DEVICE_UNAVAILABLE"),
    "conflict": (409, "CONFLICT"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "invalid": (400, "VALIDATION_ERROR"),
    "missing": (404, "NOT_FOUND"),
    "unsupported": (501, "NOT_SUPPORTED"),
    "large": (413, "PAYLOAD_TOO_LARGE"),
    "often": (429, "RATE_LIMIT_EXCEEDED"),
    "throttled": (429, "RATE_LIMIT_EXCEEDED"),
    "unknown": (404, "NOT_FOUND"),
    "denied": (403, "PERMISSION_DENIED"),
    "suspicious": (400, "BAD_REQUEST"),
}


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture(params=[False, True], ids=["production", "DEBUG"])
def debug(request: pytest.FixtureRequest, settings: Any) -> bool:
    settings.DEBUG = request.param
    return bool(request.param)


def error_in(response: HttpResponse) -> dict[str, Any]:
    """Return the error of a response after checking that it is the envelope and nothing else."""
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details", "request_id"}
    assert body["error"]["message"]
    assert body["error"]["request_id"] == response["X-Request-ID"]
    return body["error"]


@pytest.mark.parametrize("kind", ["rest", "plain"])
@pytest.mark.parametrize("name", STATUS_AND_CODE)
def test_every_error_has_its_status_and_the_envelope(client, kind, name):
    response = client.get(f"/{kind}/{name}")
    error = error_in(response)
    assert (response.status_code, error["code"]) == STATUS_AND_CODE[name]


@pytest.mark.parametrize("kind", ["rest", "plain"])
def test_a_bug_shows_nothing_of_itself_to_the_caller_and_all_to_the_log(
    client, debug, kind, caplog
):
    with caplog.at_level(logging.ERROR, logger="django.request"):
        response = client.get(f"/{kind}/bug")
    for told in (b"secret", b"ZeroDivision", b"Traceback", b"urls.py"):
        assert told not in response.content
    assert "ZeroDivisionError: a secret of ours" in caplog.text


async def test_errors_in_the_asynchronous_stack_are_the_same(debug):
    client = AsyncClient(raise_request_exception=False)
    for name in ("bug", "hardware", "unknown"):
        response = await client.get(f"/plain/{name}")
        assert (response.status_code, error_in(response)["code"]) == STATUS_AND_CODE[name]


def test_an_unknown_url_is_not_found(client, debug):
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    error = error_in(response)
    assert error["code"] == "NOT_FOUND"
    assert error["message"] == "There is nothing at GET /v1/nothing"


def test_a_slash_too_many_is_named(client, debug):
    assert "slash" in error_in(client.get("/v1/devices/"))["details"]["suggestion"]


def test_a_wrong_method_says_which_are_right(client, debug):
    response = client.put("/v1/auth/token")
    assert response.status_code == 405
    assert "POST" in response["Allow"]
    details = error_in(response)["details"]
    assert details["allowed"] == ["POST", "OPTIONS"]
    assert details["suggestion"] == "Use POST or OPTIONS."


def test_a_wrong_method_on_a_plain_view_keeps_its_allow_header(client, debug):
    response = client.post("/get")
    assert error_in(response)["code"] == "METHOD_NOT_ALLOWED"
    assert response.status_code == 405
    assert response["Allow"] == "GET"
    assert error_in(response)["details"] == {"allowed": ["GET"], "suggestion": "Use GET."}


def test_a_wrong_media_type_says_which_are_right(client, debug):
    response = client.post("/echo", b"<x/>", content_type="text/xml")
    assert response.status_code == 415
    assert error_in(response)["code"] == "UNSUPPORTED_MEDIA_TYPE"
    details = error_in(response)["details"]
    assert details["supported"] == ["application/json"]
    assert "application/json" in details["suggestion"]


def test_forms_are_for_the_token_endpoint_only(client, debug):
    assert client.post("/echo", {"a": "b"}).status_code == 415
    form = "application/x-www-form-urlencoded"
    assert client.post("/echo", b"a=b", content_type=form).status_code == 415


def test_a_media_type_that_nobody_writes_is_not_acceptable(client, debug):
    response = client.get("/rest/missing", headers={"Accept": "text/html"})
    assert response.status_code == 406
    details = error_in(response)["details"]
    assert details["available"] == ["application/json"]
    assert "application/json" in details["suggestion"]


def test_a_missing_csrf_token_is_told_in_the_envelope(debug):
    client = Client(enforce_csrf_checks=True)
    response = client.post("/form")
    assert response.status_code == 403
    assert error_in(response)["code"] == "PERMISSION_DENIED"


def test_a_forged_host_is_told_in_the_envelope(client, debug):
    response = client.get("/v1/nothing", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert error_in(response)["code"] == "BAD_REQUEST"


def test_the_portal_keeps_its_pages(client, debug):
    response = client.get("/admin/broken")
    assert response.status_code == 500
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_a_page_that_the_portal_does_not_have_is_a_page(client, admin_client):
    response = admin_client.get("/admin/nothing/")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_retry_after_is_a_header_too(client):
    assert client.get("/rest/often")["Retry-After"] == "7"
    assert client.get("/plain/often")["Retry-After"] == "7"
    assert client.get("/rest/throttled")["Retry-After"] == "7"


def test_a_validation_error_has_fields_even_where_none_is_to_blame(client):
    assert error_in(client.get("/rest/invalid"))["details"] == {"fields": {}}


# --- Request ids ---------------------------------------------------------------------------------


def test_every_response_names_its_request(client):
    first, second = client.get("/get"), client.get("/get")
    assert first["X-Request-ID"].startswith("req_")
    assert first["X-Request-ID"] != second["X-Request-ID"]


def test_a_sane_request_id_of_the_caller_is_kept(client):
    asked = {"X-Request-ID": "trial-0042.run_7"}
    assert client.get("/get", headers=asked)["X-Request-ID"] == "trial-0042.run_7"
    assert error_in(client.get("/none", headers=asked))["request_id"] == "trial-0042.run_7"


@pytest.mark.parametrize("asked", ["", "short", "x" * 65, "a b c d e f", "<script>alert(1)"])
def test_any_other_request_id_is_replaced(client, asked):
    assert client.get("/get", headers={"X-Request-ID": asked})["X-Request-ID"].startswith("req_")


@pytest.mark.parametrize(
    "url", ["/v1/devices?search=%00", "/v1/devices/%00", "/v1/studies?name=a%00"]
)
def test_a_nul_in_the_url_is_refused_before_a_database_chokes_on_it(client, url):
    response = client.get(url)
    assert response.status_code == 400
    assert "NUL" in error_in(response)["message"]


# --- JSON ----------------------------------------------------------------------------------------


def post(client: Client, body: bytes) -> HttpResponse:
    return client.post("/echo", body, content_type="application/json")


def test_json_comes_and_goes(client):
    body = '{"µV": [1, 2.5, null, "Ω"]}'.encode()
    assert post(client, body).json() == {"sent": {"µV": [1, 2.5, None, "Ω"]}}


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b'{"a": [1, 2,}', 12),
        (b'{"a": NaN}', 6),
        (b"[Infinity]", 1),
        (b"[-Infinity]", 2),
        (b"[1e999]", 1),
        (b'"\xff"', 0),
        ("{}".encode("utf-16"), 0),
        (b'{"a": "\\ud800"}', 7),
        (b"[" * 5000, 1025),
        (b'["\\u0000"]', 2),
    ],
)
def test_what_is_no_json_is_refused_with_its_position(body, position):
    with pytest.raises(wire.MalformedJSONError) as raised:
        wire.loads(body)
    assert raised.value.details["position"] == position


def test_malformed_json_is_answered_with_its_position(client, debug):
    response = post(client, b'{"a": NaN}')
    assert response.status_code == 400
    error = error_in(response)
    assert error["code"] == "MALFORMED_JSON"
    assert error["details"]["position"] == 6
    assert error["details"]["line"] == 1


def test_a_backslash_before_u0000_is_no_nul(client):
    assert post(client, b'["\\\\u0000"]').json() == {"sent": ["\\u0000"]}


def test_a_body_beyond_the_views_limit_is_refused_with_the_limit(client):
    assert post(client, b'"' + b"x" * 998 + b'"').status_code == 200
    response = post(client, b'"' + b"x" * 999 + b'"')
    assert response.status_code == 413
    assert error_in(response)["details"]["limit_bytes"] == 1000


def test_numbers_that_json_has_not_become_null():
    assert wire.dumps([float("nan"), float("inf"), 1.5]) == b"[null,null,1.5]"
    array = np.array([[1, np.nan], [-np.inf, 2]], dtype=np.float32)
    assert wire.dumps({"eeg": array}) == b'{"eeg":[[1.0,null],[null,2.0]]}'


def test_arrays_are_written_however_they_lie_in_memory():
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert wire.dumps(data.T) == wire.dumps(data.T.tolist())
    assert wire.dumps({3: {2, 1}}) == b'{"3":[1,2]}'


def test_whole_numbers_beyond_64_bits_are_written_as_floats():
    written = wire.dumps({"a": [10**300, -(10**30), 2**64 - 1, -(2**63), True], "b": (1, "µV")})
    assert written == (
        '{"a":[1e+300,-1e+30,18446744073709551615,-9223372036854775808,true],"b":[1,"µV"]}'.encode()
    )


def test_what_has_no_json_form_is_a_bug():
    with pytest.raises(TypeError):
        wire.dumps(object())


def test_details_keep_what_the_error_says(client):
    error = error_in(client.get("/rest/hardware"))
    assert error["message"] == "The board is silent"
    assert error["details"] == {"port": "/dev/ttyUSB0"}
