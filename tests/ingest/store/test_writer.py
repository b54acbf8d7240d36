"""A chunk is stored whole, once, by whoever holds the lease."""

import threading

import numpy as np
import pytest
from django.db import connection, transaction

from ingest.errors import LeaseLostError, OverlapError
from ingest.models import Block, Gap, QualityWindow, Stream
from ingest.quality import Window
from ingest.store import BlockWriter, Missing, Stored, iter_chunks, read
from neurascale.core.chunk import GapReason
from tests.ingest.factories import make_chunk, make_stream

WINDOW = Window(0, 250, ("good", "bad"), has_artifact=True)


@pytest.fixture
def stream(db):
    return make_stream(lease_holder="me")


@pytest.fixture
def writer(stream):
    return BlockWriter(stream, holder="me")


def rows(model):
    return list(model.objects.order_by("first_sample").values_list("first_sample", "n_times"))


def test_chunks_become_blocks_with_consecutive_packet_numbers(stream, writer):
    assert [writer.append(make_chunk(at)) for at in (0, 10, 20)] == [
        Stored(0, None),
        Stored(1, None),
        Stored(2, None),
    ]
    assert rows(Block) == [(0, 10), (10, 10), (20, 10)]
    stream.refresh_from_db()
    assert (stream.next_sample, stream.next_sequence) == (30, 3)
    assert writer.next_sample == 30


def test_a_jump_is_stored_as_a_gap_with_its_reason(writer):
    writer.append(make_chunk(0))
    stored = writer.append(make_chunk(25, gap=GapReason.UNPLUGGED))
    assert stored == Stored(1, Missing(10, 15, "unplugged"))
    assert Gap.objects.values_list("first_sample", "n_times", "reason").get() == (
        10,
        15,
        "unplugged",
    )


def test_a_jump_that_nobody_explains_is_loss(writer):
    assert writer.append(make_chunk(7)).gap == Missing(0, 7, "lost")


def test_verdicts_are_stored_with_the_chunk_that_completes_the_second(writer):
    writer.append(make_chunk(0, 250), windows=[WINDOW])
    window = QualityWindow.objects.get()
    assert (window.first_sample, window.n_times) == (0, 250)
    assert (window.verdicts, window.has_artifact) == (["good", "bad"], True)


def test_a_stream_that_a_program_ingests_has_no_packet_numbers(db):
    stream = make_stream(origin=Stream.Origin.INGEST, scale_uv=None)
    writer = BlockWriter(stream, holder="")
    data = np.array([[np.nan, 1.5], [2.5, -np.inf]], dtype=np.float32)
    assert writer.append(make_chunk(0, data=data)) == Stored(None, None)
    assert writer.append(make_chunk(2)).sequence is None
    stream.refresh_from_db()
    assert (stream.next_sample, stream.next_sequence) == (12, 0)
    assert np.array_equal(read(stream, 0, 2).data, data, equal_nan=True)


def test_aux_of_nothing_but_nan_takes_no_room(writer):
    writer.append(make_chunk(0, aux=np.full((3, 10), np.nan, dtype=np.float32)))
    assert Block.objects.get().aux is None


# --- once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0, 15])
def test_a_retry_by_one_who_does_not_know_that_it_was_stored_finds_it(stream, writer, gap):
    writer.append(make_chunk(0))
    amnesiac = BlockWriter(Stream.objects.get(pk=stream.pk), holder="me")
    chunk = make_chunk(10 + gap)
    first = writer.append(chunk, windows=[WINDOW])
    assert amnesiac.append(chunk, windows=[WINDOW]) == first
    assert rows(Block) == [(0, 10), (10 + gap, 10)]
    assert rows(Gap) == ([(10, gap)] if gap else [])
    assert rows(QualityWindow) == [(0, 250)]
    assert amnesiac.append(make_chunk(20 + gap)) == Stored(2, None)


def test_the_same_chunk_twice_is_stored_once(writer):
    chunk = make_chunk(0)
    assert writer.append(chunk) == writer.append(chunk)
    assert rows(Block) == [(0, 10)]


def test_a_retry_finds_the_gap_before_its_own_block_only(writer):
    writer.append(make_chunk(5))
    chunk = make_chunk(15)
    writer.append(chunk)
    assert writer.append(chunk) == Stored(1, None)


@pytest.mark.parametrize(
    "other",
    [make_chunk(10, data=make_chunk(99).data), make_chunk(5), make_chunk(10, 5), make_chunk(15)],
    ids=["other data", "across two blocks", "shorter", "into a block"],
)
def test_other_samples_at_the_same_place_are_refused(writer, other):
    writer.append(make_chunk(0))
    writer.append(make_chunk(10))
    with pytest.raises(OverlapError, match="before 20 is settled"):
        writer.append(other)
    assert rows(Block) == [(0, 10), (10, 10)]


