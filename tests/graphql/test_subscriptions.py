"""What subscriptions tell, in both protocols: packets, devices, sessions."""

from __future__ import annotations

import orjson
import pytest
from django.conf import settings
from websockets.sync.client import connect

from devices.models import Device
from ingest.broadcast import Broadcaster, announce
from ingest.models import Block
from sessions_app.models import Session
from tests.graphql.sockets import DATA, STATUS, UPDATES, bearer, begin, token_of
from tests.ingest.rest import Program
from tests.waiting import wait_until


def tell(live, n=1):
    broadcaster = Broadcaster(live.device_id)
    packets = live.packets(n)
    for packet in packets:
        broadcaster.packet(packet)
    broadcaster.close()
    return packets


def recording_started(live, session):
    """Tell what the lab tells when a session begins to record."""
    told, study_id = {"session_id": session.public_id}, session.study.public_id
    announce(live.device_id, "recording_started", told, study_id=study_id)


# --- what is told --------------------------------------------------------------------------------


def watch(socket, live, **options):
    socket.start(DATA, id=live.device_id, **options)


def listening(socket, live, **options):
    """Begin to watch; return when packets are sure to be seen."""
    watch(socket, live, after=live.stream.next_sequence - 1, **options)


def test_packets_are_those_of_the_stream(asgi_server, program, socket, live):
    tell(live, 1)
    listening(socket, live)
    sent = tell(live, 3)
    with connect(
        asgi_server.ws_url, additional_headers={"Authorization": bearer(program)}, legacy=True
    ) as stream:
        stream.send(
            f'{{"type": "subscribe", "device_id": "{live.device_id}", "after_sequence": -1}}'
        )
        told = []
        while len(told) < 4:
            message = orjson.loads(stream.recv(timeout=30))
            if message["type"] == "data":
                told.append(message)
    watched = [socket.next()["neuralData"] for _ in range(4)]
    for mine, theirs in zip(watched, told, strict=True):
        for name in ("deviceId", "streamId", "firstSample", "sampleRate"):
            snake = {
                "deviceId": "device_id",
                "streamId": "stream_id",
                "firstSample": "first_sample",
            }
            assert mine[name] == theirs[snake.get(name, "sample_rate")]
        for name in ("sequence", "timestamp", "channels", "samples"):
            assert mine[name] == theirs[name]
        assert mine["gap"] is None
    assert watched[-1]["sequence"] == sent[-1].sequence


def test_channels_and_filters_are_chosen(socket, live):
    (packet,) = tell(live)
    watch(socket, live, after=-1, channels=[2, 1], filtered=False)
    told = socket.next()["neuralData"]
    assert told["channels"] == [2, 1]
    assert told["samples"][0] == pytest.approx(
        [float(packet.data[1, 0]), float(packet.data[0, 0])], rel=1e-6
    )


def test_only_what_is_asked_for_is_told(socket, live):
    tell(live)
    query = 'subscription { neuralData(deviceId: "%s", afterSequence: -1) { seq: sequence } }'
    socket.start(query % live.device_id)
    assert socket.next() == {"neuralData": {"seq": 0}}


def test_a_client_that_comes_back_misses_nothing_and_gets_nothing_twice(connected, program, live):
    seen = []
    for _ in range(3):
        socket = connected()
        socket.init({"token": token_of(program)})
        tell(live, 5)
        watch(socket, live, after=seen[-1] if seen else -1)
        tell(live, 5)
        for _ in range(7):
            seen.append(socket.next()["neuralData"]["sequence"])
        socket.ws.close()
    assert seen == list(range(21))


def test_a_gap_is_told_where_it_is(socket, live):
    tell(live)
    broadcaster = Broadcaster(live.device_id)
    broadcaster.packet(live.packet(lost=25))
    broadcaster.close()
    watch(socket, live, after=-1)
    assert socket.next()["neuralData"]["gap"] is None
    gap = socket.next()["neuralData"]
    assert gap["gap"] == {
        "reason": "lost",
        "fromSequence": None,
        "toSequence": None,
        "firstSample": 10,
        "nSamples": 25,
        "replayed": False,
    }
    assert (gap["sequence"], gap["samples"], gap["channels"]) == (None, [], [])
    assert socket.next()["neuralData"]["firstSample"] == 35


def test_packets_that_are_not_kept_are_told(socket, live):
    tell(live, 4)
    Block.objects.filter(sequence__lt=2).delete()
    watch(socket, live, after=-1)
    gap = socket.next()["neuralData"]["gap"]
    assert (gap["reason"], gap["fromSequence"], gap["toSequence"]) == ("not_kept", 0, 1)
    assert socket.next()["neuralData"]["sequence"] == 2


