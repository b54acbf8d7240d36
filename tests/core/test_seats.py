"""So many open subscriptions a client over all processes, given back however a process ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from neurascale.core import seats as craft
from neurascale.core.host import start_time
from neurascale.core.seats import Seats, here, is_dead
from neurascale.core.shared import Lines
from tests.broker import Broker
from tests.environment import spawn

OWNER = "cli_a"
SECONDS = 30

Make = Callable[[], Seats]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
async def make(broker: Broker) -> AsyncIterator[Make]:
    """Each is what one web process has."""
    made = []

    def make_one() -> Seats:
        made.append(Seats(broker.url, "tests"))
        return made[-1]

    yield make_one
    for seats in made:
        seats.close()


def kept(broker: Broker) -> dict[bytes, int]:
    """Return how many seats of the owner Valkey knows, by holder."""
    with Redis.from_url(broker.url) as valkey:
        entries = valkey.hgetall(f"neurascale:seats:tests:{OWNER}")
    return {holder: int(entry.split()[0]) for holder, entry in entries.items()}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def until_taken(seats: Seats, *, limit: int) -> None:
    async with asyncio.timeout(SECONDS):
        while not await seats.take(OWNER, limit=limit):
            await asyncio.sleep(0.01)


async def test_processes_that_ask_at_the_same_time_get_exactly_the_limit(make):
    processes = [make() for _ in range(4)]
    asked = [seats.take(OWNER, limit=100) for seats in processes for _ in range(60)]
    assert sum(await asyncio.gather(*asked)) == 100
    assert await processes[0].take("cli_b", limit=100)


async def test_a_seat_that_is_given_back_is_free_for_other_processes(make):
    one, other = make(), make()
    assert await one.take(OWNER, limit=2)
    assert await one.take(OWNER, limit=2)
    assert not await other.take(OWNER, limit=2)
    one.give_back(OWNER)
    await until_taken(other, limit=2)
    assert not await one.take(OWNER, limit=2)
    other.give_back(OWNER)
    one.give_back(OWNER)
    await until_taken(one, limit=1)


async def test_seats_are_held_for_longer_than_a_lease(make, broker, monkeypatch):
    monkeypatch.setattr(craft, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(craft, "TELL_SECONDS", 0.05)
    one, other = make(), make()
    assert await one.take(OWNER, limit=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await until_taken(other, limit=1)


async def test_seats_of_a_process_elsewhere_come_back_when_its_lease_ends(make, monkeypatch):
    monkeypatch.setattr(craft, "LEASE_SECONDS", 0.5)
    one, other = make(), make()
    one._holder = "another machine|1|1|a"
    assert await one.take(OWNER, limit=1)
    one.close()
    assert not await other.take(OWNER, limit=1)
    await until_taken(other, limit=1)


async def test_seats_of_a_process_that_was_killed_here_come_back_at_once(make, broker):
    process = spawn(["sleep", "infinity"])
    one, other = make(), make()
    one._holder = f"{here()}|{process.pid}|{start_time(process.pid)}|a"
    assert await one.take(OWNER, limit=1)
    one.close()
    assert not await other.take(OWNER, limit=1)
    process.kill()
    process.wait()
    assert await other.take(OWNER, limit=1)
    assert list(kept(broker).values()) == [1]


def test_who_is_dead_is_known_of_this_machine_only():
    me = f"{os.getpid()}|{start_time(os.getpid())}|a"
    assert not is_dead(f"{here()}|{me}")
    assert is_dead(f"{here()}|{os.getpid()}|0|a")  # the number was used again
    assert not is_dead(f"another|{os.getpid()}|0|a")
    assert not is_dead(f"|{os.getpid()}|0|a")


async def test_a_valkey_that_lost_everything_is_told_everything(make, broker):
    one, other = make(), make()
    assert await one.take(OWNER, limit=3)
    assert await other.take(OWNER, limit=3)
    assert await other.take(OWNER, limit=3)
    before = kept(broker)
    assert sorted(before.values()) == [1, 2]
    await asyncio.to_thread(broker.kill)
    other.give_back(OWNER)
    await asyncio.to_thread(broker.start)
    await until(lambda: sorted(kept(broker).values()) == [1, 1])
    assert await one.take(OWNER, limit=3)
    assert not await one.take(OWNER, limit=3)


async def test_without_valkey_a_process_counts_alone(make, broker, caplog):
    seats = make()
    assert await seats.take(OWNER, limit=3)
    await asyncio.to_thread(broker.kill)
    assert [await seats.take(OWNER, limit=3) for _ in range(3)] == [True, True, False]
    assert caplog.text.count("does not answer") == 1
    await asyncio.to_thread(broker.start)
    await until(lambda: list(kept(broker).values()) == [3])


async def test_who_goes_while_asking_leaves_no_seat_behind(make, broker):
    one, other = make(), make()
    assert await one.take("cli_b", limit=1)  # the connection is there
    asking = asyncio.ensure_future(one.take(OWNER, limit=1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # Valkey has the question, and nobody will read the answer.
    asking.cancel()
    await asyncio.wait([asking])
    await until(lambda: not kept(broker))
    assert await other.take(OWNER, limit=1)


async def test_an_owner_that_left_is_forgotten(make, broker):
    seats = make()
    assert await seats.take(OWNER, limit=1)
    seats.give_back(OWNER)
    await until(lambda: not kept(broker))
    assert Lines(broker.url).ask("EXISTS", f"neurascale:seats:tests:{OWNER}") == 0
    assert not seats._counts
    await until(lambda: not seats._freed)


async def test_what_nobody_closes_ends_with_its_loop(broker):
    """What is left of a hub when a loop ends: no connection, no warning."""
    assert await Seats(broker.url, "tests").take(OWNER, limit=1)


def test_a_killed_process_is_gone_however_it_was_killed():
    process = spawn(["sleep", "infinity"])
    holder = f"{here()}|{process.pid}|{start_time(process.pid)}|a"
    assert not is_dead(holder)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead too
    assert is_dead(holder)
    process.wait()
