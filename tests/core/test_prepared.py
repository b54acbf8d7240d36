"""A prepared query yields what the query itself yields, every time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.models import F, JSONField, Value
from django.db.models.signals import post_init
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from ingest.models import Stream
from neurascale.core.prepared import Prepared, Slot
from tests.ingest.factories import make_device, make_stream

pytestmark = pytest.mark.django_db


def everything(instance) -> dict:
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.fields}


@pytest.fixture
def streams() -> list[Stream]:
    """Streams of two devices, with settings and moments of several kinds."""
    made = []
    for number in range(3):
        settings = {"ch_names": [f"{number}{i}" for i in range(8)], "größe": 1.5}
        device = make_device(port=f"/dev/{number}", settings=settings)
        made.append(make_stream(device, stopped_at=datetime.now(UTC) if number else None))
    return made


def test_instances_are_those_of_the_query_with_what_they_relate(streams):
    prepared = Prepared(
        lambda: Stream.objects.select_related("device").filter(public_id=Slot("public_id"))
    )
    for stream in [*streams, *reversed(streams)]:
        expected = Stream.objects.select_related("device").get(pk=stream.pk)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            found = prepared.first(public_id=stream.public_id)
            assert everything(found) == everything(expected)
            assert everything(found.device) == everything(expected.device)
        assert len(asked) == 1  # what is related came along
        assert not found._state.adding
        assert found._state.db == "default"


def test_tuples_and_annotations_are_those_of_the_query(streams):
    tuples = Prepared(
        lambda: (
            Stream.objects.filter(pk__gt=Slot("pk")).order_by("pk").values_list("pk", "stopped_at")
        )
    )
    first = streams[0]
    assert tuples.all(pk=first.pk) == [(s.pk, s.stopped_at) for s in streams[1:]]
    annotated = Prepared(
        lambda: Device.objects.annotate(where=F("port"), seven=Value(7)).filter(port=Slot("port"))
    )
    found = annotated.first(port="/dev/1")
    assert (found.where, found.seven) == ("/dev/1", 7)


def test_whoever_wants_to_know_of_an_instance_is_told(streams):
    seen = []

    def note(instance, **_):
        seen.append(instance.public_id)

    post_init.connect(note, sender=Device)
    try:
        found = Prepared(lambda: Device.objects.order_by("pk")).all()
    finally:
        post_init.disconnect(note, sender=Device)
    assert seen == [device.public_id for device in found]


def test_what_was_left_out_is_looked_up_when_it_is_asked_for(streams):
    prepared = Prepared(lambda: Stream.objects.only("sfreq").filter(pk=Slot("pk")))
    found = prepared.first(pk=streams[1].pk)
    assert found.get_deferred_fields() >= {"public_id", "device_id"}
    assert found.public_id == streams[1].public_id
    assert found.device == streams[1].device


def test_an_instance_can_be_changed_and_saved(streams):
    device = Prepared(lambda: Device.objects.filter(port=Slot("port"))).first(port="/dev/1")
    device.name = "another"
    device.save(update_fields=["name"])
    assert [d.name for d in Device.objects.order_by("pk")] == ["Cyton", "another", "Cyton"]


def test_nothing_is_none_and_an_empty_list(streams):
    prepared = Prepared(lambda: Device.objects.filter(public_id=Slot("public_id")))
    assert prepared.first(public_id="dev_nobody") is None
    assert prepared.all(public_id="' OR '1'='1") == []


def test_a_moment_is_compared_as_the_query_compares_it(streams):
    prepared = Prepared(
        lambda: Stream.objects.filter(started_at__lt=Slot("moment")).values_list("pk")
    )
    late = datetime.now(UTC) + timedelta(seconds=5)
    assert {pk for (pk,) in prepared.all(moment=late)} == {stream.pk for stream in streams}
    assert prepared.all(moment=late - timedelta(days=1)) == []


@pytest.mark.parametrize(
    "value", [None, [], {}, 0, -1.5, True, "ü\n\"'", {"a": [1, None, {"b": "c"}]}, 2**53]
)
def test_json_is_read_as_the_field_reads_it(value):
    device = make_device()
    Device.objects.filter(pk=device.pk).update(settings=Value(value, JSONField()))
    prepared = Prepared(lambda: Device.objects.filter(pk=Slot("pk")))
    plain = Device.objects.get(pk=device.pk).settings
    found = prepared.first(pk=device.pk).settings
    assert (found, type(found)) == (plain, type(plain))


def test_a_whole_number_beyond_64_bits_is_read_as_a_float():
    device = make_device(settings={"large": 1e300})
    found = Prepared(lambda: Device.objects.filter(pk=Slot("pk"))).first(pk=device.pk)
    assert found.settings == {"large": 1e300}


if connection.vendor == "sqlite":  # PostgreSQL keeps no such text

    def test_json_that_only_the_standard_library_reads_is_read_by_it():
        device = make_device()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE devices_device SET settings = %s", ['"\\ud800"'])
        found = Prepared(lambda: Device.objects.filter(pk=Slot("pk"))).first(pk=device.pk)
        assert found.settings == "\ud800"


def test_rows_are_locked_in_a_transaction_and_nowhere_else(streams):
    prepared = Prepared(lambda: Stream.objects.select_for_update().filter(pk=Slot("pk")))
    with transaction.atomic():
        assert prepared.first(pk=streams[0].pk) == streams[0]
    connection.in_atomic_block, before = False, connection.in_atomic_block
    try:
        with pytest.raises(TransactionManagementError, match="in a transaction only"):
            prepared.first(pk=streams[0].pk)
    finally:
        connection.in_atomic_block = before


def test_a_value_that_is_not_given_is_missed_by_its_name(streams):
    prepared = Prepared(lambda: Stream.objects.filter(pk=Slot("pk")))
    with pytest.raises(KeyError, match="pk"):
        prepared.first()


@pytest.mark.django_db(transaction=True)
def test_threads_ask_at_once_and_it_is_made_once(streams):
    n_made = []

    def build():
        n_made.append(1)
        return Stream.objects.filter(pk=Slot("pk"))

    prepared = Prepared(build)

    def ask(number: int) -> int:
        try:
            return prepared.first(pk=streams[number % 3].pk).pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(48))) == [streams[n % 3].pk for n in range(48)]
    assert len(n_made) == 1
