"""Guessing of secrets and passwords is slowed down, for all processes together.

Failures are counted, and nothing else, in moving windows on Valkey: by (name, address), by address
and, laxly, by name. Too many, and the next attempt has to wait until the oldest one is forgotten.
The answer "wrong" is given only to an attempt whose failure was counted, so that however many come
at once, no more than the limit learn that they were wrong.

Nobody can lock a client out by failing in its name from elsewhere: the count by name concerns only
addresses from which the name has failed itself and has not succeeded in the last month, and it
empties within a minute.

While Valkey is away each process counts for itself, and says so in the log.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

from django.conf import settings
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from neurascale.core.errors import TooManyError

log = logging.getLogger(__name__)
T = TypeVar("T")

PAIR = parse_many("5 per minute; 20 per hour; 60 per day")
ADDRESS = parse_many("30 per minute; 150 per hour")
NAME = parse_many("60 per minute")
KNOWN_SECONDS = 30 * 24 * 3600  # how long an address is remembered from which a name succeeded
VALKEY_SECONDS = 1.0
COMPLAINT_SECONDS = 60.0

_Window = tuple[RateLimitItem, str]


class TooManyAttemptsError(TooManyError):
    """Secrets were wrong too often; the right one has to wait as well."""


class Guard:
    """Counts failures and says who has to wait.

    Parameters
    ----------
    url : str
        Of Redis or Valkey.
    prefix : str
        Of its keys.
    """

    def __init__(self, url: str, *, prefix: str = "neurascale-guard") -> None:
        self._shared = RedisStorage(
            url.replace("unix://", "redis+unix://"),
            key_prefix=prefix,
            wrap_exceptions=True,
            socket_timeout=VALKEY_SECONDS,
            socket_connect_timeout=VALKEY_SECONDS,
        )
        self._own = MemoryStorage()
        self._complained_at = -math.inf

    def check(self, name: str, address: str) -> None:
        """Raise unless an attempt in a name, from an address, may be made now.

        Raises
        ------
        TooManyAttemptsError
            With the seconds to wait in ``details["retry_after"]``.
        """
        self._with_storage(lambda storage: self._check(storage, name, address))

    def failed(self, name: str, address: str) -> None:
        """Count a failure; if others have used up the limit meanwhile, that is the answer.

        Raises
        ------
        TooManyAttemptsError
            In the place of saying that the attempt was wrong.
        """
        self._with_storage(lambda storage: self._count(storage, name, address))

    def succeeded(self, name: str, address: str) -> None:
        """Remember that a name is at home at an address."""
        key = _key(name, address)
        self._with_storage(lambda storage: storage.incr(f"known/{key}", KNOWN_SECONDS))

    # --- on one of the two storages --------------------------------------------------------------

    def _check(self, storage: RedisStorage | MemoryStorage, name: str, address: str) -> None:
        limiter = MovingWindowRateLimiter(storage)
        windows = _windows(name, address)
        if not _is_suspect(storage, name, address):
            windows = windows[: -len(NAME)]
        full = [
            limiter.get_window_stats(item, key).reset_time
            for item, key in windows
            if not limiter.test(item, key)
        ]
        if full:
            raise _wait(max(full) - time.time())

    def _count(self, storage: RedisStorage | MemoryStorage, name: str, address: str) -> None:
        limiter = MovingWindowRateLimiter(storage)
        is_suspect = _is_suspect(storage, name, address)
        for item, key in _windows(name, address):
            if not limiter.hit(item, key) and (item not in NAME or is_suspect):
                self._check(storage, name, address)
                raise _wait(1.0)  # the window was full just now

    def _with_storage(self, work: Callable[[RedisStorage | MemoryStorage], T]) -> T:
        """Do something on Valkey; in this process's memory while Valkey is away."""
        try:
            return work(self._shared)
        except StorageError as error:
            now = time.monotonic()
            if now - self._complained_at > COMPLAINT_SECONDS:
                self._complained_at = now
                log.warning(
                    "Wrong secrets are counted in each process by itself, because Valkey is away: "
                    "%s",
                    error.storage_error,
                )
            return work(self._own)


def _windows(name: str, address: str) -> list[_Window]:
    """Return what an attempt counts in, the narrowest first, those by name alone last."""
    windows = [(item, f"pair/{_key(name, address)}") for item in PAIR]
    windows += [(item, f"address/{_key('', address)}") for item in ADDRESS]
    return windows + [(item, f"name/{_key(name, '')}") for item in NAME]


def _is_suspect(storage: RedisStorage | MemoryStorage, name: str, address: str) -> bool:
    """Tell whether a name failed from an address lately, and has never succeeded from there."""
    pair = _key(name, address)
    if storage.get(f"known/{pair}"):
        return False
    longest = max(PAIR)
    key = longest.key_for(f"pair/{pair}")
    return bool(storage.get_moving_window(key, longest.amount, longest.get_expiry())[1])


def _wait(seconds: float) -> TooManyAttemptsError:
    retry_after = max(math.ceil(seconds), 1)
    return TooManyAttemptsError(
        f"Too many wrong secrets came from here; the next attempt may be made in {retry_after} s",
        retry_after=retry_after,
        suggestion="Wait, then send the right one; it is of no use to try in between.",
    )


def _key(name: str, address: str) -> str:
    """Return a short key; hashed, because people put secrets into the wrong field."""
    return hashlib.sha256(f"{name}\n{network_of(address)}".encode()).hexdigest()[:32]


def network_of(address: str) -> str:
    """Return whose an address is: an IPv6 customer has 2**64 of them."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    return str(ip.ipv4_mapped or ip_network((ip, 64), strict=False))


@cache
def _guard(url: str) -> Guard:
    return Guard(url)


def current_guard() -> Guard:
    """Return the guard of this process."""
    return _guard(settings.REDIS_URL)
