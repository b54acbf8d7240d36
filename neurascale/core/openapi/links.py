"""Links: what can be asked next, with the ids that an answer holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from neurascale.core.openapi.operation import Schema

SOURCES = {("get", "200"), ("post", "201")}
VARIABLE = re.compile(r"\{(\w+)\}")


def add_links(document: Schema) -> None:
    """Link lists, and whatever makes something, to all that can be done with the thing.

    By what ids are called: an answer whose own id is ``session_id`` leads to the operations that
    have ``{session_id}`` and no other name in their path, or that must be told it in the body.
    """
    operations = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    for source, method, operation in operations:
        for status, response in operation["responses"].items():
            held = dict(_ids(document, response)) if (method, status) in SOURCES else {}
            if held and next(iter(held)) in VARIABLE.findall(source):
                continue  # whoever asked knows the id
            links = {
                other["operationId"]: link
                for path, _, other in operations
                if held and (link := _link(document, path, other, held))
            }
            if links:
                response["links"] = links


def _ids(document: Schema, response: Schema) -> Iterator[tuple[str, str]]:
    """Yield (name, expression) of the ids that a JSON answer holds, first the thing's own."""
    content = response.get("content", {}).get("application/json", {})
    properties = _resolved(document, content.get("schema", {})).get("properties", {})
    is_list = "pagination" in properties
    for name, schema in properties.items():
        if name.endswith("_id") and not is_list:
            yield name, f"$response.body#/{name}"
        elif is_list and schema.get("type") == "array":
            thing = _resolved(document, schema["items"]).get("properties", {})
            own = next((inner for inner in thing if inner.endswith("_id")), None)
            if own:
                yield own, f"$response.body#/{name}/0/{own}"


def _link(document: Schema, path: str, operation: Schema, held: dict[str, str]) -> Schema | None:
    """Return a link to an operation that takes the answer's own id and no id but those held."""
    own = next(iter(held))
    in_path, in_body = set(VARIABLE.findall(path)), _required_ids(document, operation)
    if own not in in_path | in_body or not in_path <= {own} or not in_body <= held.keys():
        return None
    link: dict[str, Any] = {"operationId": operation["operationId"]}
    if in_path:
        link["parameters"] = {own: held[own]}
    if in_body:
        link["requestBody"] = {name: held[name] for name in sorted(in_body)}
    return link


def _required_ids(document: Schema, operation: Schema) -> set[str]:
    """Return the ids without which a JSON body is not complete."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    required = _resolved(document, content.get("schema", {})).get("required", [])
    return {name for name in required if name.endswith("_id")}


def _resolved(document: Schema, schema: Schema) -> Schema:
    """Return a schema itself, for a reference too."""
    reference = schema.get("$ref", "")
    if not reference:
        return schema
    resolved: Schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return resolved
