import numpy as np
import pytest

from ingest.models import Block
from ingest.packets import Packet
from ingest.replay import BATCH, NotKept, Replay, filter_as_live
from tests.ingest.live import Live

pytestmark = pytest.mark.django_db

FILTERS = {"notch": 60, "bandpass": [1, 50]}


def replayed(device_id, *, start, stop, filtered=True):
    replay = Replay(device_id, next_sequence=start, filtered=filtered)
    found = []
    while batch := replay.batch(stop):
        assert len(batch) <= BATCH + 1
        found += batch
    return found


def assert_as_live(replay, live):
    assert [p.sequence for p in replay] == [p.sequence for p in live]
    for again, shown in zip(replay, live, strict=True):
        assert (again.stream_id, again.first_sample, again.time_ns, again.gap) == (
            *(shown.stream_id, shown.first_sample, shown.time_ns, shown.gap),
        )
        np.testing.assert_array_equal(again.data, shown.data)
        if shown.filtered is not None:
            np.testing.assert_allclose(again.filtered, shown.filtered, rtol=0, atol=0.01)


def test_a_replay_is_every_packet_from_a_number_on_and_stops_where_it_is_told():
    live = Live()
    shown = live.packets(2 * BATCH + 7)
    found = replayed(live.device_id, start=3, stop=2 * BATCH + 5)
    assert_as_live(found, shown[3 : 2 * BATCH + 5])


@pytest.mark.parametrize("start", [0, 1, 99, 640])
def test_a_filtered_replay_from_anywhere_is_what_was_shown_live(start):
    live = Live(filters=FILTERS, offset_uv=80_000.0)
    shown = live.packets(650)
    found = replayed(live.device_id, start=start, stop=650)
    assert_as_live(found, shown[start:])


@pytest.mark.parametrize("start", [2, 10, 11, 30])
def test_a_replay_starts_its_filters_anew_at_a_gap_as_the_live_stream_did(start):
    live = Live(filters=FILTERS, offset_uv=-100_000.0)
    shown = [*live.packets(10), live.packet(lost=33), *live.packets(30)]
    found = replayed(live.device_id, start=start, stop=41)
    assert_as_live(found, shown[start:])


def test_a_replay_goes_on_in_the_next_stream_of_the_device():
    first = Live(filters=FILTERS)
    shown = first.packets(5)
    first.stop()
    second = Live(first.stream.device, next_sequence=5)
    shown += second.packets(5)
    assert_as_live(replayed(first.device_id, start=2, stop=10), shown[2:])


def test_what_was_pruned_is_said_once_and_the_rest_follows():
    live = Live(filters=FILTERS)
    shown = live.packets(20)
    Block.objects.filter(stream=live.stream, sequence__lt=12).delete()
    gap, *found = replayed(live.device_id, start=4, stop=20)
    assert gap == NotKept(4, 11)
    assert [p.sequence for p in found] == list(range(12, 20))
    np.testing.assert_array_equal(found[0].data, shown[12].data)


@pytest.mark.parametrize("filtered", [True, False])
def test_what_only_a_session_keeps_is_not_replayed_and_the_filter_is_warm_after_it(filtered):
    """Packets 0 to 99 are there because somebody's session recorded them; 100 to 299 are pruned."""
    live = Live(filters=FILTERS, offset_uv=80_000.0)
    shown = live.packets(1000)
    live.stream.kept_from_sample = shown[300].first_sample
    live.stream.save(update_fields=["kept_from_sample"])
    Block.objects.filter(stream=live.stream, sequence__in=range(100, 300)).delete()
    gap, *found = replayed(live.device_id, start=0, stop=1000, filtered=filtered)
    first = found[0].sequence
    assert gap == NotKept(0, first - 1)
    if filtered:
        assert 300 < first < 900
        assert_as_live(found, shown[first:])
    else:
        assert first == 300


def test_a_device_of_which_nothing_is_kept_has_only_a_gap():
    live = Live()
    live.packets(20)
    Block.objects.filter(stream=live.stream).delete()
    assert replayed(live.device_id, start=4, stop=20) == [NotKept(4, 19)]


def test_a_replay_for_nobody_who_wants_filters_leaves_them_out():
    live = Live(filters=FILTERS)
    live.packets(3)
    found = replayed(live.device_id, start=0, stop=3, filtered=False)
    assert all(isinstance(p, Packet) and p.filtered is None for p in found)


def test_the_filter_of_a_stream_taken_over_goes_on_as_if_nothing_had_happened():
    live = Live(filters=FILTERS, offset_uv=80_000.0)
    live.packets(400)
    taken_over = filter_as_live(live.stream, live.next_sample)
    following = live.packet()
    np.testing.assert_allclose(taken_over(following.data), following.filtered, rtol=0, atol=0.01)


def test_a_stream_without_filters_has_no_filter_to_take_over():
    live = Live()
    live.packets(2)
    assert filter_as_live(live.stream, live.next_sample) is None
