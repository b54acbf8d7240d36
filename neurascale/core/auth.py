"""Who is asking, and what they may do: tokens, scopes, roles.

Programs are rows of `neurascale.core.models.Client` and show a short-lived JWT; people are Django
users of the portal and show their session. Both are a *principal*: `request.user` in a view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Exists, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import Token

from neurascale.core.credentials import API_KEY_PREFIX, challenge
from neurascale.core.errors import ForbiddenError, InvalidError, NotAuthenticatedError
from neurascale.core.models import Client, RevokedToken, clients_at, make_public_id
from neurascale.core.prepared import Prepared, Slot
from neurascale.core.signatures import Signatures

if TYPE_CHECKING:
    # That module looks for this project's classes while it is imported: a circle at run time.
    from rest_framework.views import APIView

Principal = Client | AbstractBaseUser

URL_PARAMETERS = ("token", "access_token")  # the second is RFC 6750's, section 2.3
CLOCK_SKEW_SECONDS = 5  # between the hosts of a lab


class InvalidTokenError(NotAuthenticatedError):
    """The token is forged, expired, withdrawn, of another kind, or in the wrong place."""

    code = "INVALID_TOKEN"


class MissingScopeError(ForbiddenError, PermissionDenied):
    """The principal is known and lacks a scope.

    Django's error too: it is what REST framework expects of a permission, where it asks on its own
    account which methods to describe in the answer to OPTIONS.
    """


# --- What one may do -----------------------------------------------------------------------------


class Scope(StrEnum):
    """The closed vocabulary of what a principal may do."""

    DEVICES_READ = "devices:read"
    DEVICES_CONTROL = "devices:control"
    INGEST_WRITE = "ingest:write"
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    MODELS_PREDICT = "models:predict"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    PROCESSING_RUN = "processing:run"
    ADMIN = "admin"


NOTHING: frozenset[Scope] = frozenset()
EVERYTHING = frozenset(Scope)
_VIEWER = frozenset(
    {Scope.DEVICES_READ, Scope.SESSIONS_READ, Scope.MODELS_READ, Scope.DATASETS_READ}
)
_OPERATOR = _VIEWER | {Scope.DEVICES_CONTROL, Scope.INGEST_WRITE, Scope.SESSIONS_WRITE}
_RESEARCHER = _OPERATOR | {
    Scope.MODELS_WRITE,
    Scope.MODELS_PREDICT,
    Scope.DATASETS_WRITE,
    Scope.PROCESSING_RUN,
}
ROLES = {
    "viewer": _VIEWER,
    "operator": _OPERATOR,
    "researcher": _RESEARCHER,
    "admin": EVERYTHING,
}


def expand_scopes(names: Iterable[str], *, field: str = "scopes") -> frozenset[Scope]:
    """Return the scopes that names of scopes and roles stand for; ``"all"`` is every one.

    Raises
    ------
    InvalidError
        If a name is neither a scope nor a role; the details list both, under the field's name.
    """
    granted: set[Scope] = set()
    for name in names:
        if name == "all":
            granted |= EVERYTHING
        elif name in ROLES:
            granted |= ROLES[name]
        elif name in EVERYTHING:
            granted.add(Scope(name))
        else:
            known = [*ROLES, "all", *map(str, Scope)]
            raise InvalidError(
                f"{name!r} is neither a scope nor a role",
                fields={field: [f"Each is one of {', '.join(known)}."]},
            )
    return frozenset(granted)


def scopes_of(principal: Principal | AnonymousUser | None) -> frozenset[Scope]:
    """Return what a principal may do now.

    A client has the scopes of its row, narrowed to those of the token it showed: a scope that was
    taken away is gone at once. A superuser of the portal may do everything, other staff what the
    roles allow that their groups are named after, and at least what a viewer may.
    """
    if isinstance(principal, Client):
        granted = _with_implied(*principal.scopes)
        if principal.claims is not None:
            granted &= _with_implied(*str(principal.claims.get("scope", "")).split())
        return granted
    if (
        not isinstance(principal, AbstractBaseUser)
        or not getattr(principal, "is_staff", False)
        or not principal.is_active
    ):
        return NOTHING
    if getattr(principal, "is_superuser", False):
        return EVERYTHING
    groups = [group.name for group in principal.groups.all()]  # type: ignore[attr-defined]
    return _VIEWER.union(*(ROLES[name] for name in groups if name in ROLES))


@lru_cache(maxsize=256)
def _with_implied(*names: str) -> frozenset[Scope]:
    """Return the scopes among names, and with ``admin`` every one."""
    granted = frozenset(scope for scope in Scope if scope in names)
    return EVERYTHING if Scope.ADMIN in granted else granted


def lacking(principal: Principal | AnonymousUser | None, missing: Iterable[str]) -> dict[str, Any]:
    """Return the details of the error of somebody who lacks scopes, wherever it is told."""
    return {
        "missing": sorted(missing),
        "granted": sorted(scopes_of(principal)),
        "suggestion": "Ask the lab's administrator for the scope, then get a new token.",
    }


class HasScope(BasePermission):
    """Let in whoever has the scopes that the view says it requires.

    A view declares ``required_scopes``, a mapping from action (``"list"``) or method (``"GET"``) to
    a scope or a tuple of scopes. HEAD and OPTIONS are as free as GET. A view that forgot to
    say lets nobody in.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return whether somebody is there at all; raise if they may not do this.

        Raises
        ------
        MissingScopeError
            If a scope is missing; the details say which.
        """
        if request.user is None:
            return False
        if not _is_served(request, view):
            return True  # the view answers 405, which is nobody's secret
        missing = required_scopes(request, view) - scopes_of(request.user)
        if missing:
            raise MissingScopeError(
                f"{request.method} {request.path} needs the scope {' and '.join(sorted(missing))}",
                **lacking(request.user, missing),
            )
        return True


def _is_served(request: Request, view: APIView) -> bool:
    return hasattr(view, str(request.method).lower())


def required_scopes(request: Request, view: APIView) -> frozenset[Scope]:
    """Return the scopes that a request to a view needs.

    Raises
    ------
    ImproperlyConfigured
        If the view does not say.
    """
    declared: Mapping[str, Any] = getattr(view, "required_scopes", {})
    keys: list[Any] = [getattr(view, "action", None), request.method]
    if request.method in {"HEAD", "OPTIONS"}:
        keys += ["retrieve", "list", "GET"]
    for key in keys:
        if key in declared:
            needed = declared[key]
            return frozenset({Scope(needed)} if isinstance(needed, str) else map(Scope, needed))
    if request.method == "OPTIONS":
        return NOTHING
    raise ImproperlyConfigured(f"{type(view).__name__} requires no scope for {keys[0] or keys[1]}")


# --- Tokens --------------------------------------------------------------------------------------


@cache
def _backend(secret_key: str) -> Signatures:
    """Return what signs and reads tokens: HS256 and nothing else, with a key of its own."""
    key = salted_hmac("neurascale.token", "", secret=secret_key, algorithm="sha256").hexdigest()
    return Signatures(
        "HS256", key, audience="neurascale", issuer="neurascale", leeway=CLOCK_SKEW_SECONDS
    )


_CLIENT = Prepared(
    lambda: (
        clients_at(Slot("now"))
        .filter(
            ~Exists(RevokedToken.objects.filter(Q(jti=Slot("name")) | Q(jti=Slot("other_name")))),
            public_id=Slot("public_id"),
        )
        .order_by()
    )
)


class ClientToken(Token):
    """A signed claim to be a client: sub, scope, jti, pair, aud, iss, iat, exp, token_type."""

    def get_token_backend(self) -> Signatures:
        """Return the backend of the project."""
        return _backend(settings.SECRET_KEY)

    def set_iat(self, claim: str = "iat", at_time: datetime | None = None) -> None:
        """Note when the token was made, to the microsecond: withdrawing must not miss a token."""
        self.payload[claim] = (at_time or self.current_time).timestamp()

    @classmethod
    def of(cls, client: Client, scopes: Iterable[str], *, pair: str) -> ClientToken:
        """Return a fresh token for a client; ``pair`` is what it shares with its sister."""
        token = cls()
        token["sub"] = client.public_id
        token["pair"] = pair
        token["scope"] = " ".join(sorted(scopes))
        return token

    @classmethod
    def read(cls, encoded: str) -> ClientToken:
        """Return the token that a text is.

        Raises
        ------
        InvalidTokenError
            If it is none, of another kind, forged or expired.
        """
        try:
            return cls(encoded)  # type: ignore[arg-type]  # a text is what simplejwt reads
        except ExpiredTokenError:
            _refuse("The token has expired", "Refresh it, or get a new one, at /v1/auth/token.")
        except TokenError:
            if encoded.startswith(API_KEY_PREFIX):
                _refuse("That is an API key", "Send it to POST /v1/auth/token to get a token.")
            _refuse(f"That is no valid {cls.token_type} token", "Get one at /v1/auth/token.")

    def client(self) -> Client:
        """Return the client that the token was made for, with the token's claims on it.

        Raises
        ------
        InvalidTokenError
            If the client is gone, switched off or expired, or the token was withdrawn.
        """
        # Withdrawing counts at once, so this is asked for each request and never remembered.
        names = names_of(self.payload)
        client: Client | None = _CLIENT.first(
            public_id=self["sub"], now=timezone.now(), name=names[0], other_name=names[-1]
        )
        if client is None or is_withdrawn(self.payload, client.tokens_valid_after):
            _refuse("The token has been withdrawn", "Get a new one at /v1/auth/token.")
        client.claims = self.payload
        return client


class AccessToken(ClientToken):
    """Good for requests, for half an hour."""

    token_type = "access"  # noqa: S105 - no secret
    lifetime = timedelta(seconds=settings.ACCESS_TOKEN_SECONDS)


class RefreshToken(ClientToken):
    """Good once, within a week, for another pair of tokens."""

    token_type = "refresh"  # noqa: S105 - no secret
    lifetime = timedelta(seconds=settings.REFRESH_TOKEN_SECONDS)


def names_of(claims: Mapping[str, Any]) -> list[str]:
    """Return the names under which a token may have been withdrawn by itself."""
    return [str(claims[name]) for name in ("jti", "pair") if name in claims]


def is_withdrawn(claims: Mapping[str, Any], valid_after: datetime | None) -> bool:
    """Tell whether a token was made before its client's tokens were withdrawn."""
    return valid_after is not None and claims["iat"] < valid_after.timestamp()