def test_samples_into_a_gap_that_was_told_are_refused(writer):
    writer.append(make_chunk(30))
    with pytest.raises(OverlapError):
        writer.append(make_chunk(10))


def test_what_was_rolled_back_around_it_is_stored_again(stream, writer):
    writer.append(make_chunk(0))
    with transaction.atomic():
        writer.append(make_chunk(10))
        transaction.set_rollback(True)
    assert rows(Block) == [(0, 10)]
    assert writer.append(make_chunk(10)) == Stored(1, None)
    assert rows(Block) == [(0, 10), (10, 10)]


def test_a_chunk_is_stored_whole_or_not_at_all(stream, writer):
    writer.append(make_chunk(0), windows=[WINDOW])
    with pytest.raises(Exception, match=r"(?i)unique"), transaction.atomic():
        writer.append(make_chunk(20), windows=[WINDOW])  # that second was judged already
    stream.refresh_from_db()
    assert (stream.next_sample, rows(Block), rows(Gap)) == (10, [(0, 10)], [])
    assert writer.append(make_chunk(20)) == Stored(1, Missing(10, 10, "lost"))


# --- by whoever holds the lease ------------------------------------------------------------------


def test_who_lost_the_lease_writes_nothing(stream, writer):
    writer.append(make_chunk(0))
    Stream.objects.update(lease_holder="you")
    with pytest.raises(LeaseLostError, match="served by you now, not by me"):
        writer.append(make_chunk(10))
    with pytest.raises(LeaseLostError):
        writer.append(make_chunk(0))  # not even to be told that it is there
    stream.refresh_from_db()
    assert (stream.next_sample, rows(Block)) == (10, [(0, 10)])


def test_the_next_holder_goes_on_where_the_last_one_stopped(stream, writer):
    writer.append(make_chunk(0))
    Stream.objects.update(lease_holder="you")
    heir = BlockWriter(Stream.objects.get(), holder="you")
    assert heir.append(make_chunk(12)) == Stored(1, Missing(10, 2, "lost"))


def test_a_chunk_of_other_channels_is_refused(writer):
    with pytest.raises(ValueError, match="has 2 channels, the chunk 3"):
        writer.append(make_chunk(0, n_channels=3))


# --- at the same time ----------------------------------------------------------------------------


def in_threads(work, n_threads):
    """Run ``work(number)`` in threads that start together, each with a connection of its own."""
    start = threading.Barrier(n_threads)
    results = [None] * n_threads

    def run(number):
        start.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_chunks_at_the_same_time_store_each_once():
    stream = make_stream(lease_holder="me")
    chunks = [make_chunk(at + 3 * (at // 40)) for at in range(0, 200, 10)]

    def write(_):
        writer = BlockWriter(Stream.objects.get(pk=stream.pk), holder="me")
        return [writer.append(chunk) for chunk in chunks]

    results = in_threads(write, 4)
    assert results[0] == results[1] == results[2] == results[3]
    assert [stored.sequence for stored in results[0]] == list(range(20))
    assert [chunk.first_sample for _, chunk in iter_chunks(stream)] == [
        chunk.first_sample for chunk in chunks
    ]
    assert rows(Gap) == [(40 * k + 3 * k - 3, 3) for k in range(1, 5)]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_written_after_the_lease_was_taken_in_the_middle_of_it():
    stream = make_stream(lease_holder="old")
    under_way = threading.Event()

    def old_holder():
        writer = BlockWriter(Stream.objects.get(pk=stream.pk), holder="old")
        for number in range(100_000):
            writer.append(make_chunk(10 * number))
            if number == 5:
                under_way.set()

    def new_holder():
        assert under_way.wait(60)
        with transaction.atomic():
            Stream.objects.filter(pk=stream.pk).update(lease_holder="new")
            heir = BlockWriter(Stream.objects.get(pk=stream.pk), holder="new")
        at = heir.next_sample
        # Its own samples, so that a block of the old holder could not be mistaken for one of them.
        return at, [heir.append(make_chunk(at + 7 * k, 7)) for k in range(20)]

    lost, (at, stored) = in_threads(lambda n: (old_holder, new_holder)[n](), 2)
    assert isinstance(lost, LeaseLostError)
    assert [row.sequence for row in stored] == list(range(at // 10, at // 10 + 20))
    assert rows(Block) == [(10 * k, 10) for k in range(at // 10)] + [
        (at + 7 * k, 7) for k in range(20)
    ]
