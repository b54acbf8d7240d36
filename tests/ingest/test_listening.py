import asyncio

import pytest
from channels.db import database_sync_to_async

from ingest.broadcast import Broadcaster
from ingest.errors import TooManySubscriptionsError
from ingest.hub import current_hub
from ingest.listening import Listening
from ingest.messages import View
from ingest.subscription import LIVE, QUEUE_MESSAGES, REPLAY
from tests.ingest.live import Live

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30


async def see(message):
    return message if message["type"] in {"data", "gap"} else None


def tell(live, n):
    broadcaster = Broadcaster(live.device_id)
    for packet in live.packets(n):
        broadcaster.packet(packet)
    broadcaster.close()


@pytest.fixture
async def live():
    yield await database_sync_to_async(Live)()
    current_hub().close()


async def take(listening, n):
    async with asyncio.timeout(SECONDS):
        return [await anext(listening) for _ in range(n)]


@pytest.mark.parametrize("on_lag", [REPLAY, LIVE])
async def test_who_does_not_ask_for_the_next_falls_behind_and_is_told(live, on_lag):
    listening = await Listening(see).open(
        live.device_id, View(), owner="me", studies=None, on_lag=on_lag
    )
    n_told = 3 * QUEUE_MESSAGES
    await database_sync_to_async(tell)(live, n_told)
    messages = []
    while not any(message["type"] == "gap" for message in messages):
        messages += await take(listening, 1)
    await database_sync_to_async(tell)(live, 1)
    while messages[-1].get("sequence") != n_told:
        messages += await take(listening, 1)
    await listening.aclose()
    numbers = [message["sequence"] for message in messages if message["type"] == "data"]
    gaps = [message for message in messages if message["type"] == "gap"]
    assert {(gap["reason"], gap["replayed"]) for gap in gaps} == {("lagged", on_lag == REPLAY)}
    missed = [n for gap in gaps for n in range(gap["from_sequence"], gap["to_sequence"] + 1)]
    if on_lag == REPLAY:
        assert numbers == list(range(n_told + 1))
    else:
        assert sorted(numbers + missed) == list(range(n_told + 1))


async def test_what_was_first_comes_first_and_closing_gives_the_place_back(live, settings):
    settings.MAX_SUBSCRIPTIONS = 1
    owner = live.device_id  # whom no test beside this one knows
    listening = await Listening(see, [{"type": "first"}]).open(
        live.device_id, owner=owner, studies=None
    )
    assert await take(listening, 1) == [{"type": "first"}]
    with pytest.raises(TooManySubscriptionsError):
        await Listening(see).open(live.device_id, owner=owner, studies=None)
    await listening.aclose()
    await listening.aclose()
    again = await Listening(see).open(live.device_id, owner=owner, studies=None)
    await again.aclose()


async def test_what_ends_the_sending_is_told(live):
    async def fail(message):
        raise ZeroDivisionError("in the sending")

    listening = Listening(see)
    listening._handed.put = fail
    await listening.open(live.device_id, View(), owner="me", studies=None)
    await database_sync_to_async(tell)(live, 1)
    with pytest.raises(ZeroDivisionError):
        await take(listening, 1)
    await listening.aclose()
