"""Which form an answer has: by the qualities of `Accept`, or by name."""

from __future__ import annotations

import pytest
from rest_framework.exceptions import NotAcceptable
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from neurascale.core.errors import InvalidError
from neurascale.core.negotiation import OutputNegotiation


class Json(BaseRenderer):
    media_type, format = "application/json", "json"


class Npy(BaseRenderer):
    media_type, format = "application/x-npy", "npy"


class Yaml(BaseRenderer):
    media_type, format = "text/yaml", "yaml"


def chosen(accept: str | None, query: str = "") -> str:
    headers = {} if accept is None else {"Accept": accept}
    request = Request(APIRequestFactory().get(f"/{query}", headers=headers))
    renderer, media_type = OutputNegotiation().select_renderer(request, [Json(), Npy(), Yaml()])
    assert media_type == renderer.media_type
    return renderer.format


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("", "json"),
        ("application/json", "json"),
        ("application/x-npy", "npy"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "json"),
        ("application/x-npy, application/json", "json"),  # equal: the first that there is
        ("application/json;q=0.2, application/x-npy;q=0.9", "npy"),
        ("application/json;q=0.9, application/x-npy;q=0.2", "json"),
        ("application/json;q=0, */*;q=0.1", "npy"),
        ("*/*, application/json;q=0", "npy"),
        ("application/*;q=0.5, text/*", "yaml"),
        ("*/*;q=0.9, application/*;q=0.1", "yaml"),
        ("application/json; charset=utf-8", "json"),
        ("application/x-npy;q=loud", "npy"),
        ("application/x-npy;q=nan, text/yaml;q=0.1", "yaml"),
        (", ,text/yaml,", "yaml"),
    ],
)
def test_what_is_wanted_most_is_given(accept, form):
    assert chosen(accept) == form


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "*/*;q=0", ",", "application", "a" * 9000]
)
def test_what_wants_nothing_that_there_is_is_told_so(accept):
    with pytest.raises(NotAcceptable):
        chosen(accept)


def test_a_name_counts_more_than_the_header():
    assert chosen("application/json", "?output=npy") == "npy"
    for name in ("", "csv", "JSON"):
        with pytest.raises(InvalidError) as raised:
            chosen("application/json", f"?output={name}")
        assert raised.value.details["fields"] == {"output": ["Must be json or npy or yaml."]}


def test_header_is_read_in_a_time_that_is_bounded():
    request = Request(APIRequestFactory().get("/", headers={"Accept": "a/b," * 3000}))
    assert len(OutputNegotiation().get_accept_list(request)) == OutputNegotiation.max_accept_tokens
