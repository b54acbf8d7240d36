"""What the endpoints of tokens read, and what all that read have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

from django.core.validators import RegexValidator
from rest_framework import serializers

from neurascale.core.credentials import split_api_key

GRANTS = {
    "client_credentials": ("client_id", "client_secret"),
    "refresh_token": ("refresh_token",),
}
OPTIONAL = ("scope",)
CLIENT = {
    "id": "Public id of the client, with its `client_secret`.",
    "secret": "As it was shown when the client was made or its secret rotated: once.",
    "key": "Id and secret in one string (`ns_…`), in the place of both.",
}
KINDS: tuple[tuple[Any, tuple[type, ...], str], ...] = (
    (serializers.BooleanField, (bool,), "true or false"),
    (serializers.CharField, (str,), "a text"),
    (serializers.IntegerField, (int, float), "a number"),  # 2.0 is a whole number in JSON
    (serializers.FloatField, (int, float), "a number"),
    (serializers.ListField, (list,), "a list"),
    (serializers.DictField, (dict,), "an object"),
)


class Written:
    """A list on the wire, in the place of REST framework's list of serializers, for hot paths.

    Parameters
    ----------
    rows : iterable
        What is listed.
    write : callable
        Returns the wire form of one.
    """

    def __init__(self, rows: Iterable[Any], write: Callable[[Any], dict[str, Any]]) -> None:
        self.data = [write(row) for row in rows]


class MomentField(serializers.DateTimeField):
    """A moment with its zone: without one it would be another moment elsewhere."""

    def enforce_timezone(self, value: datetime) -> datetime:
        """Return the moment in UTC.

        Raises
        ------
        ValidationError
            If nobody said in which zone it is.
        """
        if value.tzinfo is None:
            raise serializers.ValidationError(
                "Must be ISO 8601 with a zone, such as 2026-01-01T00:00:00Z."
            )
        return super().enforce_timezone(value)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses what it does not know: a mistyped ``duration_minuts`` must not pass as nothing.

    Nor does it guess: ``"30"`` is no number, and 30 is no text. A subclass with ``is_json = False``
    reads a URL's query, where all is text.
    """

    is_strict = True
    is_json = True
    is_read = False  # whether each field was a value of its own

    def is_valid(self, *, raise_exception: bool = False) -> bool:
        """Tell whether the values are good; of a query, the error says what is accepted.

        Raises
        ------
        ValidationError
            If they are not, and it is wanted; of a query with a ``suggestion``.
        """
        try:
            return super().is_valid(raise_exception=raise_exception)
        except serializers.ValidationError as error:
            if not self.is_json:
                error.suggestion = self._advice(error.detail)  # type: ignore[attr-defined]
            raise

    def _advice(self, problems: Any) -> str:
        """Return what a query may ask, where it asked something else."""
        if self.is_read:  # the fields do not go together, and the problems say what would
            return " ".join(str(text) for texts in problems.values() for text in texts)
        known = {name: field for name, field in self.fields.items() if name in problems}
        told = [f"Send {name} as {_accepted(field)}." for name, field in known.items()]
        if len(known) < len(problems):
            told.append(f"What can be asked for is {', '.join(self.fields)}.")
        return " ".join(told)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the checked values.

        Raises
        ------
        ValidationError
            Naming what is unknown or wrong.
        """
        writable = [name for name, field in self.fields.items() if not field.read_only]
        if isinstance(data, Mapping) and (
            unknown := [name for name in data if name not in writable]
        ):
            problem = f"Cannot be set here; what can is {', '.join(writable)}."
            raise serializers.ValidationError({str(name): [problem] for name in unknown})
        if self.is_json and isinstance(data, Mapping):
            present = [(name, field) for name, field in self.fields.items() if name in data]
            odd = {name: list(_odd(field, data[name])) for name, field in present}
            if any(odd.values()):
                raise serializers.ValidationError({n: told for n, told in odd.items() if told})
        values: dict[str, Any] = super().to_internal_value(data)
        self.is_read = True
        return values


def _odd(field: Any, value: Any) -> Iterator[str]:
    """Yield what is wrong with the kind of a JSON value; null is for the field itself to judge."""
    if value is None:
        return
    for kind, types, name in KINDS:
        if isinstance(field, kind):
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                yield f"Must be {name}."
            elif isinstance(value, list):
                for inner in value:
                    yield from _odd(getattr(field, "child", None), inner)
            return


def _accepted(field: Any) -> str:
    """Return what a field of a query takes."""
    if isinstance(field, serializers.ChoiceField):
        return " or ".join(map(str, field.choices))
    if isinstance(field, serializers.RegexField):
        validators: list[Any] = [v for v in field.validators if isinstance(v, RegexValidator)]
        return f"a text like {' and '.join(v.regex.pattern for v in validators)}"
    kinds = [name for kind, _, name in KINDS if isinstance(field, kind)]
    kind = getattr(field, "accepts", kinds[0] if kinds else "a value")
    if isinstance(field, serializers.IntegerField):
        kind = "a whole number"
    limits = [getattr(field, name, None) for name in ("min_value", "max_value")]
    return kind if None in limits else f"{kind} from {limits[0]:.0f} to {limits[1]:.0f}"


class SecretField(serializers.CharField):
    """A text that is taken as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 4096, **options})


