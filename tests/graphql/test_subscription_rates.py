"""What a socket starts counts as a request of its caller, like what comes over HTTP."""

from __future__ import annotations

import pytest

from neurascale.core.limits import Bucket, charge, rate_of
from tests.graphql.asking import ask, post
from tests.graphql.sockets import STATUS, begin, token_of
from tests.ingest.factories import make_device

LEFT = 3


@pytest.fixture(autouse=True)
def limit(program):
    """Leave a few requests of the window; the server is another process, and counts with us."""
    limit = rate_of(Bucket.STANDARD).amount
    for _ in range(limit - LEFT):
        charge(program.client)
    return limit


def test_one_subscription_too_many_is_told_and_the_others_go_on(connected, program, limit):
    device_id = make_device().public_id
    socket = connected()
    socket.init({"token": token_of(program)})
    for key in ("1", "2"):
        socket.start(STATUS, key=key, id=device_id)
        begin(socket, key)
    assert ask(program, "{ __typename }")  # HTTP and sockets share the bucket
    for query in (STATUS, "subscription {"):
        socket.start(query, key="3", id=device_id)
        error = socket.failed("3")["extensions"]
        assert error["code"] == "RATE_LIMIT_EXCEEDED"
        assert 0 < error["details"]["retry_after"] <= 3600
        assert (error["details"]["bucket"], error["details"]["limit"]) == ("standard", limit)
    answer = post(program, "{ __typename }")
    assert answer.status_code == 429
    assert answer["X-RateLimit-Remaining"] == "0"
    assert answer["Retry-After"]


def test_what_cannot_be_run_counts_too(connected, program):
    socket = connected()
    socket.init({"token": token_of(program)})
    for _ in range(LEFT):
        socket.start("subscription {")
        assert socket.failed()["extensions"]["code"] == "MALFORMED_QUERY"
    socket.start("subscription {")
    assert socket.failed()["extensions"]["code"] == "RATE_LIMIT_EXCEEDED"
