"""The schema, and the only ways into it: each looks first, and tells errors as REST does.

Queries and changes run whole in one thread, like a REST view. So does each event of a subscription;
between them a subscription waits on the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from functools import cached_property, partial
from inspect import isawaitable
from typing import Any

import strawberry
from channels.db import database_sync_to_async
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    OperationDefinitionNode,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
    visit,
)
from graphql.execution import (
    Executor,
    create_source_event_stream,
    execute_subscription_event,
    map_source_to_response_event,
)
from graphql.validation import recommended_rules, specified_rules
from strawberry.types import ExecutionResult as StrawberryResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from neurascale.core.errors import InvalidError, NeuraScaleError
from neurascale.core.graphql import guard
from neurascale.core.graphql.context import Context
from neurascale.core.graphql.declare import is_shown_once
from neurascale.core.graphql.literals import RefuseValues
from neurascale.core.graphql.telling import MalformedQueryError, tell_all
from neurascale.core.limits import charge_async

OVER_HTTP = frozenset({OperationType.QUERY, OperationType.MUTATION})
OVER_SOCKETS = frozenset({OperationType.SUBSCRIPTION})
MAX_ERRORS = 20
RULES = tuple(dict.fromkeys((*specified_rules, *recommended_rules)))


class RefusedError(Exception):
    """An operation is not run, and why.

    Parameters
    ----------
    errors : list of GraphQLError
        Not told yet.
    """

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(*errors)
        self.errors = errors


class LabSchema(strawberry.Schema):
    """A schema that lets nothing run before it was looked at."""

    def execute_sync(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> StrawberryResult:
        """Run a query or a change; see `prepare` for what is refused.

        Returns
        -------
        ExecutionResult
            Its errors are ready to be told. A `PreExecutionError` if nothing was run.
        """
        context: Context = context_value
        allowed = OVER_HTTP if allowed_operation_types is None else allowed_operation_types
        try:
            document = self.prepare(query, variable_values, context, operation_name, allowed)
        except RefusedError as refused:
            return self._refusal(refused, context)
        result = execute_sync(
            self._schema,
            document,
            root_value=root_value,
            context_value=context,
            variable_values=variable_values,
            operation_name=operation_name,
        )
        return self._told(result, context)

    async def execute(self, *args: Any, **options: Any) -> StrawberryResult:
        """Run a query or a change in a thread."""
        return await in_thread(partial(self.execute_sync, *args, **options))

    async def stream(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Run a subscription; queries and changes have their place over HTTP."""
        allowed = OVER_SOCKETS if allowed_operation_types is None else allowed_operation_types
        return self._events(query, variable_values, context_value, operation_name, allowed)

    async def _events(
        self,
        query: str | None,
        variables: dict[str, Any] | None,
        context: Context,
        operation_name: str | None,
        allowed: Iterable[OperationType],
    ) -> AsyncGenerator[Any, None]:
        try:
            await count_operation(context)
            document = await in_thread(
                self.prepare, query, variables, context, operation_name, allowed
            )
            executor, source = await self._source(document, variables, context, operation_name)
        except RefusedError as refused:
            yield self._refusal(refused, context)
            return
        except NeuraScaleError as error:  # one too many
            failed = GraphQLError(error.message, original_error=error)
            yield self._refusal(RefusedError([failed]), context)
            return
        events = map_source_to_response_event(executor, source, execute_in_thread)
        try:
            async for result in events:
                yield self._told(result, context)
        except Exception as error:
            failed = (
                error
                if isinstance(error, GraphQLError)
                else GraphQLError(str(error), original_error=error)
            )
            yield self._told(ExecutionResult(None, errors=[failed]), context)
        finally:
            await events.aclose()
            if hasattr(source, "aclose"):
                await source.aclose()

    async def _source(
        self,
        document: DocumentNode,
        variables: dict[str, Any] | None,
        context: Context,
        operation_name: str | None,
    ) -> tuple[Executor, AsyncIterable[Any]]:
        """Return what runs a subscription's events, and where they come from."""
        executor = Executor.build(
            self._schema,
            document,
            context_value=context,
            raw_variable_values=variables,
            operation_name=operation_name,
        )
        if not isinstance(executor, Executor):
            raise RefusedError(list(executor))
        source = create_source_event_stream(executor)
        if isawaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            raise RefusedError(list(source.errors or ()))
        return executor, source

    def shows_once(self, query: str) -> bool:
        """Tell whether a document may be answered with a secret.

        A field is selected by its name, which has one spelling: where the name is not in the text,
        the field is not. That the name is somewhere else in it does no harm.
        """
        return any(name in query for name in self._shown_once)

    @cached_property
    def _shown_once(self) -> list[str]:
        changes = self._schema.mutation_type
        fields = {} if changes is None else changes.fields
        return [name for name, known in fields.items() if is_shown_once(known)]

    # --- before and after ------------------------------------------------------------------------

    def prepare(
        self,
        query: str | None,
        variables: Mapping[str, Any] | None,
        context: Context,
        operation_name: str | None,
        allowed: Iterable[OperationType],
    ) -> DocumentNode:
        """Return the document to run; may read the database.

        Raises
        ------
        RefusedError
            If it is none, or not valid, or beyond the limits, or the principal may not all of it.
        """
        try:
            document = self._parsed(query)
            operation = self._operation(document, operation_name, allowed)
            if not isinstance(variables, Mapping | None):
                problem = "Must be an object."
                raise InvalidError("Those are no variables", fields={"variables": [problem]})
            guard.check(
                self._schema,
                document,
                operation,
                variables=variables,
                principal=context.principal,
            )
        except Exception as error:
            known = isinstance(error, GraphQLError)
            raise RefusedError(
                [error if known else GraphQLError(str(error), original_error=error)]  # type: ignore[list-item]
            ) from error
        if errors := self._problems(document):
            raise RefusedError(errors)
        return document

    def _problems(self, document: DocumentNode) -> list[GraphQLError]:
        """Return why a document is not valid."""
        try:
            return validate(self._schema, document, RULES, max_errors=MAX_ERRORS)
        except RecursionError:  # in a fragment that no operation uses: those are not weighed
            return [GraphQLError("The document is nested too deeply to be checked")]

    @staticmethod
    def _parsed(query: Any) -> DocumentNode:
        if not isinstance(query, str) or not query.strip():
            raise InvalidError("There is no query", fields={"query": ["Must be a text."]})
        try:
            document = parse(query, max_tokens=guard.MAX_TOKENS)
        except RecursionError:
            raise MalformedQueryError("The document is nested too deeply to be read") from None
        visit(document, RefuseValues())
        return document

    @staticmethod
    def _operation(
        document: DocumentNode, name: Any, allowed: Iterable[OperationType]
    ) -> OperationDefinitionNode:
        if name is not None and not isinstance(name, str):
            raise InvalidError("That is no name", fields={"operationName": ["Must be a text."]})
        operation = get_operation_ast(document, name)
        if operation is None:
            problem = "Must name the one operation of the document that is meant."
            raise InvalidError("No operation is chosen", fields={"operationName": [problem]})
        kind = operation.operation.value
        if kind not in {known.value for known in allowed}:
            where = "a WebSocket" if kind == OperationType.SUBSCRIPTION.value else "POST /graphql"
            raise InvalidError(f"A {kind} cannot be run here", suggestion=f"Send it over {where}.")
        return operation

    @staticmethod
    def _refusal(refused: RefusedError, context: Context) -> PreExecutionError:
        errors = tell_all(refused.errors, request_id=context.request_id)
        return PreExecutionError(data=None, errors=errors)

    @staticmethod
    def _told(result: ExecutionResult, context: Context) -> StrawberryResult:
        errors = tell_all(result.errors or (), request_id=context.request_id)
        return StrawberryResult(data=result.data, errors=errors or None)


async def count_operation(context: Context) -> None:
    """Count an operation that a socket starts as one of its caller's requests.

    Before it is looked at, so that what is refused counts too, as it does over HTTP: what comes
    there passes the limits of REST on its way.

    Raises
    ------
    RateLimitExceededError
        If it is one too many: told as the error of this operation, which does not run.
    """
    if context.principal is not None:
        await charge_async(context.principal)


async def execute_in_thread(executor: Executor) -> ExecutionResult:
    """Run one event of a subscription where it may read the database."""
    result: ExecutionResult = await in_thread(execute_subscription_event, executor)
    return result


async def in_thread(function: Any, *args: Any) -> Any:
    """Call what may read the database, in any thread."""
    return await database_sync_to_async(function, thread_sensitive=False)(*args)