def test_a_device_says_how_it_is_and_what_happens_to_it(socket, live):
    socket.start(STATUS, id=live.device_id)
    first = socket.next()["deviceStatus"]
    assert (first["event"], first["data"]) == (None, {})
    assert first["status"] == {"status": "disconnected", "streaming": False, "sessionId": None}
    announce(live.device_id, "packet_loss", {"lost": 3})
    told = socket.next()["deviceStatus"]
    assert (told["event"], told["data"]) == ("packet_loss", {"lost": 3})


def test_news_of_a_device_do_not_speak_of_another_studys_session(socket, live, program):
    theirs = Program("admin").make_session(live.stream.device)
    mine = program.make_session(live.stream.device)
    socket.start(STATUS, id=live.device_id)
    begin(socket)
    for session in (theirs, mine):
        recording_started(live, session)
    assert socket.next()["deviceStatus"]["data"] == {}
    assert socket.next()["deviceStatus"]["data"] == {"session_id": mine.public_id}


def test_a_session_says_what_becomes_of_it(socket, program, live):
    session = program.make_session(live.stream.device)
    other = program.make_session(live.stream.device)
    socket.start(UPDATES, session=session.public_id)
    first = socket.next()["sessionUpdates"]
    assert first == {
        "sessionId": session.public_id,
        "event": None,
        "session": {"status": "created", "dataPoints": 0, "device": {"name": "Cyton"}},
    }
    recording_started(live, other)
    live.stream.state = "running"
    live.stream.save()
    assert program.post(f"sessions/{session.public_id}/start").status_code == 200
    told = socket.next()["sessionUpdates"]
    assert (told["event"], told["session"]["status"]) == ("recording_started", "active")


def test_the_sessions_of_a_device_are_told_of_as_far_as_one_sees_them(socket, program, live):
    running = program.make_session(live.stream.device, status=Session.Status.ACTIVE)
    theirs = Program("admin").make_session(live.stream.device)
    mine = program.make_session(live.stream.device)
    socket.start(UPDATES, device=live.device_id)
    assert socket.next()["sessionUpdates"]["sessionId"] == running.public_id
    for session in (theirs, mine):
        recording_started(live, session)
    assert socket.next()["sessionUpdates"]["sessionId"] == mine.public_id


def test_subscriptions_share_a_connection_and_end_one_by_one(socket, live):
    socket.start(STATUS, key="a", id=live.device_id)
    begin(socket, "a")
    socket.start(STATUS, key="b", id=live.device_id)
    begin(socket, "b")
    socket.stop("a")
    announce(live.device_id, "battery", {"n": 1})
    assert socket.next("b")["deviceStatus"]["data"] == {"n": 1}
    socket.start(STATUS, key="a", id=live.device_id)
    assert begin(socket, "a")["deviceStatus"]["event"] is None


def test_an_error_in_an_event_is_told_and_the_subscription_goes_on(socket, live):
    socket.start(STATUS, id=live.device_id)
    begin(socket)
    Device.objects.all().delete()
    for number in range(2):
        announce(live.device_id, "battery", {"n": number})
        payload = socket.hear()["payload"]
        (error,) = payload["errors"]
        assert payload["data"] is None
        assert error["path"] == ["deviceStatus", "status"]
        assert error["extensions"]["code"] == "INVALID_DEVICE_ID"


def test_a_client_that_is_gone_without_a_word_gives_its_places_back(connected, program, live):
    token = token_of(program)
    half = settings.MAX_SUBSCRIPTIONS // 2 + 1
    socket = connected()
    socket.init({"token": token})
    for key in range(half):
        socket.start(STATUS, key=str(key), id=live.device_id)
        begin(socket, str(key))
    socket.ws.socket.close()
    socket = connected()
    socket.init({"token": token})
    for key in range(half):

        def is_let_in(key=key):
            socket.start(STATUS, key=str(key), id=live.device_id)
            return socket.hear()["type"] == socket.protocol.data

        wait_until(is_let_in, what="the places of a client that is gone")


def test_live_packets_follow_one_another(socket, live):
    socket.start(STATUS, key="status", id=live.device_id)
    begin(socket, "status")
    watch(socket, live)
    announce(live.device_id, "battery", {})
    socket.next("status")
    told = []

    def is_level():
        tell(live, 1)
        try:
            told.append(orjson.loads(socket.ws.recv(timeout=0.1)))
        except TimeoutError:
            return False
        return True

    wait_until(is_level, what="the first live packet")
    tell(live, 5)
    numbers = [told[0]["payload"]["data"]["neuralData"]["sequence"]]
    while len(numbers) < 6:
        numbers.append(socket.next()["neuralData"]["sequence"])
    assert numbers == list(range(numbers[0], numbers[0] + 6))
