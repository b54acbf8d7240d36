"""JSON in a document, and variables in that: all of it is looked at as a body of REST is."""

from __future__ import annotations

import orjson
import pytest

from sessions_app.models import Session
from tests.graphql.asking import ask, refused
from tests.ingest.factories import make_device
from tests.ingest.rest import Program, error_of

pytestmark = pytest.mark.django_db(transaction=True)

DEEP = 40  # alone neither a literal nor a variable is too deep; one in the other is


@pytest.fixture
def program():
    return Program("admin")


@pytest.fixture
def device_id():
    return make_device().public_id


def create(device_id, metadata, declared="($v: JSON)"):
    """Return a change that makes a session with a literal for its metadata."""
    given = f'{{deviceId: "{device_id}", metadata: {metadata}}}'
    return f"mutation{declared} {{ createSession(input: {given}) {{ metadata }} }}"


def lists(depth, inner=""):
    return "[" * depth + inner + "]" * depth


def test_a_variable_within_a_literal_counts_as_deep_as_both_are(program, device_id, caplog):
    query = create(device_id, f"{{a: {lists(DEEP, '$v')}}}")
    error = refused(program, query, "VALIDATION_ERROR", v=orjson.loads(lists(DEEP)))
    rest = f'{{"device_id": "{device_id}", "metadata": {{"a": {lists(2 * DEEP)}}}}}'.encode()
    told = error_of(program.post("sessions", rest), 400, "VALIDATION_ERROR")
    assert (error["message"], error["extensions"]["details"]) == (told["message"], told["details"])
    assert not Session.objects.exists()
    assert "Traceback" not in caplog.text


def test_a_default_within_a_literal_counts_as_deep_as_both_are(program, device_id):
    declared = f"($v: JSON = {lists(DEEP)})"
    refused(program, create(device_id, f"{{a: {lists(DEEP, '$v')}}}", declared), "VALIDATION_ERROR")
    assert not Session.objects.exists()


def test_a_variable_within_a_literal_is_taken(program, device_id):
    query = create(device_id, "{a: [$v, 1e30], b: $v}")
    made = ask(program, query, v={"x": [1, None]})["createSession"]
    assert made["metadata"] == {"a": [{"x": [1, None]}, 1e30], "b": {"x": [1, None]}}
    assert ask(program, query, v=None)["createSession"]["metadata"] == {
        "a": [None, 1e30],
        "b": None,
    }


@pytest.mark.parametrize("number", ["1e999", "-1e999", "[1e999]", "9" * 400 + ".0"])
def test_a_float_that_is_infinite_is_the_callers_mistake(program, device_id, caplog, number):
    query = create(device_id, f"{{a: {number}}}", declared="")
    error = refused(program, query, "VALIDATION_ERROR")
    assert len(error["message"]) < 300
    assert not Session.objects.exists()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("given", [{}, {"w": 1}])
def test_a_variable_within_a_literal_that_is_not_given_is_left_out(program, device_id, given):
    query = create(device_id, "{a: $v, b: [$v, $w], c: 2}", "($v: JSON, $w: JSON)")
    made = ask(program, query, **given)["createSession"]
    assert made["metadata"] == {"b": [None, given.get("w")], "c": 2}
