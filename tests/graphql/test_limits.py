"""What one request may ask for, looked at before anything of it runs."""

from __future__ import annotations

import time

import pytest

from devices.models import Device
from neurascale.core.graphql import guard
from tests.graphql.asking import ask, post, refused
from tests.ingest.factories import make_device
from tests.ingest.rest import Program

pytestmark = pytest.mark.django_db


@pytest.fixture
def program():
    return Program("admin")


def nested(levels, leaf="name"):
    """Return a query of devices, their sessions, their devices … one row a list."""
    query = leaf
    for level in range(levels):
        query = (
            f"device {{ {query} }}"
            if level % 2 == 0
            else f"sessions(first: 1) {{ nodes {{ {query} }} }}"
        )
    return f"{{ sessions(first: 1) {{ nodes {{ {query} }} }} }}"


def test_what_is_nested_too_deeply_is_refused_and_told_how_deep_it_may_be(program, settings):
    ask(program, nested(5))
    error = refused(program, nested(21), "QUERY_TOO_COMPLEX")
    assert error["extensions"]["details"]["limit"] == settings.GRAPHQL_MAX_DEPTH
    assert str(settings.GRAPHQL_MAX_DEPTH) in error["message"]


def test_depth_hides_neither_in_fragments_nor_in_inline_fragments(program):
    fragments = " ".join(
        f"fragment f{i} on Device {{ sessions {{ nodes {{ device {{ ...f{i + 1} }} }} }} }}"
        for i in range(6)
    )
    query = f"{{ devices {{ nodes {{ ...f0 }} }} }} {fragments} fragment f6 on Device {{ name }}"
    refused(program, query, "QUERY_TOO_COMPLEX")
    inline = "name"
    for _ in range(6):
        inline = f"... on Device {{ sessions(first: 1) {{ nodes {{ device {{ {inline} }} }} }} }}"
    refused(program, f"{{ devices {{ nodes {{ {inline} }} }} }}", "QUERY_TOO_COMPLEX")


def test_pages_within_pages_multiply(program):
    query = (
        "query($n: Int) { sessions(first: $n) { nodes { events(first: $n) { nodes { label } } } } }"
    )
    ask(program, query, n=50)
    refused(program, query, "QUERY_TOO_COMPLEX", n=200)
    defaults = query.replace("$n: Int", "$n: Int = 200")
    refused(program, defaults, "QUERY_TOO_COMPLEX")
    ask(program, defaults, n=50)
    ask(program, query)  # the page of those who say nothing


def test_a_page_is_taken_for_as_long_as_it_is_without_a_size(program):
    query = "{ devices { nodes { sessions { nodes { events { nodes { label } } } } } } }"
    refused(program, query, "QUERY_TOO_COMPLEX")


@pytest.mark.parametrize("size", ["-1", "0", "201", "2147483647"])
def test_a_page_of_no_size_is_refused(program, size):
    error = refused(program, f"{{ devices(first: {size}) {{ totalCount }} }}", "VALIDATION_ERROR")
    assert "first" in error["extensions"]["details"]["fields"]


def test_aliases_are_counted_and_refused_before_the_first_change(program):
    device = make_device()
    many = " ".join(
        f'a{i}: changeDevice(id: "{device.public_id}", input: {{name: "n{i}"}}) {{ name }}'
        for i in range(guard.MAX_ALIASES + 1)
    )
    refused(program, f"mutation {{ {many} }}", "QUERY_TOO_COMPLEX")
    assert Device.objects.get(pk=device.pk).name == "Cyton"


def test_a_long_document_is_not_read_to_its_end(program):
    error = refused(program, "{ " + "__typename " * 3000 + "}", "MALFORMED_QUERY")
    assert str(guard.MAX_TOKENS) in error["message"]


def test_fragments_that_double_are_weighed_without_being_followed(program):
    bomb = " ".join(f"fragment f{i} on Device {{ ...f{i + 1} ...f{i + 1} }}" for i in range(60))
    query = f"{{ devices {{ nodes {{ ...f0 }} }} }} {bomb} fragment f60 on Device {{ name }}"
    began = time.monotonic()
    error = refused(program, query, "QUERY_TOO_COMPLEX")
    assert time.monotonic() - began < 5
    assert len(error["message"]) < 300


def test_a_chain_of_hundreds_of_fragments_is_no_bug(program):
    chain = " ".join(f"fragment f{i} on Query {{ ...f{i + 1} }}" for i in range(230))
    query = f"{{ ...f0 }} {chain} fragment f230 on Query {{ __typename }}"
    for error in post(program, query).json().get("errors", ()):
        assert error["extensions"]["code"] in {"QUERY_TOO_COMPLEX", "VALIDATION_ERROR"}


