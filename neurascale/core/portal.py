"""What every room of the portal has in common: its log, and the door that slows down guessing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.forms import AuthenticationForm

from neurascale.core import actor
from neurascale.core.audit import record, recorded
from neurascale.core.errors import NeuraScaleError
from neurascale.core.guessing import TooManyAttemptsError, current_guard

M = TypeVar("M", bound=Model)
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class AuditedAdmin(ModelAdmin):
    """A room whose every change is in the audit log.

    Django tells three methods of whatever people add, change and delete, on all of its pages. They
    are answered here, in the transaction of the change; ``noted_by_services`` names what a room
    does through services, which note it themselves.
    """

    noted_by_services: frozenset[str] = frozenset()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Say whether a list may be narrowed so: by what it shows and offers, and no hash.

        Django narrows it by any field of a row; by a prefix at a time, that tells what is in it.
        """
        offered = [*self.get_list_display(request), *self.get_search_fields(request)]
        offered += [self.date_hierarchy, self.opts.pk.name]
        for filtered in self.get_list_filter(request):
            offered.append(filtered[0] if isinstance(filtered, tuple) else filtered)
        known = {name.lstrip("^=@").split("__")[0] for name in offered if isinstance(name, str)}
        is_offered = lookup.split("__", maxsplit=1)[0] in known | {"pk"}
        return is_offered and super().lookup_allowed(lookup, value, request)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Note that something was added."""
        self._record("create", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Note that something was changed, and which fields."""
        self._record("change", obj, fields=changed_fields(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Model]) -> Any:
        """Note that things are deleted, while they are still there."""
        for thing in queryset:
            self._record("delete", thing)
        return super().log_deletions(request, queryset)

    def add_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Add something in one transaction with its entry, also where a subclass has its own."""
        if request.method not in CHANGING:
            return super().add_view(request, *args, **options)
        with recorded():
            return super().add_view(request, *args, **options)

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Add or change something in one transaction with its entry."""
        if request.method not in CHANGING:
            return super().changeform_view(request, *args, **options)
        with recorded():
            return super().changeform_view(request, *args, **options)

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Delete something in one transaction with its entry."""
        if request.method not in CHANGING:
            return super().delete_view(request, *args, **options)
        with recorded():
            return super().delete_view(request, *args, **options)

    def changelist_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Delete what was selected in one transaction; other actions have their own."""
        if request.POST.get("action") != "delete_selected":
            return super().changelist_view(request, *args, **options)
        with recorded():
            return super().changelist_view(request, *args, **options)

    def do_each(
        self,
        request: HttpRequest,
        things: Iterable[M],
        do: Callable[[M], Any],
        outcome: Callable[[Any], str],
    ) -> None:
        """Do one thing with each of those that were selected, and say how each went.

        Parameters
        ----------
        do : callable
            A service; its errors are told, and the next one follows.
        outcome : callable
            Returns what is said of what the service returned.
        """
        for thing in things:
            try:
                done = do(thing)
            except NeuraScaleError as error:
                advice = error.details.get("suggestion", "")
                self.message_user(request, f"{thing}: {error} {advice}", messages.ERROR)
            else:
                self.message_user(request, f"{thing}: {outcome(done)}.", messages.SUCCESS)

    def _record(self, what: str, thing: Model, **details: Any) -> None:
        if what in self.noted_by_services:
            return
        study = thing if self.opts.model_name == "study" else None
        record(f"{self.opts.model_name}.{what}", thing, study=study, **details)


class ReadOnlyAdmin(AuditedAdmin):
    """A room in which one may look and not touch."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say no."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say no."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say no."""
        return False


def changed_fields(message: Any) -> list[str]:
    """Return the names of the fields in what Django says of a change; never their values."""
    if not isinstance(message, list):
        return []
    return [name for said in message for name in said.get("changed", {}).get("fields", [])]


class LoginForm(AuthenticationForm):
    """The portal's login, at which nobody guesses quickly."""

    def clean(self) -> dict[str, Any]:
        """Check name and password, unless too many were wrong lately."""
        try:
            with guarded_login(self.cleaned_data.get("username", "")):
                cleaned: dict[str, Any] = super().clean()
        except TooManyAttemptsError as error:
            raise ValidationError(told_to_wait(error), code="too_many_attempts") from None
        return cleaned


@contextmanager
def guarded_login(username: str) -> Iterator[None]:
    """Let somebody try a password, which is wrong if what is inside raises `ValidationError`.

    Raises
    ------
    TooManyAttemptsError
        If there were too many wrong ones lately.
    """
    guard, address = current_guard(), actor.edge().address
    name = f"login {username}"
    guard.check(name, address)
    try:
        yield
    except ValidationError:
        guard.failed(name, address)
        raise
    guard.succeeded(name, address)


def told_to_wait(error: TooManyAttemptsError) -> str:
    """Return what people are told who have to wait."""
    return f"Too many attempts. Try again in {error.details['retry_after']} seconds."