def _refuse(message: str, suggestion: str) -> NoReturn:
    raise InvalidTokenError(message, suggestion=suggestion) from None


def issue_tokens(
    client: Client, scopes: Iterable[str] | None = None, *, pair: str | None = None
) -> dict[str, Any]:
    """Return the contract's answer to a good request for a token.

    Parameters
    ----------
    client : Client
        Has proved who it is.
    scopes : iterable of str, optional
        Those of the client by default; more than it has are of no use.
    pair : str, optional
        What all tokens of one grant share, those they are refreshed with included.
    """
    granted = scopes_of(client) if scopes is None else frozenset(scopes)
    pair = pair or make_public_id("pair_")
    return {
        "access_token": str(AccessToken.of(client, granted, pair=pair)),
        "token_type": "Bearer",
        "expires_in": settings.ACCESS_TOKEN_SECONDS,
        "refresh_token": str(RefreshToken.of(client, granted, pair=pair)),
        "scope": " ".join(sorted(granted)),
    }


def authenticate_token(token: str) -> Client:
    """Return the client that an access token speaks for, one look-up in the database.

    ``client.claims["exp"]`` says until when it does, in seconds since the epoch; ask again later
    to learn of a withdrawal.

    Raises
    ------
    InvalidTokenError
        If the token is no valid access token, or was withdrawn.
    """
    return AccessToken.read(token).client()


