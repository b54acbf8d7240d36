"""Values that are written into a document: what REST refuses of a body is refused of them too."""

from __future__ import annotations

from typing import Any

from graphql import IntValueNode, StringValueNode, Visitor

from neurascale.core.errors import InvalidError
from neurascale.core.graphql.telling import MalformedQueryError
from neurascale.core.wire_limits import MAX_DEPTH, check_integer


class RefuseValues(Visitor):
    """Raises for a value that nothing behind it can hold.

    An integer beyond 64 bit, which would become another number, or of so many digits that Python
    makes none of it; lists and objects nested too deeply; a text with a NUL character, which
    PostgreSQL can neither store nor look up.
    """

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def enter_int_value(self, node: IntValueNode, *_: Any) -> None:
        """Look at an integer."""
        check_integer(node.value)

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        """Look at a text."""
        if "\0" in node.value:
            raise MalformedQueryError(
                "A text in the document has a NUL character in it", suggestion="Leave it out."
            )

    def enter_list_value(self, *_: Any) -> None:
        """Go one level down."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidError(
                f"A value nests deeper than the {MAX_DEPTH} levels that are accepted",
                limit_depth=MAX_DEPTH,
                suggestion="Send it flatter.",
            )

    def leave_list_value(self, *_: Any) -> None:
        """Come back up."""
        self._depth -= 1

    enter_object_value, leave_object_value = enter_list_value, leave_list_value
