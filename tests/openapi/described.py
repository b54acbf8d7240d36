"""What the document says, for tests to hold the API to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema
from django.http import HttpResponse

from neurascale.core.openapi.schema import JSON, document


@dataclass(frozen=True)
class Described:
    """One operation of the document."""

    path: str
    method: str
    operation: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.operation["operationId"])

    @property
    def variables(self) -> list[str]:
        return [p["name"] for p in self.operation["parameters"] if p["in"] == "path"]

    def response(self, status: int) -> dict[str, Any]:
        """Return what is said of the answer with a status."""
        return resolved(self.operation["responses"][str(status)])


@cache
def operations() -> dict[str, Described]:
    """Return all operations by their id."""
    found = [
        Described(path, method.upper(), operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if not method.startswith("x-")
    ]
    return {operation.name: operation for operation in found}


def answers() -> Iterator[tuple[str, int, str]]:
    """Yield (operation id, status, machine code or media type) of every answer that is declared."""
    for name, described in operations().items():
        for text in described.operation["responses"]:
            status, response = int(text), described.response(int(text))
            if status >= 400:
                _, narrowed = response["content"][JSON]["schema"]["allOf"]
                codes = narrowed["properties"]["error"]["properties"]["code"]["enum"]
                yield from ((name, status, code) for code in codes)
                yield from ((name, status, kind) for kind in response["content"] if kind != JSON)
            else:
                yield from ((name, status, kind) for kind in response.get("content", {"": None}))


def resolved(thing: dict[str, Any]) -> dict[str, Any]:
    """Return a thing itself, for a reference too."""
    while "$ref" in thing:
        where: Any = document()
        for part in thing["$ref"].removeprefix("#/").split("/"):
            where = where[part]
        thing = where
    return thing


def check(value: Any, schema: dict[str, Any]) -> None:
    """Raise unless a value is as a schema of the document says."""
    whole = {**schema, "components": document()["components"]}
    jsonschema.Draft202012Validator(
        whole, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(value)


def check_response(described: Described, response: HttpResponse) -> None:
    """Raise unless an answer is as it is declared: status, type, headers and body."""
    check_as_said(described.response(response.status_code), response)


def check_as_said(said: dict[str, Any], response: HttpResponse) -> None:
    """Raise unless an answer is as a response of the document says."""
    for name, header in said["headers"].items():
        assert name in response or not header.get("required"), name
        if name in response and header["schema"].get("type") == "string":
            check(response[name], header["schema"])
    if "content" not in said:
        assert response.content == b""
        return
    kind = response["Content-Type"].partition(";")[0]
    assert kind in said["content"], kind
    if kind == JSON or kind.endswith("+json"):
        check(response.json(), said["content"][kind]["schema"])
