"""Oversized everything: a clear answer that names the limit."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from neurascale.core import guards, wire
from neurascale.core.errors import InvalidError
from neurascale.core.wire_limits import MAX_DEPTH, MAX_FIELDS
from tests.core.test_api import error_in

pytestmark = pytest.mark.urls("tests.core.urls")


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def nested(depth: int, *, inner: str = "1") -> bytes:
    return ("[" * depth + inner + "]" * depth).encode()


def post(client: Client, body: bytes):
    return client.post("/echo", body, content_type="application/json")


def test_a_url_beyond_the_limit_is_refused_with_the_limit(client):
    fits = "/get?a=" + "x" * (guards.MAX_URL_BYTES - len("/geta="))
    assert client.get(fits).status_code == 200
    response = client.get(fits + "x")
    assert response.status_code == 414
    error = error_in(response)
    assert (error["code"], error["details"]["limit_bytes"]) == ("URI_TOO_LONG", 8192)


def test_parameters_beyond_the_limit_are_refused_with_the_limit(client):
    assert client.get("/get?" + "&".join(f"a{n}=" for n in range(100))).status_code == 200
    response = client.get("/get?" + "&".join(f"a{n}=" for n in range(101)))
    assert response.status_code == 400
    assert error_in(response)["details"]["limit_parameters"] == 100


@pytest.mark.parametrize(
    "headers", [{f"X-{n}": "" for n in range(150)}, {"Cookie": "x" * 13_000}], ids=["many", "long"]
)
def test_headers_beyond_the_limits_are_refused_with_the_limits(client, headers):
    response = client.get("/get", headers=headers)
    assert response.status_code == 431
    error = error_in(response)
    assert error["code"] == "REQUEST_HEADER_FIELDS_TOO_LARGE"
    assert error["details"]["limit_headers"] == guards.MAX_HEADERS
    assert error["details"]["limit_bytes"] == guards.MAX_HEADER_BYTES


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 400])
def test_json_that_nests_too_deep_is_refused_with_the_limit(client, depth):
    assert post(client, nested(MAX_DEPTH)).status_code == 200
    response = post(client, nested(depth))
    assert response.status_code == 400
    assert error_in(response)["details"]["limit_depth"] == MAX_DEPTH


@pytest.mark.parametrize("depth", [1000, 1024, 100_000])
def test_no_depth_breaks_the_parser(depth):
    for body in (nested(depth), nested(depth, inner='"\\u0000"')):
        with pytest.raises(InvalidError):
            wire.loads(body)


def test_an_object_with_too_many_fields_is_refused_with_the_limit():
    wide = {str(n): n for n in range(MAX_FIELDS)}
    assert wire.loads(json.dumps(wide).encode()) == wide
    with pytest.raises(InvalidError) as raised:
        wire.loads(json.dumps([{**wide, "one": "more"}]).encode())
    assert raised.value.details["limit_fields"] == MAX_FIELDS


@pytest.mark.parametrize(
    "number", ["18446744073709551615", "-9223372036854775808", "1e300", "1e20"]
)
def test_numbers_that_fit_are_kept_exactly(number):
    assert wire.loads(f'{{"a": [{number}]}}'.encode()) == {"a": [json.loads(number)]}


@pytest.mark.parametrize(
    "number", ["18446744073709551616", "-9223372036854775809", "1" * 100, "9" * 300]
)
def test_an_integer_beyond_64_bit_is_refused_and_not_made_another_number(number):
    with pytest.raises(InvalidError) as raised:
        wire.loads(f'{{"a": [1.5, {number}]}}'.encode())
    assert raised.value.details["limit_bits"] == 64