def refuse_token_in_url(query: Mapping[str, Any]) -> None:
    """Raise if a URL's query holds a token: URLs end up in logs, histories and referrers.

    Raises
    ------
    InvalidTokenError
        If one of `URL_PARAMETERS` is there, whatever its value.
    """
    for name in URL_PARAMETERS:
        if name in query:
            _refuse(
                f"A token in the URL (?{name}=) is refused, because URLs end up in logs",
                "Send it in the header Authorization: Bearer; get a new one, this one was shown.",
            )


def client_of(request: HttpRequest) -> Client | None:
    """Return the client whose token a request shows, None if it shows none.

    Asked twice, by the limits and by the view, it looks into the database once.

    Raises
    ------
    InvalidTokenError
        If a token is shown that does not hold, or one is in the URL.
    """
    known: Client | None = getattr(request, "neurascale_client", None)
    if known is None:
        refuse_token_in_url(request.GET)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        known = authenticate_token(token.strip())
        request.neurascale_client = known  # type: ignore[attr-defined]
    return known


def principal_of(request: HttpRequest) -> Principal | None:
    """Return who is behind a request: a client by its token, else a person by the session.

    Raises
    ------
    InvalidTokenError
        If a token is shown that does not hold, or one is in the URL.
    """
    client = client_of(request)
    if client is not None:
        return client
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated and user.is_active else None


# --- Authentication in REST framework ------------------------------------------------------------


class ClientTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <access token>``."""

    def authenticate(self, request: Request) -> tuple[Client, Mapping[str, Any] | None] | None:
        """Return the client and the claims of its token; None if no token was sent.

        Raises
        ------
        InvalidTokenError
            If one was sent that does not hold, or that is in the URL.
        """
        client = client_of(request._request)
        return None if client is None else (client, client.claims)

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return challenge()


class PortalSessionAuthentication(SessionAuthentication):
    """The session of a person in the portal; changes need the CSRF token too."""
