"""How often a client may ask: two buckets of requests, counted for all processes in Valkey.

A request counts in one bucket, that of its path: ``standard``, or ``bulk`` where the view says so.
(The third limit, open WebSocket subscriptions, is not about how often: `neurascale.core.seats`.)

A bucket is a *fixed window that begins with its first request*: a counter and the moment it ends.
One script counts and tells both, in one round trip, so among any number of processes exactly
``limit`` requests of a window are answered, and the headers tell the whole truth: so many are left
until then, and then all are there again. What it allows is twice the limit around the end of a
window, to who saved it up. A moving window would not; but there is no moment at which it is full
again, so ``X-RateLimit-Reset`` would have no meaning, and it keeps a thousand time stamps a client
instead of a number. The `limits` library has both; here it reads the settings (``"1000/hour"``).
Its counters in Valkey take three round trips for what the headers say, with other requests
in between, and round the end to a second.

While Valkey is away each process counts alone: a client may then do more than it should, and
nobody less.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from limits import RateLimitItem, parse

from neurascale.core.auth import Principal
from neurascale.core.errors import TooManyError
from neurascale.core.models import Client
from neurascale.core.shared import AWAY, PREFIX, Lines, Outage, Script

MAX_REMEMBERED = 10_000  # clients that a process counts alone, before it forgets windows that ended


class Bucket(StrEnum):
    """The kinds of requests that are counted apart."""

    STANDARD = "standard"
    BULK = "bulk"  # ingestion, imports, exports, filter jobs


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a client has left of a bucket.

    Parameters
    ----------
    bucket : Bucket
        Which one.
    limit, remaining : int
        Requests a window, and those left of it.
    resets_at : int
        When all are there again, in seconds since the epoch.
    wait_seconds : int
        How long until then, as the host of Valkey sees it.
    is_exceeded : bool
        Whether this request was one too many.
    """

    bucket: Bucket
    limit: int
    remaining: int
    resets_at: int
    wait_seconds: int
    is_exceeded: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The three headers of a limited path."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.resets_at),
        }


class RateLimitExceededError(TooManyError):
    """The client has used up its requests of this window."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            f"{allowance.limit} {allowance.bucket} requests were made, and that is the limit; "
            f"there are more in {allowance.wait_seconds} s",
            bucket=allowance.bucket,
            limit=allowance.limit,
            retry_after=allowance.wait_seconds,
            suggestion="Wait for as long as Retry-After says; send fewer and larger requests.",
        )
        self.allowance = allowance


def charge(principal: Principal, bucket: Bucket = Bucket.STANDARD) -> Allowance:
    """Count a request, and return what is left.

    Parameters
    ----------
    principal : Client or user
        Who is asking.
    bucket : Bucket
        What kind of request it is.

    Raises
    ------
    RateLimitExceededError
        If it is one too many; its ``allowance`` has the headers.
    """
    rate = rate_of(bucket)
    key = f"{PREFIX}limit:{bucket}:{rate.get_expiry()}:{owner_of(principal)}"
    count, left_ms, ends_ms = counters(settings.REDIS_URL).count(key, 1000 * rate.get_expiry())
    allowance = Allowance(
        bucket,
        limit=rate.amount,
        remaining=max(0, rate.amount - count),
        resets_at=math.ceil(ends_ms / 1000),
        wait_seconds=max(1, math.ceil(left_ms / 1000)),
        is_exceeded=count > rate.amount,
    )
    if allowance.is_exceeded:
        raise RateLimitExceededError(allowance)
    return allowance


async def charge_async(principal: Principal, bucket: Bucket = Bucket.STANDARD) -> Allowance:
    """Do as `charge` does, from an event loop."""
    return await sync_to_async(charge, thread_sensitive=False)(principal, bucket)


def untouched(bucket: Bucket = Bucket.STANDARD) -> Allowance:
    """Return what somebody has who did not ask yet: what is told to those who are nobody."""
    rate = rate_of(bucket)
    ends = math.ceil(time.time()) + rate.get_expiry()
    return Allowance(bucket, rate.amount, rate.amount, ends, rate.get_expiry())


def owner_of(principal: Principal | None) -> str:
    """Return whose requests, and whose subscriptions, are counted together."""
    if isinstance(principal, Client):
        return principal.public_id
    return f"user {principal and principal.pk}"


def rate_of(bucket: Bucket) -> RateLimitItem:
    """Return how many requests of a bucket there are in which time.

    Raises
    ------
    ImproperlyConfigured
        If the setting cannot be read.
    """
    return _read_rate(settings.RATE_LIMITS[bucket])


@cache
def _read_rate(text: str) -> RateLimitItem:
    try:
        return parse(f"{text}/hour" if text.strip().isdigit() else text)
    except ValueError:
        raise ImproperlyConfigured(
            f"{text!r} is no rate limit; write it like 1000/hour, 20/minute or 5/second."
        ) from None


# --- Counting ------------------------------------------------------------------------------------

COUNT = Script("""
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    left = tonumber(ARGV[1])
end
return {count, left, redis.call('PEXPIRETIME', KEYS[1])}
""")


class Counters:
    """Counters with an end, kept in one Valkey.

    Parameters
    ----------
    url : str
        Of the Valkey.
    """

    def __init__(self, url: str) -> None:
        self._lines = Lines(url)
        self._outage = Outage("each process counts requests alone until it is back")
        self._lock = threading.Lock()
        self._own: dict[str, tuple[int, int]] = {}

    def count(self, key: str, window_ms: int) -> tuple[int, int, int]:
        """Count one, and return the count, the milliseconds left, and when it ends (epoch, ms)."""
        if self._outage.may_ask():
            try:
                counted = self._count_for_all(key, window_ms)
            except AWAY as error:
                self._outage.lost(error)
            else:
                self._outage.over()
                return counted
        return self._count_alone(key, window_ms)

    def _count_for_all(self, key: str, window_ms: int) -> tuple[int, int, int]:
        count, left_ms, ends_ms = self._lines.run(COUNT, keys=(key,), args=(window_ms,))
        return count, left_ms, ends_ms

    def _count_alone(self, key: str, window_ms: int) -> tuple[int, int, int]:
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            if len(self._own) >= MAX_REMEMBERED:
                self._own = {k: kept for k, kept in self._own.items() if kept[1] > now_ms}
            count, ends_ms = self._own.get(key, (0, 0))
            if ends_ms <= now_ms:
                count, ends_ms = 0, now_ms + window_ms
            self._own[key] = (count + 1, ends_ms)
        return count + 1, ends_ms - now_ms, ends_ms


@cache
def counters(url: str) -> Counters:
    """Return this process's way to the counters of a Valkey."""
    return Counters(url)


os.register_at_fork(after_in_child=counters.cache_clear)  # a connection has one process at its end
