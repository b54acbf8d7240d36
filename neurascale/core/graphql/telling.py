"""Errors as GraphQL tells them: with code, details and request id in `extensions`."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from graphql import GraphQLError, GraphQLSyntaxError

from neurascale.core.api import Answer, answer_to
from neurascale.core.errors import InvalidError, NeuraScaleError

log = logging.getLogger(__name__)


class MalformedQueryError(InvalidError):
    """The document is not GraphQL, or is longer than what is read here."""

    code = "MALFORMED_QUERY"


def tell_all(errors: Iterable[GraphQLError], *, request_id: str | None) -> list[GraphQLError]:
    """Return errors with what the caller may know of them."""
    return [tell(error, request_id=request_id) for error in errors]


def tell(error: GraphQLError, *, request_id: str | None) -> GraphQLError:
    """Return an error with what the caller may know of it; what nobody foresaw is logged.

    Parameters
    ----------
    error : GraphQLError
        Of graphql-core, or with another error as its ``original_error``.
    request_id : str or None
        By which the error is found in the log.
    """
    answer = _answer(error, request_id)
    return GraphQLError(
        answer.message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={
            "code": answer.code,
            "details": dict(answer.details),
            "requestId": request_id,
        },
    )


def _answer(error: GraphQLError, request_id: str | None) -> Answer:
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, GraphQLSyntaxError):
        return _known(MalformedQueryError(cause.message, suggestion="Check it with an editor."))
    if isinstance(cause, GraphQLError):  # graphql-core's own: of the document or its variables
        return _known(InvalidError(cause.message))
    answer = answer_to(cause)
    if answer is not None:
        return answer
    where = ".".join(map(str, error.path or ()))
    log.error("%s: %s failed inside the server", request_id, where or "GraphQL", exc_info=cause)
    return _known(
        NeuraScaleError(
            f"{where or 'The operation'} failed inside the server",
            suggestion="Tell the lab's administrator the request id.",
        )
    )


def _known(error: NeuraScaleError) -> Answer:
    answer = answer_to(error)
    if answer is None:
        raise AssertionError("every error of ours has an answer")
    return answer
