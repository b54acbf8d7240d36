"""``Idempotency-Key``: a request that is sent twice is done once, and answered the same twice.

A view is of one of four kinds:

``TOGETHER``
    Quick, and all it does is in the database. The claim to the key, the change and the kept answer
    are one transaction: whatever dies, either all of it is there or nothing. A second request with
    the key waits for the first one's transaction.
``LEASED``
    Waits for a board or a worker, and must hold no transaction meanwhile: SQLite has one
    writer, and the boards need it. The claim is a row of its own with a lease. A second
    request waits a moment for the answer, and is then told to come back. If the process dies, the
    key is free again when the lease has run out, and the repetition is done anew: such a view has
    to bear that, as starting what runs already does.
``OWN``
    Remembers keys itself, with what it stores and for as long (ingestion). What it refuses is kept
    here, and a key that was used elsewhere is known.
``NONE``
    Does nothing that a repetition could do twice: tokens.

Answers of 500 and above, and 429, are not kept: the repetition may fare better. Of an answer that
shows a secret (``Cache-Control: no-store``) only that it was given is kept, and the repetition is
told so: the secret would have to lie in the database. So it is with what shows a session that is
deleted, or a subject's that withdraws.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from neurascale.core.audit import recorded
from neurascale.core.bodies import OrjsonRenderer
from neurascale.core.errors import (
    IdempotencyConflictError,
    IdempotencyInProgressError,
    InvalidError,
)
from neurascale.core.logs import name_of
from neurascale.core.models import KeptAnswer
from neurascale.core.wire import dumps

MAX_KEY_LENGTH = 255
LEASE_SECONDS = 60.0  # longer than any view waits for a worker
PATIENCE_SECONDS = 2.0  # of a second request with the same key
RETRY_AFTER_SECONDS = 2
REPLAYED = "Idempotent-Replayed"
KEPT_HEADERS = ("Content-Type", "ETag", "Location", "Cache-Control")
NO_STORE = "no-store"

Act = Callable[[], Response]
Told = Callable[[Exception], Response]


class Idempotency(Enum):
    """How a view keeps its answers; see the module."""

    TOGETHER = "together"
    LEASED = "leased"
    OWN = "own"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that wants to be the first with its key.

    Parameters
    ----------
    principal : str
        Whose key it is.
    key : str
        As it was sent.
    request_hash : str
        Tells a repetition from another use of the key.
    holder : str
        This attempt, and no other.
    """

    principal: str
    key: str
    request_hash: str
    holder: str

    @classmethod
    def of(cls, request: Request, key: str) -> Claim:
        """Return the claim of a request; reads its body."""
        _ = request.data  # whoever reads the body notes its digest
        http = request._request
        digest = hashlib.sha256()
        for part in (
            str(http.method),
            http.get_full_path(),
            str(http.content_type),
            getattr(http, "body_digest", ""),
        ):
            digest.update(part.encode(errors="replace") + b"\n")
        return cls(name_of(request.user), key, digest.hexdigest(), uuid.uuid4().hex)


def key_of(request: Request) -> str | None:
    """Return the key of a request, None if it has none.

    Raises
    ------
    InvalidError
        If it is no key.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isprintable()):
        raise InvalidError(
            f"Idempotency-Key has {len(key)} characters",
            fields={"Idempotency-Key": [f"Must be 1-{MAX_KEY_LENGTH} printable characters."]},
        )
    return key


def is_kept(status: int) -> bool:
    """Tell whether an answer is given again."""
    return status < 500 and status != 429


def _refusal(error: Exception, told: Told) -> Response:
    """Return the response to an exception if it is given again; raise the exception if not."""
    response = told(error)
    if not is_kept(response.status_code):
        raise error
    return response


# --- Claim, change and answer in one transaction -------------------------------------------------


def answer_together(claim: Claim, act: Act, told: Told) -> HttpResponse:
    """Answer a request whose change is quick: all of it in one transaction.

    Parameters
    ----------
    claim : Claim
        Of the request.
    act : callable
        Does what was asked and returns the response.
    told : callable
        Returns the response to an exception, or raises it again.

    Raises
    ------
    IdempotencyConflictError
        If the key was used for another request.
    """
    with recorded():
        row = _claimed(claim)  # waits for the transaction of a twin
        if row.holder != claim.holder:
            return _replay(row, claim)
        try:
            with recorded():
                response = act()
        except Exception as error:
            response = _refusal(error, told)  # or the claim is rolled back with it
        return _keep(row, response)


# --- A claim with a lease ------------------------------------------------------------------------


def answer_leased(claim: Claim, act: Act, told: Told) -> HttpResponse:
    """Answer a request that waits for a board or a worker, holding no transaction.

    Parameters are those of `answer_together`.

    Raises
    ------
    IdempotencyConflictError
        If the key was used for another request.
    IdempotencyInProgressError
        If the first request with the key has no answer yet.
    """
    row = _lease(claim)
    if row.holder != claim.holder:
        return _replay(row, claim)
    mine = KeptAnswer.objects.filter(pk=row.pk, holder=claim.holder)
    try:
        response = act()
    except Exception as error:
        try:
            response = _refusal(error, told)
        except Exception:
            mine.delete()
            raise
    return _keep(row, response)


def _lease(claim: Claim) -> KeptAnswer:
    """Return the row of a key: with an answer, or held by this claim."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        row = _claimed(claim)
        if row.holder == claim.holder or row.status is not None:
            return row
        _check_same(row, claim)
        if row.lease_until < timezone.now():
            # Whoever held it is gone. One of those who see this is faster.
            KeptAnswer.objects.filter(pk=row.pk, holder=row.holder, status=None).update(
                holder=claim.holder, lease_until=_lease_end()
            )
        elif time.monotonic() > deadline:
            raise _in_progress(claim)
        else:
            time.sleep(0.02)


