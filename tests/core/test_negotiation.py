"""Accept, as RFC 9110 (sections 12.4.2 and 12.5.1) has it."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from rest_framework.exceptions import NotAcceptable
from rest_framework.request import Request
from rest_framework.views import APIView

from neurascale.core import negotiation
from neurascale.core.bodies import OrjsonRenderer
from neurascale.core.errors import InvalidError
from neurascale.core.negotiation import Negotiation
from neurascale.core.views.documentation import SchemaView
from tests.core.test_api import error_in
from tests.ingest.rest import Program

JSON, NPY, ARROW = "application/json", "application/x-npy", "application/vnd.apache.arrow.stream"


class Npy(OrjsonRenderer):
    media_type, format = NPY, "npy"


class Arrow(OrjsonRenderer):
    media_type, format = ARROW, "arrow"


def chosen(accept: str | None, *kinds: type[OrjsonRenderer], query: str = "") -> str | None:
    headers = {} if accept is None else {"Accept": accept}
    request = Request(RequestFactory().get(f"/?{query}", headers=headers))
    forms = [kind() for kind in kinds or (OrjsonRenderer, Npy, Arrow)]
    try:
        form, media_type = Negotiation().select_renderer(request, forms)
    except NotAcceptable:
        return None
    assert media_type == form.media_type
    return media_type


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        # Nothing said: whatever the server has first.
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("*/*;q=0.1", JSON),
        # One is named, or liked better, wherever it stands.
        (NPY, NPY),
        (f"{JSON};q=0.1, {NPY}", NPY),
        (f"{NPY};q=0.8, {JSON};q=0.2, {ARROW};q=0.9", ARROW),
        (f"{NPY};q=0.001, text/html", NPY),
        (f"{ARROW};q=0.2, {NPY};q=0.3, */*;q=0.1", NPY),
        # What is liked as much: the server's order, and what is named before what is not.
        (f"{ARROW}, {NPY}, {JSON}", JSON),
        (f"{ARROW};q=0.5, {NPY};q=0.5", NPY),
        (f"{NPY}, */*", NPY),
        # The more specific range counts, even where it likes less.
        (f"{JSON};q=0.2, application/*;q=0.8, */*", NPY),
        (f"*/*, {JSON};q=0.5, {NPY};q=0.4, {ARROW};q=0.3", JSON),
        # q=0 excludes, also what a wider range would take in.
        (f"{JSON};q=0, */*", NPY),
        (f"{JSON};q=0.0, {NPY};q=0.000, application/*", ARROW),
        ("application/*;q=0, */*", None),
        ("*/*;q=0", None),
        (f"{JSON};q=0", None),
        ("text/html, application/xml;q=0.9", None),
        # As it is written elsewhere.
        (f"{JSON};Q=0.1,{NPY.upper()} ; q=0.2", NPY),
        ("text/html, image/gif, *; q=.2, */*; q=.2", JSON),
        (f"{JSON}; charset=utf-8", JSON),
        (f"{JSON}; charset=utf-8; q=0.1, {NPY}; q=0.2", NPY),
        (f"{JSON}; version=2; q=0, {JSON}", JSON),
        (f"{NPY}; charset*=none''x, {ARROW}", ARROW),
        (f"{NPY}; q=much", NPY),
        (f"{NPY}; q=nan", None),
        (", ,", None),
        (f"{'text/html,' * 60}{NPY}", NPY),
    ],
)
def test_the_form_that_is_liked_best_is_given(accept, form):
    assert chosen(accept) == form


def test_an_output_is_looked_for_only_where_there_are_several():
    assert chosen("*/*", query="output=npy") == NPY
    assert chosen(f"{JSON};q=0.1, {NPY}", query="output=json") == JSON
    assert chosen(JSON, query="output=npy") == NPY
    assert chosen(None, OrjsonRenderer, query="output=npy") == JSON
    with pytest.raises(InvalidError, match="no output ''"):
        chosen("*/*", query="output=")


@pytest.mark.parametrize("accept", [None, "", "*/*", JSON])
def test_what_nearly_everybody_sends_is_not_parsed(accept, monkeypatch):
    monkeypatch.delattr(negotiation, "ranges_of")
    assert chosen(accept, OrjsonRenderer) == JSON


def test_every_view_negotiates_like_this():
    name = settings.REST_FRAMEWORK["DEFAULT_CONTENT_NEGOTIATION_CLASS"]
    assert name == f"{Negotiation.__module__}.{Negotiation.__qualname__}"
    assert APIView.content_negotiation_class is SchemaView.content_negotiation_class is Negotiation


def test_what_is_excluded_is_not_sent():
    http = Client()
    answer = http.get("/v1/schema", headers={"Accept": "application/yaml;q=0.1, application/json"})
    assert answer["Content-Type"] == JSON
    answer = http.get("/v1/schema", headers={"Accept": "application/json;q=0, */*"})
    assert answer["Content-Type"].startswith("application/yaml")


@pytest.mark.django_db
def test_a_list_that_is_excluded_is_refused_in_the_envelope():
    answer = Program("viewer").http.get("/v1/devices", headers={"Accept": f"{JSON};q=0, */*"})
    assert answer.status_code == 406
    error = error_in(answer)
    assert (error["code"], error["details"]["available"]) == ("NOT_ACCEPTABLE", [JSON])
    assert answer["X-RateLimit-Limit"]
