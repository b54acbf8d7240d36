"""A program that asks `/graphql`, and looks at what it is told."""

from __future__ import annotations

from typing import Any

import orjson

from tests.ingest.rest import Program


def post(program: Program, query: str, **variables: Any) -> Any:
    """Return the response to an operation."""
    body = orjson.dumps({"query": query, "variables": variables})
    return program.http.post("/graphql", body, content_type="application/json")


def ask(program: Program, query: str, **variables: Any) -> Any:
    """Return the data of an operation that must go well."""
    response = post(program, query, **variables)
    assert response.status_code == 200, response.content
    body = response.json()
    assert "errors" not in body, body["errors"]
    return body["data"]


def refused(program: Program, query: str, code: str | None = None, **variables: Any) -> Any:
    """Return the one error of an operation that must not go well."""
    response = post(program, query, **variables)
    assert response.status_code == 200, response.content
    (error,) = response.json()["errors"]
    assert set(error["extensions"]) == {"code", "details", "requestId"}
    assert error["extensions"]["requestId"] == response["X-Request-ID"]
    assert error["message"]
    if code is not None:
        assert error["extensions"]["code"] == code, error
    return error


def snake(name: str) -> str:
    """Return REST's name for one of GraphQL's."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def in_rest_names(value: Any) -> Any:
    """Return a thing of GraphQL with the names of REST; free JSON keeps its own."""
    if isinstance(value, dict):
        return {snake(name): in_rest_names(part) for name, part in value.items()}
    return [in_rest_names(part) for part in value] if isinstance(value, list) else value