# --- Views that keep their own --------------------------------------------------------------------


def answer_owned(claim: Claim, act: Act, told: Told) -> HttpResponse | Response:
    """Answer a request whose view remembers what it did for a key, but not what it refused.

    Parameters are those of `answer_together`.

    Raises
    ------
    IdempotencyConflictError
        If the key was used for another request.
    IdempotencyInProgressError
        If it was used elsewhere, and has no answer yet.
    """
    kept = _rows(claim).filter(created_at__gte=_oldest()).first()
    if kept is not None:
        return _replay(kept, claim)
    try:
        return act()
    except IdempotencyConflictError:
        raise  # the key is that of something done, whose answer is the one to give again
    except Exception as error:
        response = _refusal(error, told)
        row = _claimed(claim)
        return _keep(row, response) if row.holder == claim.holder else _replay(row, claim)


# --- The row -------------------------------------------------------------------------------------


def _claimed(claim: Claim) -> KeptAnswer:
    """Return the row of a key, made by this claim if there was none or an old one."""
    rows = _rows(claim)
    rows.filter(created_at__lt=_oldest()).delete()
    fresh = KeptAnswer(
        principal=claim.principal,
        key=claim.key,
        request_hash=claim.request_hash,
        holder=claim.holder,
        lease_until=_lease_end(),
    )
    while True:
        # An insert that conflicts waits until the other's transaction is over.
        KeptAnswer.objects.bulk_create([fresh], ignore_conflicts=True)
        row = rows.first()
        if row is not None:  # else it was given up between the two
            return row


def _rows(claim: Claim) -> QuerySet[KeptAnswer]:
    return KeptAnswer.objects.filter(principal=claim.principal, key=claim.key)


def _oldest() -> datetime:
    """Return when an answer must have been given to be given again."""
    return timezone.now() - timedelta(seconds=settings.IDEMPOTENCY_SECONDS)


def _lease_end() -> datetime:
    return timezone.now() + timedelta(seconds=LEASE_SECONDS)


def _keep(row: KeptAnswer, response: Response) -> HttpResponse:
    """Keep an answer, unless the lease went to somebody else, and return what was kept."""
    body = b"" if response.data is None else dumps(response.data)
    headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    if body:
        headers["Content-Type"] = response.content_type or OrjsonRenderer.media_type
    is_secret = NO_STORE in headers.get("Cache-Control", "")
    KeptAnswer.objects.filter(pk=row.pk, holder=row.holder).update(
        status=response.status_code, headers=headers, body=b"" if is_secret else body
    )
    answer = _response(response.status_code, body, headers)
    for name, value in response.items():
        if name not in headers and name != "Content-Type":
            answer[name] = value
    return answer


def _replay(row: KeptAnswer, claim: Claim) -> HttpResponse:
    """Return the answer that was kept."""
    _check_same(row, claim)
    if row.status is None:
        raise _in_progress(claim)
    if NO_STORE in row.headers.get("Cache-Control", ""):
        raise IdempotencyConflictError(
            f"The request with Idempotency-Key {claim.key!r} was done, and its answer is not kept: "
            f"it showed a secret, or what was deleted since",
            suggestion="If a secret was lost, find the client by its name and rotate its secret.",
        )
    answer = _response(row.status, bytes(row.body), row.headers)
    answer[REPLAYED] = "true"
    return answer


def _response(status: int, body: bytes, headers: Mapping[str, str]) -> HttpResponse:
    answer = HttpResponse(body, status=status, headers=dict(headers))
    if not body:
        del answer["Content-Type"]
    return answer


def _check_same(row: KeptAnswer, claim: Claim) -> None:
    if row.request_hash != claim.request_hash:
        raise IdempotencyConflictError(
            f"Idempotency-Key {claim.key!r} was used before, with another request",
            suggestion="Use a fresh key for every request, the same only to repeat one.",
        )


def _in_progress(claim: Claim) -> IdempotencyInProgressError:
    return IdempotencyInProgressError(
        f"The first request with Idempotency-Key {claim.key!r} is still being done",
        retry_after=RETRY_AFTER_SECONDS,
        suggestion="Send the same request again to get its answer.",
    )


ANSWER = {
    Idempotency.TOGETHER: answer_together,
    Idempotency.LEASED: answer_leased,
    Idempotency.OWN: answer_owned,
}
