import asyncio
import signal
import time

import numpy as np
import pytest
from channels.layers import get_channel_layer

from ingest.broadcast import PACKET, Broadcaster, announce, group_of
from ingest.packets import Packet
from ingest.store import Missing
from tests.broker import Broker
from tests.waiting import wait_until


@pytest.fixture
def broker(tmp_path, settings):
    broker = Broker(tmp_path)
    broker.start()
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [f"unix://{broker.socket}"], "prefix": "test"},
        }
    }
    yield broker
    broker.kill()


@pytest.fixture
def broadcaster():
    broadcaster = Broadcaster("dev_a")
    yield broadcaster
    broadcaster.close()


def is_told(broadcaster, packet):
    """Tell a packet and return whether the layer took it."""
    dropped = broadcaster.n_dropped
    broadcaster.packet(packet)
    return broadcaster.n_dropped == dropped


def make_packet(sequence=0, **fields):
    data = np.arange(20, dtype=np.float32).reshape(2, 10)
    return Packet("dev_a", "strm_a", sequence, 10 * sequence, 5, 250.0, [0, 2], data, **fields)


def seconds_of(call, *args):
    began = time.monotonic()
    call(*args)
    return time.monotonic() - began


def test_a_packet_survives_its_way_through_the_layer():
    packet = make_packet(filtered=np.ones((2, 10), np.float32), gap=Missing(3, 7, "lost"))
    again = Packet.from_wire(packet.to_wire())
    np.testing.assert_array_equal(again.data, packet.data)
    np.testing.assert_array_equal(again.filtered, packet.filtered)
    assert (again.gap, again.picks, again.stop_sample) == (packet.gap, [0, 2], 10)


async def test_packets_and_news_reach_the_group_of_the_device(broker):
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group_of("dev_a"), channel)

    def speak():
        broadcaster = Broadcaster("dev_a")
        broadcaster.packet(make_packet(7))
        broadcaster.status("battery", {"level": 85})
        broadcaster.marker({"sample": 3})
        broadcaster.close()
        announce("dev_a", "connected", {})

    await asyncio.to_thread(speak)
    packet, *news = [await layer.receive(channel) for _ in range(4)]
    assert (packet["type"], packet["sequence"]) == (PACKET, 7)
    assert news[0]["text"] == (
        '{"type":"status","device_id":"dev_a","event":"battery","data":{"level":85}}'
    )
    assert news[1]["text"] == '{"type":"marker","device_id":"dev_a","sample":3}'
    assert '"connected"' in news[2]["text"]
    await layer.group_discard(group_of("dev_a"), channel)


def test_a_broker_that_is_gone_costs_the_loop_next_to_nothing(broker, broadcaster):
    wait_until(lambda: is_told(broadcaster, make_packet()), what="the first packet to be told")
    n_before = broadcaster.n_dropped
    broker.kill()
    took = [seconds_of(broadcaster.packet, make_packet(n)) for n in range(1, 1000)]
    assert max(took) < 0.25  # 0.04 and the scheduler's moods
    assert sum(took) < 1
    assert broadcaster.n_dropped == n_before + 999


def test_a_broker_that_hangs_costs_the_loop_next_to_nothing(broker, broadcaster):
    wait_until(lambda: is_told(broadcaster, make_packet()), what="the first packet to be told")
    n_before = broadcaster.n_dropped
    broker.process.send_signal(signal.SIGSTOP)
    took = [seconds_of(broadcaster.packet, make_packet(n)) for n in range(1, 1000)]
    broker.process.send_signal(signal.SIGCONT)
    assert max(took) < 0.25
    assert broadcaster.n_dropped == n_before + 999


def test_a_broker_that_is_back_is_used_again(broker, broadcaster):
    wait_until(lambda: is_told(broadcaster, make_packet()), what="the first packet to be told")
    broker.kill()
    assert not is_told(broadcaster, make_packet(1))
    broker.start()
    wait_until(
        lambda: is_told(broadcaster, make_packet(2)), what="the broadcaster to find the broker"
    )


def test_announcing_to_nobody_does_not_fail(broker):
    broker.kill()
    assert seconds_of(announce, "dev_a", "connected", {}) < 5
