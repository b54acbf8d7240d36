"""People, API clients and the audit log in the portal."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from neurascale.core.audit import record, recorded
from neurascale.core.auth import Scope, scopes_of
from neurascale.core.credentials import make_api_key
from neurascale.core.guessing import TooManyAttemptsError
from neurascale.core.models import AuditEntry, Client
from neurascale.core.portal import AuditedAdmin, ReadOnlyAdmin, guarded_login, told_to_wait
from neurascale.core.services import revoke_tokens, rotate_secret

admin.site.unregister(User)
admin.site.unregister(Group)


class ClientForm(forms.ModelForm):
    """A client, with its scopes to be ticked."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    class Meta:
        model = Client
        fields = ("name", "scopes", "is_active", "expires_at")


@admin.register(Client)
class ClientAdmin(AuditedAdmin):
    """Programs that may use the API; `manage.py create_client` makes them and shows the secret.

    Only for who may do everything: whoever has a client's secret may do what the client may.
    """

    form = ClientForm
    list_display = ("name", "public_id", "is_active", "expires_at", "last_used_at", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name", "public_id")
    fields = (
        *("name", "public_id", "scopes", "is_active", "expires_at"),
        *("tokens_valid_after", "last_used_at"),
    )
    readonly_fields = ("public_id", "tokens_valid_after", "last_used_at")
    actions = ("rotate", "revoke")

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        """Save a client; one that is switched off loses its tokens for good."""
        if not obj.is_active:
            obj.tokens_valid_after = timezone.now()
        super().save_model(request, obj, form, change)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: a form could not show the secret once and never again."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say whether this person may do everything."""
        return Scope.ADMIN in scopes_of(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say whether this person may do everything."""
        return self.has_change_permission(request)

    @admin.action(
        description="New secret: shown once, ends the old one and all tokens",
        permissions=["change"],
    )
    def rotate(self, request: HttpRequest, clients: QuerySet[Client]) -> HttpResponse:
        """Give each client a new secret and show it, on this page and nowhere else."""
        shown = []
        for client in clients:
            secret = rotate_secret(client=client)
            key = make_api_key(client, secret)
            told = {"client_id": client.public_id, "client_secret": secret, "api_key": key}
            shown.append({"client": client, **told})
        context = {**self.admin_site.each_context(request), "title": "New secrets", "shown": shown}
        return TemplateResponse(
            request, "core/secrets.html", context, headers={"Cache-Control": "no-store"}
        )

    @admin.action(description="Withdraw all tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, clients: QuerySet[Client]) -> None:
        """Withdraw every token that each client was given until now."""
        for client in clients:
            revoke_tokens(client=client)
            self.message_user(request, f"{client}: its tokens are withdrawn.", messages.SUCCESS)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """What was done; `manage.py verify_audit` says whether it is all there."""

    list_display = ("sequence", "at", "actor_name", "verb", "object_id", "study_id", "address")
    list_filter = ("verb", "actor_kind")
    search_fields = ("verb", "actor_id", "actor_name", "object_id", "study_id", "request_id")
    date_hierarchy = "at"


class PeopleAdmin(AuditedAdmin):
    """A room in which it is said what people may: only for those who may do everything.

    Django lets whoever may change people change themselves, into superusers too.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say whether this person is a superuser."""
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say whether this person is a superuser."""
        return self.has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say whether this person is a superuser."""
        return self.has_add_permission(request)


LAST = "Nobody else can say what people may. Make another superuser first."


def is_last_superuser(*leaving: User) -> bool:
    """Tell whether there would be no superuser any more without these people."""
    superusers = User.objects.filter(is_superuser=True, is_active=True)
    gone = {user.pk for user in leaving}
    return superusers.filter(pk__in=gone).exists() and not superusers.exclude(pk__in=gone).exists()


class PersonForm(UserChangeForm):
    """A person, as long as somebody remains who may change people."""

    def clean(self) -> dict[str, Any] | None:
        """Return the values.

        Raises
        ------
        ValidationError
            If the last superuser would be none any more.
        """
        values = super().clean()
        stays = self.cleaned_data.get("is_superuser") and self.cleaned_data.get("is_active")
        if not stays and is_last_superuser(self.instance):
            raise ValidationError(LAST)
        return values


@admin.register(User)
class UserAdmin(PeopleAdmin, DjangoUserAdmin):
    """People who log in to the portal."""

    form = PersonForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would go with people; the last superuser is protected."""
        gone, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        if is_last_superuser(*objs):
            protected = [*protected, LAST]
        return gone, counts, forbidden, protected

    def user_change_password(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Set somebody's password in one transaction with its entry."""
        with recorded():
            return super().user_change_password(request, *args, **options)


@admin.register(Group)
class GroupAdmin(PeopleAdmin, DjangoGroupAdmin):
    """Groups of people."""


# --- Coming and going ----------------------------------------------------------------------------


@receiver(user_logged_in)
def note_login(user: User, **_: Any) -> None:
    """Note that somebody came in."""
    record("user.login", user)


@receiver(user_logged_out)
def note_logout(user: User | None, **_: Any) -> None:
    """Note that somebody left."""
    if user is not None:
        record("user.logout", user)


_password_change = admin.site.password_change


def password_change(
    request: HttpRequest, extra_context: dict[str, Any] | None = None
) -> HttpResponse:
    """Let people change their own password, in one transaction with its entry.

    Whoever sits down at somebody's screen does not guess the old one quickly.
    """
    if request.method != "POST":
        return _password_change(request, extra_context)
    name = request.user.get_username()
    try:
        with guarded_login(name), recorded():
            response = _password_change(request, extra_context)
            form = getattr(response, "context_data", {}).get("form")
            if form is not None and "old_password" in form.errors:
                raise _WrongPasswordError(response)
            if form is None:
                record("user.change", request.user, fields=["password"])
    except _WrongPasswordError as error:
        return error.response
    except TooManyAttemptsError as error:
        messages.error(request, told_to_wait(error))
        return redirect("admin:password_change")
    return response


class _WrongPasswordError(ValidationError):
    """The old password was not it; the page says so."""

    def __init__(self, response: TemplateResponse) -> None:
        super().__init__("wrong")
        self.response = response


admin.site.password_change = password_change  # type: ignore[method-assign, assignment]
