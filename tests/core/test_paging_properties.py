"""Paging while rows come and go: whoever was there all the time is met once, in order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.models import Device
from tests.core.test_paging import make_device
from tests.ingest.rest import Program

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.core.urls")]

ORDERINGS = ["name", "-name", "status,name", "last_seen_at", "-last_seen_at"]
# Between two pages: rows that come (a name for each) and rows that go (their place in the list).
CHANGES = st.tuples(st.lists(st.sampled_from("aAbcé z"), max_size=3), st.sets(st.integers(0, 9)))


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    names=st.lists(st.sampled_from("abcdz"), max_size=8),
    ordering=st.sampled_from(ORDERINGS),
    limit=st.integers(1, 4),
    changes=st.lists(CHANGES, max_size=6),
)
def test_whoever_stays_is_met_once_and_in_order(db, names, ordering, limit, changes):
    Device.objects.all().delete()
    program = Program("viewer")
    number = iter(range(10**6))

    def add(name: str) -> None:
        at = next(number)
        status = "error" if at % 2 else "connected"
        seen = f"2026-01-01T00:00:{at % 5:02}Z" if at % 3 else None
        make_device(name, port=f"/dev/{at}", status=status, last_seen_at=seen)

    for name in names:
        add(name)
    stayed = set(Device.objects.values_list("public_id", flat=True))
    expected_order = program.get("devices", ordering=ordering, limit=200).json()["devices"]
    met: list[str] = []
    url: str | None = f"/v1/devices?ordering={ordering}&limit={limit}"
    while url:
        page = program.http.get(url).json()
        met += [device["device_id"] for device in page["devices"]]
        url = page["pagination"]["next"]
        come, go = changes.pop() if changes else ([], set())
        rows = list(Device.objects.order_by("pk"))
        for place in go:
            if place < len(rows):
                stayed.discard(rows[place].public_id)
                rows[place].delete()
        for name in come:
            add(name)
    assert len(met) == len(set(met))
    assert stayed <= set(met)
    in_order = [d["device_id"] for d in expected_order if d["device_id"] in stayed]
    assert [device_id for device_id in met if device_id in stayed] == in_order
