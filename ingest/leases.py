"""Who serves a stream: a lease that its holder renews, and that anybody may take when it ends.

A lease also ends when the process that holds it is gone, so that recording goes on at once after a
crash on the same host. Every append is fenced by it: see `ingest.store`.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from ingest.errors import LeaseLostError
from ingest.models import Stream
from neurascale.core.host import start_time


def new_holder() -> str:
    """Return a name for a new lease: host, process, when the process began, and a random part."""
    pid = os.getpid()
    return f"{settings.NEURASCALE_HOST}|{pid}|{start_time(pid)}|{uuid.uuid4().hex[:8]}"


def holder_lives(holder: str) -> bool:
    """Tell whether the process behind a lease may still be there; of other hosts we cannot tell."""
    host, pid, began, _ = holder.split("|")
    return host != settings.NEURASCALE_HOST or start_time(int(pid)) == began


def is_free(stream: Stream, now: datetime) -> bool:
    """Tell whether a stream's lease may be taken."""
    if not stream.lease_holder or stream.lease_until is None or stream.lease_until < now:
        return True
    return not holder_lives(stream.lease_holder)


def claim(stream_pk: int) -> tuple[Stream, str] | None:
    """Take the lease of a stream that should run and that nobody serves.

    Returns
    -------
    tuple of (Stream, str) or None
        The stream and the holder's name for `renew`; None if there is nothing to do.
    """
    now = timezone.now()
    stream = wanted_streams().filter(pk=stream_pk).first()
    if stream is None or not is_free(stream, now):
        return None
    holder = new_holder()
    taken = (
        wanted_streams()
        .filter(pk=stream_pk, lease_holder=stream.lease_holder)
        .update(lease_holder=holder, lease_until=_until(now))
    )
    if not taken:
        return None
    stream.refresh_from_db()
    return stream, holder


def is_wanted(stream_pk: int, holder: str) -> bool:
    """Tell whether the stream should go on.

    Raises
    ------
    LeaseLostError
        If somebody else has the lease now.
    """
    wanted, current = Stream.objects.values_list("wanted", "lease_holder").get(pk=stream_pk)
    if current != holder:
        raise LeaseLostError(f"{current or 'nobody'} holds the lease of {holder} now")
    return bool(wanted == Stream.Wanted.RUNNING)


def renew(stream_pk: int, holder: str, *, quality: dict[str, Any] | None) -> None:
    """Hold the lease a little longer, and leave word of the signal's quality with it."""
    Stream.objects.filter(pk=stream_pk, lease_holder=holder).update(
        lease_until=_until(timezone.now()), quality=quality
    )


def release(stream_pk: int, holder: str) -> None:
    """Give the lease back, so that the next claim need not wait."""
    Stream.objects.filter(pk=stream_pk, lease_holder=holder).update(
        lease_holder="", lease_until=None
    )


def wanted_streams() -> QuerySet[Stream]:
    """Return the streams that should run, served or not."""
    return Stream.objects.filter(wanted=Stream.Wanted.RUNNING, origin=Stream.Origin.BOARD)


def _until(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.LEASE_SECONDS)
