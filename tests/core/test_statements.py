"""A statement without Django on its way does what it would do with it."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from neurascale.core.statements import Statement
from tests.ingest.factories import make_device

pytestmark = pytest.mark.django_db
RENAME = Statement("UPDATE devices_device SET name = %s WHERE id = %s")
LIKE = Statement("SELECT name FROM devices_device WHERE name LIKE '%%on%%' AND host = %s")
CLASH = Statement("UPDATE devices_device SET public_id = %s")


def test_it_changes_rows_and_says_how_many():
    device, _ = make_device(), make_device()
    assert RENAME("What's 5 % of %s?", device.pk) == 1
    assert RENAME("nobody", 0) == 0
    device.refresh_from_db()
    assert device.name == "What's 5 % of %s?"


def test_it_yields_rows_and_keeps_its_per_cent_signs():
    for name in ("Cyton", "Muse", "Icon"):
        make_device(name=name, host="lab")
    assert sorted(name for (name,) in LIKE.rows("lab")) == ["Cyton", "Icon"]
    assert LIKE.rows("elsewhere") == []


def test_what_the_database_refuses_is_an_error_of_django():
    make_device()
    make_device()
    with pytest.raises(IntegrityError), transaction.atomic():
        CLASH("dev_of_both")
    assert not Device.objects.filter(public_id="dev_of_both").exists()


def test_a_broken_transaction_takes_no_more_statements():
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            RENAME("late", 0)
        transaction.set_rollback(False)


def test_who_watches_the_queries_sees_it():
    device = make_device()
    with CaptureQueriesContext(connection) as seen:
        RENAME("seen", device.pk)
        assert LIKE.rows("lab") == []
    assert [query["sql"].split()[0] for query in seen] == ["UPDATE", "SELECT"]
