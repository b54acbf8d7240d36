"""What HTTP promises of every request, and what every resource of the API has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import attrgetter
from typing import Any, TypeVar

from django.db.models import Model
from django.http import HttpResponse
from django.urls import reverse
from rest_framework import views, viewsets
from rest_framework.request import Request

from neurascale.core import etags, idempotency
from neurascale.core.audit import recorded
from neurascale.core.auth import scopes_of
from neurascale.core.encoding import accepts_gzip
from neurascale.core.errors import PreconditionFailedError
from neurascale.core.idempotency import Claim, Idempotency
from neurascale.core.logs import name_of
from neurascale.core.openapi.operation import Operation
from neurascale.core.paging import CursorPaging, FieldFilters
from neurascale.core.wire import dumps

M = TypeVar("M", bound=Model)

CHANGES = ("PUT", "PATCH", "DELETE")


class CarefulMixin:
    """What HTTP promises of every request, around the one method of a view that serves it.

    GET and HEAD: a view that knows the state its body is a function of says so with `offer`, before
    it makes the body; to a caller that has it already the answer is 304. POST: ``Idempotency-Key``,
    as ``idempotency`` says. PUT, PATCH and DELETE: ``If-Match``, for views that have a `tag_now`.

    ``together`` names the actions that are quick and do nothing outside the database: each of them
    is one transaction.
    """

    idempotency = Idempotency.LEASED
    together: frozenset[str] = frozenset()
    tag: str | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Put `perform` around the method that will be called, once the caller is let in."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        method = str(request.method).lower()
        if method != "options" and (act := getattr(self, method, None)) is not None:
            setattr(self, method, partial(self.perform, act))

    def perform(self, act: Callable[..., Any], request: Request, *args: Any, **kwargs: Any) -> Any:
        """Do what was asked, as carefully as its method wants it."""
        doing = partial(self._act, act, request, *args, **kwargs)
        if request.method != "POST" or self.kind is Idempotency.NONE:
            return doing()
        key = idempotency.key_of(request)
        if key is None:
            return doing()
        answer = idempotency.ANSWER[self.kind]
        return answer(Claim.of(request, key), doing, self.handle_exception)  # type: ignore[attr-defined]

    @property
    def kind(self) -> Idempotency:
        """How answers are kept: of an action that is one transaction, in the same one."""
        if getattr(self, "action", None) in self.together:
            return Idempotency.TOGETHER
        return self.idempotency

    def _act(self, act: Callable[..., Any], request: Request, *args: Any, **kwargs: Any) -> Any:
        if request.method in {"GET", "HEAD"}:
            try:
                response = act(request, *args, **kwargs)
            except etags.NotModified as found:
                return HttpResponse(status=304, headers={"ETag": found.tag})
        elif getattr(self, "action", None) in self.together:
            with recorded():
                self._check_preconditions(request)
                response = act(request, *args, **kwargs)
                self.describe(response)
        else:
            self._check_preconditions(request)
            response = act(request, *args, **kwargs)
        if self.tag is not None and response.status_code < 300:
            response["ETag"] = self.tag
        return response

    def offer(self, tag: str) -> None:
        """Say which tag the body will have, and make none if the caller has it already.

        Raises
        ------
        NotModified
            If the caller has it.
        """
        self.tag = tag
        headers = self.request.headers  # type: ignore[attr-defined]
        gzip = accepts_gzip(headers.get("Accept-Encoding", ""))
        if etags.shown_again(headers.get("If-None-Match"), tag, gzip=gzip) is not None:
            raise etags.NotModified(tag)

    def circumstances(self) -> list[Any]:
        """Return what a body depends on besides its subject: who asks, and for which form."""
        request: Request = self.request  # type: ignore[attr-defined]
        return [
            name_of(request.user),
            sorted(scopes_of(request.user)),
            request.accepted_media_type,
            [request.scheme, request.get_host(), request.path, request.META.get("QUERY_STRING")],
        ]

    def tag_now(self) -> str | None:
        """Return the tag of what a change would overwrite, locked until the transaction ends."""
        return None

    def describe(self, response: Any) -> None:
        """Look at a response while its transaction lasts."""

    def _check_preconditions(self, request: Request) -> None:
        """Raise if the caller asks for a change of something that is no longer as it was."""
        match, none_match = (request.headers.get(f"If-{name}") for name in ("Match", "None-Match"))
        if request.method not in CHANGES or (match is None and none_match is None):
            return
        tag = self.tag_now()
        if tag is None:
            raise PreconditionFailedError(
                f"{request.method} {request.path} knows no tags, so none can be asked for",
                suggestion="Leave out If-Match and If-None-Match.",
            )
        if match is not None and not etags.overwrites(match, tag):
            raise PreconditionFailedError(
                f"{request.path} was changed after it had the tag {match}",
                etag=tag,
                suggestion="Read it again, and change what is there now.",
            )
        if etags.shown_again(none_match, tag, gzip=True) is not None:
            raise PreconditionFailedError(
                f"{request.path} is there, with the tag that If-None-Match excludes", etag=tag
            )


class ApiView(CarefulMixin, views.APIView):
    """A view of the API."""


class ApiViewSet(CarefulMixin, viewsets.ViewSet):
    """Several views of the API of one subject."""


class ResourceViewSet(CarefulMixin, viewsets.GenericViewSet[M]):
    """Things with public ids, listed by `neurascale.core.paging`.

    A subclass says ``plural`` and ``required_scopes``, how its lists can be narrowed and ordered
    (see `FieldFilters` and `CursorPaging`), and in ``operations`` what its bodies hold. One whose
    bodies are a function of its rows and of a little more says so with ``states``, and need not
    make a body to know that a caller has it. ``detail_path`` is the name of the path of one thing.
    """

    plural: str
    required_scopes: dict[str, Any]
    detail_path: str | None = None
    operations: dict[str, Operation] = {}
    pagination_class = CursorPaging
    filter_backends = (FieldFilters,)
    filter_fields: dict[str, Any] = {}
    search_fields: tuple[str, ...] = ()
    ordering_fields: dict[str, str] = {}
    ordering: tuple[str, ...] = ()
    together = frozenset({"create", "update", "partial_update", "destroy"})
    shown: M | None = None

    def states(self, rows: Sequence[M]) -> list[Any] | None:
        """Return, for each row, all that its body shows and that is not in its own columns.

        As JSON values. None, as here, if that is not known: then each tag is one of a whole body,
        which is always right.
        """
        return None

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """Return what writes rows; before it does, offer the tag of what it will write."""
        rows = args[0] if args else None
        if isinstance(rows, Model):
            self.shown = rows  # type: ignore[assignment]
        if self.request.method in {"GET", "HEAD"} and rows is not None:
            tag = self._tag_of_list(rows) if kwargs.get("many") else self._tag_of_state(rows)
            if tag is not None:
                self.offer(tag)
        return super().get_serializer(*args, **kwargs)

    def tag_now(self) -> str | None:
        """Return the tag of the thing that the URL names, locked until the transaction ends."""
        row = self.get_object()
        # In its own query: what is read with it need not be locked.
        list(type(row)._base_manager.select_for_update().filter(pk=row.pk).values_list("pk"))
        return self._tag_of(self.get_object())

    def describe(self, response: Any) -> None:
        """Give what was made or changed its tag, and what was made its address.

        Read anew in the same transaction: the tag is that of exactly this change.
        """
        if self.shown is None or self.detail_path is None or response.status_code not in {200, 201}:
            return
        self.tag = self._tag_of(self.get_queryset().get(pk=self.shown.pk))
        if response.status_code == 201:
            response["Location"] = reverse(self.detail_path, args=[self.shown.public_id])  # type: ignore[attr-defined]

    def _tag_of(self, row: M) -> str:
        tag = self._tag_of_state(row)
        if tag is not None:
            return tag
        serializer = self.get_serializer_class()(row, context=self.get_serializer_context())
        return etags.tag_of_body(dumps(serializer.data))

    def _tag_of_state(self, row: M) -> str | None:
        states = self.states([row])
        if states is None:
            return None
        *caller, _ = self.circumstances()
        return etags.tag_of_state(columns(row), states, caller)

    def _tag_of_list(self, rows: Sequence[M]) -> str | None:
        states = self.states(rows)
        if states is None:
            return None
        page = self.paginator.state  # type: ignore[union-attr]
        shown = [*map(columns, rows)]
        return f'"{etags.digest_of(shown, states, page, self.circumstances())}"'


def columns(row: Model) -> list[Any]:
    """Return the values of a row, with the name of its table."""
    return [row._meta.db_table, *_columns(type(row))(row)]


@cache
def _columns(model: type[Model]) -> Callable[[Model], tuple[Any, ...]]:
    names = [field.attname for field in model._meta.concrete_fields]
    return attrgetter(*names)  # of at least two: each has a key, and something to say
