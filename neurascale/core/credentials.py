"""Ids, secrets and API keys of clients: how they are made, kept and checked."""

from __future__ import annotations

import secrets

from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from neurascale.core.errors import NotAuthenticatedError
from neurascale.core.models import Client

API_KEY_PREFIX = "ns_"


class InvalidClientError(NotAuthenticatedError):
    """No client has that id and secret."""

    code = "INVALID_CLIENT"


def make_secret() -> str:
    """Return a fresh client secret: 256 random bits in 43 URL-safe letters."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return what is kept of a client's secret: HMAC-SHA256 keyed with ``SECRET_KEY``, in hex.

    A slow hash such as argon2 makes guessing expensive where people choose passwords. These
    secrets are 256 random bits: guessing is hopeless at any speed, and a slow hash would only
    give whoever floods the token endpoint a lever on the CPU. The key makes a stolen
    database useless to check guesses against.
    """
    return salted_hmac("neurascale.client_secret", secret, algorithm="sha256").hexdigest()


_NOBODYS_HASH = "0" * 64


def authenticate_client(client_id: str, secret: str) -> Client:
    """Return the client with that id and secret.

    An unknown id, a wrong secret and a client that is switched off or has expired take the same
    way, and so the same time: one look-up, one hash, one comparison in constant time.

    Raises
    ------
    InvalidClientError
        Always the same, whatever was wrong.
    """
    client = Client.objects.filter(public_id=client_id).first()
    kept = client.secret_hash if client else _NOBODYS_HASH
    fits = constant_time_compare(hash_secret(secret), kept)
    if client is None or not fits or not client.holds_at(timezone.now()):
        raise InvalidClientError(
            "No active client has this id and secret",
            suggestion="Check both; `manage.py create_client` makes a new client.",
        )
    return client


def make_api_key(client: Client, secret: str) -> str:
    """Return the one-string form of a client's id and secret: ``ns_<id>_<secret>``."""
    return f"{API_KEY_PREFIX}{client.public_id.removeprefix('cli_')}_{secret}"


def split_api_key(api_key: str) -> tuple[str, str]:
    """Return the client id and the secret in an API key; of no client if it is malformed."""
    name, _, secret = api_key.removeprefix(API_KEY_PREFIX).partition("_")
    return (f"cli_{name}" if api_key.startswith(API_KEY_PREFIX) else ""), secret


def challenge(error: str | None = None) -> str:
    """Return the ``WWW-Authenticate`` header of a 401 (RFC 6750, section 3)."""
    return 'Bearer realm="NeuraScale"' + (f', error="{error}"' if error else "")
