import asyncio
from collections import deque
from uuid import uuid4

import msgpack
import numpy as np
import orjson
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from ingest import subscription as craft
from ingest.broadcast import PACKET, group_of, tell
from ingest.errors import TooManySubscriptionsError
from ingest.hub import Hub
from ingest.messages import View, status_message
from tests.ingest.factories import make_device
from tests.ingest.live import Live, sequences
from tests.ingest.test_broadcast import broker  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30


class Reader:
    """What a socket received; closing the gate makes it one that does not read."""

    def __init__(self):
        self.messages = []
        self.raw = deque()
        self.gate = asyncio.Event()
        self.gate.set()
        self._came = asyncio.Event()

    async def send(self, message):
        await self.gate.wait()
        self.raw.append(message)
        if "text" in message:
            self.messages.append(orjson.loads(message["text"]))
        else:
            self.messages.append(msgpack.unpackb(message["bytes"]))
        self._came.set()

    async def until(self, condition):
        """Wait until ``condition(messages)`` holds."""
        async with asyncio.timeout(SECONDS):
            while not condition(self.messages):
                self._came.clear()
                await self._came.wait()

    async def until_packet(self, sequence):
        await self.until(lambda messages: sequence in sequences(messages))

    def of(self, kind):
        return [message for message in self.messages if message["type"] == kind]


@pytest.fixture
async def hub():
    hub = Hub()
    yield hub
    hub.close()


async def watch(hub, live, view=View(), **options):  # noqa: B008 - a value
    reader = Reader()
    subscription = await hub.subscribe(live.device_id, view, send=reader.send, **options)
    subscription.start()
    return reader, subscription


make_live = sync_to_async(Live)


async def store(live, n=1):
    return await sync_to_async(live.packets)(n)


async def say(packet):
    message = {"type": PACKET, **packet.to_wire()}
    await get_channel_layer().group_send(group_of(packet.device_id), message)


async def show(live, n=1):
    for packet in await store(live, n):
        await say(packet)


async def test_each_view_is_encoded_once_and_shared(hub):
    live = await make_live(filters={"notch": 60})
    views = [View(), View(), View(channels=(2,), filtered=False), View(format="msgpack")]
    readers = [(await watch(hub, live, view))[0] for view in views]
    [packet] = await store(live)
    await say(packet)
    for reader in readers:
        await reader.until_packet(0)
    assert readers[0].raw[0]["text"] is readers[1].raw[0]["text"]
    whole, _, raw, packed = [reader.messages[0] for reader in readers]
    assert whole["channels"] == [1, 2]
    assert (whole["first_sample"], whole["sample_rate"]) == (0, 250.0)
    assert whole["timestamp"] == packet.time_ns / 1e6
    np.testing.assert_array_equal(np.float32(whole["samples"]), packet.filtered.T)
    np.testing.assert_array_equal(np.float32(raw["samples"]), packet.data[1:].T)
    samples = packed.pop("samples")
    assert samples["dtype"] == "<f4"
    shown = np.frombuffer(samples["data"], "<f4").reshape(samples["shape"])
    np.testing.assert_array_equal(shown, packet.filtered.T)
    assert {**packed, "samples": whole["samples"]} == whole


async def test_a_packet_the_layer_lost_is_read_from_the_store(hub):
    live = await make_live(filters={"bandpass": [1, 50]})
    reader, _ = await watch(hub, live)
    await show(live, 3)
    lost = await store(live, 4)
    await show(live, 2)
    await reader.until_packet(8)
    assert sequences(reader.messages) == list(range(9))
    for packet in lost:
        shown = np.float32(reader.messages[packet.sequence]["samples"])
        np.testing.assert_allclose(shown, packet.filtered.T, rtol=0, atol=0.01)


async def test_packets_that_nobody_tells_are_found_in_the_store(hub):
    live = await make_live()
    reader, _ = await watch(hub, live)
    await store(live, 5)
    await reader.until_packet(4)
    assert sequences(reader.messages) == list(range(5))


async def test_a_packet_that_comes_twice_or_late_is_shown_once(hub):
    live = await make_live()
    reader, _ = await watch(hub, live)
    packets = await store(live, 4)
    for index in (0, 0, 1, 3, 2, 3):
        await say(packets[index])
    await show(live)
    await reader.until_packet(4)
    assert sequences(reader.messages) == [0, 1, 2, 3, 4]


async def test_a_gap_of_the_board_is_said_before_the_packet_that_follows_it(hub):
    live = await make_live()
    reader, _ = await watch(hub, live)
    await show(live)
    await say(await sync_to_async(live.packet)(lost=33))
    await reader.until_packet(1)
    assert [message["type"] for message in reader.messages] == ["data", "gap", "data"]
    gap = reader.messages[1]
    assert (gap["reason"], gap["first_sample"], gap["n_samples"]) == ("lost", 10, 33)
    assert gap["from_sequence"] is None


