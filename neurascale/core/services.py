"""Use cases of clients and their tokens: give out, change for new ones, withdraw, end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from neurascale.core import actor
from neurascale.core.audit import record, recorded
from neurascale.core.auth import (
    AccessToken,
    ClientToken,
    InvalidTokenError,
    Principal,
    RefreshToken,
    expand_scopes,
    issue_tokens,
    names_of,
    scopes_of,
)
from neurascale.core.credentials import (
    InvalidClientError,
    authenticate_client,
    hash_secret,
    make_secret,
)
from neurascale.core.errors import ForbiddenError, InvalidError
from neurascale.core.guessing import current_guard
from neurascale.core.models import Client, RevokedToken

# --- Tokens --------------------------------------------------------------------------------------


def grant_client_credentials(
    *, client_id: str, client_secret: str, scope: str | None = None
) -> dict[str, Any]:
    """Return tokens for a client that shows its secret.

    Parameters
    ----------
    client_id, client_secret : str
        As `manage.py create_client` printed them.
    scope : str, optional
        Names of scopes or roles with spaces between, to get a token that may less than the client.

    Raises
    ------
    InvalidClientError
        If no active client has that id and secret.
    TooManyAttemptsError
        If there were too many wrong secrets lately.
    InvalidError
        If a scope is asked for that the client does not have.
    """
    client = _proved_client(client_id, client_secret)
    tokens = issue_tokens(client, _narrowed(client, scope))
    with recorded():
        Client.objects.filter(pk=client.pk).update(last_used_at=timezone.now())
        record("token.grant", client)
    return tokens


def grant_refresh_token(*, refresh_token: str, scope: str | None = None) -> dict[str, Any]:
    """Return new tokens for a refresh token, which is good once.

    Raises
    ------
    InvalidTokenError
        If it is no refresh token, or was used, withdrawn or left to expire. One that was used
        already is in two hands: then all tokens that descend from the same grant end.
    InvalidError
        If a scope is asked for that the token does not have.
    """
    token = RefreshToken.read(refresh_token)
    try:
        client = token.client()
    except InvalidTokenError:
        _end_descendants(token)
        raise
    actor.speak_for(client)
    tokens = issue_tokens(client, _narrowed(client, scope), pair=token.payload.get("pair"))
    try:
        with recorded():
            _forget_expired()
            _revoke_names(token, [token["jti"]])
            Client.objects.filter(pk=client.pk).update(last_used_at=timezone.now())
            record("token.refresh", client)
    except IntegrityError:
        _end_descendants(token)
        raise InvalidTokenError(
            "The refresh token was used before, and each is good once",
            suggestion="Use the one that came with the newest access token, or the secret.",
        ) from None
    return tokens


def revoke_token(*, token: str, client_id: str, client_secret: str) -> None:
    """Withdraw one token for its owner (RFC 7009); with a refresh token goes the access token.

    A token that is none, or another client's, is answered alike: there is nothing to withdraw.

    Raises
    ------
    InvalidClientError, TooManyAttemptsError
        As for `grant_client_credentials`.
    """
    client = _proved_client(client_id, client_secret)
    read = _read_either(token)
    if read is None or read["sub"] != client.public_id:
        return
    names = names_of(read.payload) if isinstance(read, RefreshToken) else [str(read["jti"])]
    with recorded():
        _forget_expired()
        known = RevokedToken.objects.filter(jti__in=names).values_list("jti", flat=True)
        _revoke_names(read, set(names) - set(known))
        record("token.revoke", client)


def _read_either(token: str) -> ClientToken | None:
    """Return the refresh or access token that a text is."""
    for kind in (RefreshToken, AccessToken):
        try:
            return kind.read(token)
        except InvalidTokenError:
            continue
    return None


def _proved_client(client_id: str, client_secret: str) -> Client:
    """Return the client with that id and secret, and do not let anybody guess."""
    guard, address = current_guard(), actor.edge().address
    guard.check(client_id, address)
    try:
        client = authenticate_client(client_id, client_secret)
    except InvalidClientError:
        guard.failed(client_id, address)
        raise
    guard.succeeded(client_id, address)
    actor.speak_for(client)
    return client


def _revoke_names(token: ClientToken, names: Iterable[str]) -> None:
    """Refuse these tokens from now on, as long as any of them could be good."""
    expires_at = datetime.fromtimestamp(token["exp"], UTC)
    RevokedToken.objects.bulk_create(
        RevokedToken(jti=name, expires_at=expires_at) for name in names
    )


def _end_descendants(token: ClientToken) -> None:
    """Refuse what descends from the same grant as a token that was used (RFC 9700, 4.14.2)."""
    was_used = RevokedToken.objects.filter(jti=token["jti"]).exists()
    if not was_used or "pair" not in token.payload:
        return
    # A descendant may be as young as this moment.
    expires_at = timezone.now() + RefreshToken.lifetime
    with recorded():
        ended = RevokedToken.objects.filter(jti=token["pair"])
        if not ended.exists():
            RevokedToken.objects.bulk_create(
                [RevokedToken(jti=token["pair"], expires_at=expires_at)], ignore_conflicts=True
            )
            record("token.reuse", token["sub"])


def _forget_expired() -> None:
    RevokedToken.objects.filter(expires_at__lt=timezone.now()).delete()


def _narrowed(client: Client, scope: str | None) -> frozenset[str]:
    """Return the scopes that a new token gets."""
    granted = scopes_of(client)
    if scope is None:
        return granted
    wanted = expand_scopes(scope.split(), field="scope")
    if beyond := wanted - granted:
        raise InvalidError(
            f"The client does not have the scope {' or '.join(sorted(beyond))}",
            fields={"scope": [f"May be any of: {' '.join(sorted(granted))}."]},
        )
    return wanted


# --- Clients -------------------------------------------------------------------------------------


def change_client(*, client: Client, principal: Principal | None, **changes: Any) -> Client:
    """Change a client's name, scopes, is_active or expires_at; its tokens follow at once.

    Parameters
    ----------
    client : Client
        One that the principal may administer.
    principal : Client, user or None
        Who asks; None is the lab itself. It gives nothing that it does not have.

    Raises
    ------
    InvalidError
        If a scope is unknown.
    MayNotGrantError
        If the principal does not have a scope, or ends before the client does to which it gives a
        scope, or time, or which it switches on.
    """
    with recorded():
        client = Client.objects.select_for_update().get(pk=client.pk)
        gives = "expires_at" in changes or (changes.get("is_active") and not client.is_active)
        if "scopes" in changes:
            changes["scopes"] = grantable_scopes(principal, changes["scopes"], held=client.scopes)
            gives = gives or not set(changes["scopes"]) <= set(client.scopes)
        if gives:
            grantable_end(principal, changes.get("expires_at", client.expires_at))
        fields = sorted(changes)
        if changes.get("is_active") is False:
            changes["tokens_valid_after"] = timezone.now()  # not good again when it is switched on
        for name, value in changes.items():
            setattr(client, name, value)
        client.save(update_fields=list(changes))
        record("client.change", client, fields=fields)
    return client


def revoke_tokens(*, client: Client) -> None:
    """Withdraw every token that a client was given until now; its sockets end with them."""
    with recorded():
        client.tokens_valid_after = timezone.now()
        client.save(update_fields=["tokens_valid_after"])
        record("client.revoke", client)


def rotate_secret(*, client: Client, principal: Principal | None = None) -> str:
    """Give a client a new secret, withdraw its tokens, and return the secret: the only time.

    Raises
    ------
    MayNotGrantError
        If the client lives on when the principal, who gets to know the secret, has ended.
    """
    if principal != client:
        grantable_end(principal, client.expires_at)
    secret = make_secret()
    with recorded():
        client.secret_hash = hash_secret(secret)
        client.tokens_valid_after = timezone.now()
        client.save(update_fields=["secret_hash", "tokens_valid_after"])
        record("client.rotate", client)
    return secret


def delete_client(*, client: Client) -> None:
    """Forget a client; what it recorded belongs to its studies and stays."""
    with recorded():
        client.delete()
        record("client.delete", client)


class MayNotGrantError(ForbiddenError):
    """Somebody was to be given what the giver does not have."""


def grantable_scopes(
    principal: Principal | None, names: Iterable[str], *, held: Iterable[str] = ()
) -> list[str]:
    """Return the scopes that names stand for, if a principal may give them.

    Parameters
    ----------
    principal : Client, user or None
        Gives only what it has; the lab itself (None) has everything.
    names : iterable of str
        Of scopes and roles.
    held : iterable of str
        What whoever gets them has already, and may keep.

    Raises
    ------
    InvalidError, MayNotGrantError
        If a name is unknown, or a scope is more than the principal has.
    """
    scopes = expand_scopes(names)
    if principal is not None and (beyond := scopes - scopes_of(principal) - frozenset(held)):
        raise MayNotGrantError(
            f"You do not have the scope {' and '.join(sorted(beyond))} and cannot give it away",
            missing=sorted(beyond),
            granted=sorted(scopes_of(principal)),
        )
    return sorted(scopes)


def grantable_end(principal: Principal | None, expires_at: datetime | None) -> datetime | None:
    """Return when a client is to expire, if a principal may let it live so long.

    Raises
    ------
    MayNotGrantError
        If the principal itself ends before.
    """
    own_end = getattr(principal, "expires_at", None)
    if own_end is None:
        return expires_at
    if expires_at is None or expires_at > own_end:
        raise MayNotGrantError(
            f"You expire at {own_end.isoformat()} and cannot give access for longer",
            expires_at=own_end,
            suggestion="Give an expires_at that is not later.",
        )
    return expires_at