class Tokens(TypedDict):
    """What a program needs to use the API."""

    access_token: Annotated[str, "For `Authorization: Bearer`."]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, "Seconds."]
    refresh_token: Annotated[str, "Good once, for the next pair of tokens."]
    scope: Annotated[str, "What the token may do, with spaces between."]


class TokenRequestSerializer(serializers.Serializer[Any]):
    """A request for tokens (RFC 6749, sections 4.4 and 6), or an API key instead of both parts."""

    grant_type = serializers.ChoiceField(
        choices=list(GRANTS), required=False, help_text="Needed, unless there is an `api_key`."
    )
    client_id = SecretField(required=False, help_text=CLIENT["id"])
    client_secret = SecretField(required=False, help_text=CLIENT["secret"])
    api_key = SecretField(required=False, help_text=CLIENT["key"])
    refresh_token = SecretField(
        required=False, help_text="For `refresh_token`: the newest one; each is good once."
    )
    scope = SecretField(
        required=False,
        help_text="Scopes or roles with spaces between: for a token that may less.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Put the API key in the place of id and secret, and ask for what the grant needs."""
        if "api_key" in attrs:
            attrs.setdefault("grant_type", "client_credentials")
            attrs["client_id"], attrs["client_secret"] = split_api_key(attrs.pop("api_key"))
        grant = attrs.get("grant_type")
        if grant is None:
            known = " or ".join(GRANTS)
            raise serializers.ValidationError({"grant_type": f"Must be there: {known}."})
        missing = [name for name in GRANTS[grant] if name not in attrs]
        if missing:
            raise serializers.ValidationError(dict.fromkeys(missing, f"{grant} needs this."))
        return attrs

    @property
    def grant(self) -> str:
        """Which grant is asked for."""
        return str(self.validated_data["grant_type"])

    @property
    def arguments(self) -> dict[str, str]:
        """What the grant takes, and nothing else that was sent."""
        sent = self.validated_data
        return {name: sent[name] for name in (*GRANTS[self.grant], *OPTIONAL) if name in sent}


class RevocationRequestSerializer(serializers.Serializer[Any]):
    """A request to withdraw a token (RFC 7009, section 2.1), by the client that it was given to."""

    token = SecretField(help_text="A refresh token, with which its access token ends, or either.")
    token_type_hint = serializers.CharField(
        required=False, help_text="Of no use here: what kind of token it is can be seen."
    )
    client_id = SecretField(required=False, help_text=CLIENT["id"])
    client_secret = SecretField(required=False, help_text=CLIENT["secret"])
    api_key = SecretField(required=False, help_text=CLIENT["key"])

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Put the API key in the place of id and secret; what kind of token it is can be seen."""
        attrs.pop("token_type_hint", None)
        if "api_key" in attrs:
            attrs["client_id"], attrs["client_secret"] = split_api_key(attrs.pop("api_key"))
        missing = [name for name in ("client_id", "client_secret") if name not in attrs]
        if missing:
            raise serializers.ValidationError(dict.fromkeys(missing, "Must be there."))
        return attrs


class OutputSerializer(StrictSerializer):
    """In which form to answer."""

    is_json = False

    output = serializers.ChoiceField(
        choices=["json", "yaml"], required=False, help_text="The form, as in `Accept`."
    )