async def test_one_who_comes_back_misses_nothing_and_gets_nothing_twice(hub):
    live = await make_live()
    other, _ = await watch(hub, live)
    await show(live, 150)
    reader, _ = await watch(hub, live, next_sequence=20)
    await show(live, 50)  # while the replay is under way
    await reader.until_packet(199)
    await other.until_packet(199)
    assert sequences(reader.messages) == list(range(20, 200))
    assert sequences(other.messages) == list(range(200))


async def fall_behind(hub, live, on_lag):
    """Return a reader that stopped reading until its queue ran over, and now reads again."""
    slow, _ = await watch(hub, live, on_lag=on_lag)
    quick, _ = await watch(hub, live)
    await show(live, 2)
    await slow.until_packet(1)
    slow.gate.clear()
    n_packets = craft.QUEUE_MESSAGES + 40
    await show(live, n_packets)
    await quick.until_packet(n_packets + 1)  # the slow one costs the quick one nothing
    assert sequences(slow.messages) == [0, 1]
    slow.gate.set()
    await slow.until(lambda _: slow.of("gap"))
    await show(live, 3)
    await slow.until_packet(n_packets + 4)
    assert sequences(quick.messages) == list(range(n_packets + 5))
    return slow, n_packets + 5


async def test_a_slow_subscriber_is_told_what_it_missed_and_gets_it_from_the_store(hub):
    live = await make_live()
    slow, n_packets = await fall_behind(hub, live, "replay")
    assert sequences(slow.messages) == list(range(n_packets))
    [gap] = slow.of("gap")
    assert (gap["reason"], gap["replayed"]) == ("lagged", True)
    following = slow.messages[slow.messages.index(gap) + 1]
    assert following["sequence"] == gap["from_sequence"]


async def test_a_slow_subscriber_may_jump_to_the_present(hub):
    live = await make_live()
    slow, n_packets = await fall_behind(hub, live, "live")
    [gap] = slow.of("gap")
    assert (gap["reason"], gap["replayed"]) == ("lagged", False)
    missed = set(range(gap["from_sequence"], gap["to_sequence"] + 1))
    assert len(missed) >= 40
    assert gap["n_samples"] == 10 * len(missed)
    assert gap["first_sample"] == 10 * gap["from_sequence"]
    assert sorted([*sequences(slow.messages), *missed]) == list(range(n_packets))


async def test_news_reach_all_but_the_connection_that_sent_them(hub):
    live = await make_live()
    sender, _ = await watch(hub, live, name="a")
    other, _ = await watch(hub, live, name="b")
    await tell(live.device_id, status_message(live.device_id, "battery", {}), sender="a")
    await tell(live.device_id, status_message(live.device_id, "connected", {}))
    await sender.until(lambda messages: messages)
    await other.until(lambda messages: len(messages) == 2)
    assert [message["event"] for message in sender.messages] == ["connected"]
    assert [message["event"] for message in other.messages] == ["battery", "connected"]


async def test_a_device_that_does_not_stream_yet_may_be_watched(hub):
    device = await sync_to_async(make_device)()
    reader = Reader()
    watching = await hub.subscribe(device.public_id, View(), send=reader.send)
    watching.start()
    live = await make_live(device)
    await show(live, 2)
    await reader.until_packet(1)
    assert sequences(reader.messages) == [0, 1]


async def test_one_client_has_so_many_subscriptions_and_no_more(hub, settings):
    settings.MAX_SUBSCRIPTIONS = 2
    live = await make_live()
    one, other = uuid4().hex, uuid4().hex  # the hubs of other tests count in the same Valkey
    _, first = await watch(hub, live, owner=one)
    await watch(hub, live, owner=one)
    with pytest.raises(TooManySubscriptionsError):
        await watch(hub, live, owner=one)
    await watch(hub, live, owner=other)
    first.close()
    first.close()
    await watch(hub, live, owner=one)
    with pytest.raises(TooManySubscriptionsError):
        await watch(hub, live, owner=one)


async def test_watching_goes_on_while_the_broker_is_away_and_after_it_is_back(hub, broker):  # noqa: F811
    live = await make_live()
    reader, _ = await watch(hub, live)
    await show(live, 2)
    await reader.until_packet(1)
    await asyncio.to_thread(broker.kill)
    await store(live, 3)
    await reader.until_packet(4)
    await asyncio.to_thread(broker.start)
    live_again = status_message(live.device_id, "battery", {})
    async with asyncio.timeout(SECONDS):
        while not reader.of("status"):  # news come through the broker alone
            await tell(live.device_id, live_again)
            await asyncio.sleep(0.05)
    await show(live, 2)
    await reader.until_packet(6)
    assert sequences(reader.messages) == list(range(7))
