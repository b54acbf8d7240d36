"""Which errors an operation answers with: found from the view, the path and the error tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from neurascale.core import errors
from neurascale.core.api import CODES, status_of
from neurascale.core.auth import InvalidTokenError, PortalSessionAuthentication
from neurascale.core.errors import NeuraScaleError
from neurascale.core.openapi.operation import Schema
from neurascale.core.openapi.shapes import summary_of
from neurascale.core.wire import MalformedJSONError

ENVELOPE: Schema = {
    "type": "object",
    "description": "Every error, on every path.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "request_id"],
            "properties": {
                "code": {"type": "string", "description": "For programs.", "pattern": "^[A-Z_]+$"},
                "message": {
                    "type": "string",
                    "description": "For people: what was asked, what was found, what to do.",
                },
                "details": {
                    "type": "object",
                    "description": "Facts for programs; `suggestion` wherever one helps.",
                    "additionalProperties": {},
                    "properties": {
                        "suggestion": {"type": "string"},
                        "fields": {
                            "type": "object",
                            "description": "What is wrong, by the name of the field.",
                            "additionalProperties": {
                                "type": "array",
                                "items": {"type": "string"},
                            },
                        },
                    },
                },
                "request_id": {
                    "type": ["string", "null"],
                    "description": "Finds the request in the server's log; also `X-Request-ID`.",
                },
            },
        }
    },
}


@dataclass(frozen=True, slots=True, order=True)
class Code:
    """One machine code.

    Parameters
    ----------
    status : int
        HTTP status.
    code, meaning : str
        As in the envelope; what it says.
    """

    status: int
    code: str
    meaning: str

    @classmethod
    def of(cls, kind: type[NeuraScaleError]) -> Code:
        """Return the code of an error of ours."""
        return cls(int(status_of(kind)), kind.code, summary_of(kind))

    @classmethod
    def of_status(cls, status: HTTPStatus, meaning: str) -> Code:
        """Return the code of an error that only HTTP knows."""
        return cls(int(status), CODES.get(status, status.name), meaning)


NOT_ACCEPTABLE = Code.of_status(HTTPStatus.NOT_ACCEPTABLE, "`Accept` names nothing of the above.")
UNSUPPORTED = Code.of_status(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body's `Content-Type` is none of those above."
)
NOT_ALLOWED = Code.of_status(
    HTTPStatus.METHOD_NOT_ALLOWED, "The path has no such method; `Allow` names those it has."
)
FORGED_HOST = Code.of_status(HTTPStatus.BAD_REQUEST, "The server is not known by that `Host`.")


def known_errors() -> Iterator[type[NeuraScaleError]]:
    """Yield the error tree, root first."""
    todo: list[type[NeuraScaleError]] = [NeuraScaleError]
    while todo:
        kind = todo.pop(0)
        yield kind
        todo += kind.__subclasses__()


def unknown_id(name: str) -> type[NeuraScaleError] | None:
    """Return the error of an unknown id: ``device_id`` is answered with INVALID_DEVICE_ID."""
    code = f"INVALID_{name.upper()}"
    return next((kind for kind in known_errors() if kind.code == code), None)


def codes_of(
    view: Any,
    method: str,
    raised: Iterable[type[NeuraScaleError]],
    *,
    takes_body: bool,
    variables: list[str],
    scopes: frozenset[str],
) -> dict[int, list[Code]]:
    """Return all error codes of an operation by status.

    Parameters
    ----------
    view : APIView
        As the schema generator made it.
    method : str
        Of HTTP.
    raised : iterable of error classes
        What the view declares, and what comes of features that it has.
    takes_body : bool
        Whether it reads a body.
    variables : list of str
        Names in the path, whose ids may be unknown.
    scopes : frozenset of str
        What the operation requires.
    """
    found = [Code.of(errors.InvalidError), FORGED_HOST, NOT_ACCEPTABLE, Code.of(NeuraScaleError)]
    if view.get_authenticators():
        found += [Code.of(errors.NotAuthenticatedError), Code.of(InvalidTokenError)]
    if scopes or _needs_csrf_token(view, method):
        found.append(Code.of(errors.ForbiddenError))
    if variables:
        found.append(Code.of(errors.NotFoundError))
    found += [Code.of(kind) for name in variables if (kind := unknown_id(name))]
    if takes_body:
        found += [Code.of(errors.TooLargeError), UNSUPPORTED]
        if "application/json" in {parser.media_type for parser in view.get_parsers()}:
            found.append(Code.of(MalformedJSONError))
    found += [Code.of(kind) for kind in raised]
    by_status: dict[int, dict[str, Code]] = {}
    for code in found:
        by_status.setdefault(code.status, {}).setdefault(code.code, code)
    return {status: list(codes.values()) for status, codes in sorted(by_status.items())}


def _needs_csrf_token(view: Any, method: str) -> bool:
    """Tell whether somebody who comes with the portal's session has to show more than that."""
    ways = view.get_authenticators()
    return method != "GET" and any(isinstance(way, PortalSessionAuthentication) for way in ways)


def name_of(codes: list[Code]) -> str:
    """Return a name for the response that says one of some codes, the same for the same codes."""
    return ".".join([str(codes[0].status), *(code.code for code in codes)])


def response_of(codes: list[Code], headers: Schema, examples: Mapping[str, Any]) -> Schema:
    """Return the response with one of some codes of one status.

    Parameters
    ----------
    codes : list of Code
        Of one status.
    headers : dict
        Headers of the response.
    examples : mapping of str to dict
        Printed envelopes by their code.
    """
    status = HTTPStatus(codes[0].status)
    said = "\n".join(f"- `{code.code}`: {code.meaning}" for code in codes)
    names = [code.code for code in codes]
    content: Schema = {
        "schema": {
            "allOf": [
                {"$ref": "#/components/schemas/Error"},
                {"properties": {"error": {"properties": {"code": {"enum": names}}}}},
            ]
        }
    }
    if shown := {name: {"value": examples[name]} for name in names if name in examples}:
        content["examples"] = shown
    return {
        "description": f"{status.phrase}\n\n{said}",
        "headers": headers,
        "content": {"application/json": content},
    }
