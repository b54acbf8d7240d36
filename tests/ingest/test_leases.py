from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from ingest import leases
from ingest.errors import LeaseLostError
from ingest.models import Stream
from tests.ingest.factories import make_stream

pytestmark = pytest.mark.django_db


def test_only_one_of_two_claims_is_answered():
    stream = make_stream()
    assert leases.claim(stream.pk) is not None
    assert leases.claim(stream.pk) is None


def test_a_stream_that_should_stop_is_not_claimed():
    stream = make_stream(wanted=Stream.Wanted.STOPPED)
    assert leases.claim(stream.pk) is None


def test_a_lease_whose_process_is_gone_may_be_taken_at_once():
    gone = f"{settings.NEURASCALE_HOST}|4194303|12345|feedbeef"
    stream = make_stream(lease_holder=gone, lease_until=timezone.now() + timedelta(hours=1))
    claimed = leases.claim(stream.pk)
    assert claimed is not None
    assert claimed[1] != gone


def test_a_lease_of_another_host_is_left_alone_until_it_ends():
    other = "elsewhere|1|12345|feedbeef"
    stream = make_stream(lease_holder=other, lease_until=timezone.now() + timedelta(seconds=5))
    assert leases.claim(stream.pk) is None
    Stream.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert leases.claim(stream.pk) is not None


def test_renewing_moves_the_end_and_leaves_word_of_the_quality():
    stream = make_stream()
    _, holder = leases.claim(stream.pk)
    stream.refresh_from_db()
    before = stream.lease_until
    leases.renew(stream.pk, holder, quality={"overall": "good"})
    stream.refresh_from_db()
    assert stream.lease_until > before
    assert stream.quality == {"overall": "good"}


def test_whoever_lost_the_lease_is_told():
    stream = make_stream()
    _, holder = leases.claim(stream.pk)
    assert leases.is_wanted(stream.pk, holder)
    Stream.objects.update(lease_holder="elsewhere|1|12345|feedbeef")
    with pytest.raises(LeaseLostError, match="elsewhere"):
        leases.is_wanted(stream.pk, holder)


def test_a_released_lease_may_be_taken_at_once():
    stream = make_stream()
    _, holder = leases.claim(stream.pk)
    leases.release(stream.pk, holder)
    assert leases.claim(stream.pk) is not None