@pytest.mark.parametrize(
    "document",
    [
        "{ __typename } fragment unused on Device " + "{ a " * 900 + "}" * 900,
        "{ __typename " + "{ a " * 900 + "}" * 901,
        "{ devices(filter: " + "{a: " * 600 + "1" + "}" * 600 + ") { totalCount } }",
        "{ devices(filter: " + "[" * 900 + "]" * 900 + ") { totalCount } }",
        "query($a: " + "[" * 900 + "Int" + "]" * 900 + ") { __typename }",
    ],
    ids=["unused fragment", "leaf", "objects", "lists", "types"],
)
def test_whatever_is_nested_hundreds_of_times_is_refused_and_not_a_bug(program, document):
    for error in post(program, document).json()["errors"]:
        assert error["extensions"]["code"] in {
            "MALFORMED_QUERY",
            "QUERY_TOO_COMPLEX",
            "VALIDATION_ERROR",
        }


def test_introspection_within_introspection_is_refused(program):
    query = "name"
    for _ in range(5):
        query = f"name fields {{ type {{ {query} }} }}"
    refused(program, f"{{ __schema {{ types {{ {query} }} }} }}", "QUERY_TOO_COMPLEX")


KIND = "name ofType { name ofType { name } }"
FIELDS = f"name fields {{ name args {{ name type {{ {KIND} }} }} type {{ {KIND} }} }}"
TOLD = f"fragment F on __Schema {{ types {{ ...T }} }} fragment T on __Type {{ {FIELDS} }} "


def often(field: str) -> str:
    return " ".join(f"a{n}: {field}" for n in range(90))


@pytest.mark.parametrize(
    "query",
    [
        f"{{ {often('__schema { ...F }')} }}",
        f"{{ __schema {{ {often('types { ...T }')} ...F }} }}",
        f"query {{ ...Q }} fragment Q on Query {{ {often('__schema { ...F }')} }}",
        f"{{ __schema {{ types {{ {often('fields { type { ...T } }')} }} ...F }} }}",
    ],
    ids=["beside each other", "inside one", "in a fragment", "in its types"],
)
def test_the_schema_is_not_told_over_and_over_in_one_answer(program, query):
    error = refused(program, TOLD + query, "QUERY_TOO_COMPLEX")
    assert "of the schema itself" in error["message"]


def test_a_part_of_the_schema_may_be_asked_for_in_any_operation(program):
    answer = ask(
        program, '{ __schema { types { name } } __type(name: "Device") { fields { name } } }'
    )
    assert {"name": "name"} in answer["__type"]["fields"]


def test_the_limits_are_settings(program, settings):
    settings.GRAPHQL_MAX_COST = 10
    refused(program, "{ devices { nodes { name } } }", "QUERY_TOO_COMPLEX")
    settings.GRAPHQL_MAX_COST = 1000
    settings.GRAPHQL_MAX_DEPTH = 2
    refused(program, "{ devices { nodes { name } } }", "QUERY_TOO_COMPLEX")


@pytest.mark.parametrize(
    "value",
    ["9" * 30, "-" + "9" * 30, "9" * 5000, "[" * 65 + "]" * 65, "{a: " * 65 + "1" + "}" * 65],
    ids=["30 digits", "-30 digits", "5000 digits", "65 lists", "65 objects"],
)
def test_a_value_in_a_document_is_refused_as_in_a_body_of_rest(program, caplog, value):
    event = f'mutation {{ addEvent(sessionId: "sess_x", input: {{label: "x", value: {value}}}) '
    refused(program, event + "{ eventId } }", "VALIDATION_ERROR")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("sample", ['"5"', "9223372036854775807", "true", "1.5"])
def test_what_is_no_long_is_the_callers_mistake(program, caplog, sample):
    event = f'mutation {{ addEvent(sessionId: "sess_x", input: {{label: "x", sample: {sample}}}) '
    refused(program, event + "{ eventId } }", "VALIDATION_ERROR")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("sample", [2**63, 1e30, "5", -(2**60)])
def test_a_variable_that_is_no_long_is_the_callers_mistake(program, caplog, sample):
    event = """mutation($s: Long) {
        addEvent(sessionId: "sess_x", input: {label: "x", sample: $s}) { eventId } }"""
    refused(program, event, "VALIDATION_ERROR", s=sample)
    assert "Traceback" not in caplog.text


def test_a_page_of_thousands_of_digits_is_refused(program):
    refused(program, f"{{ devices(first: {'9' * 5000}) {{ totalCount }} }}", "VALIDATION_ERROR")
