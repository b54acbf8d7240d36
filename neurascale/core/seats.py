"""Things that stay open, counted over all processes: so many a client, and given back for sure.

A *seat* is one open subscription; an *owner* has a number of seats in each process. A process
knows its own numbers, and they are true; Valkey has a copy that others can add up, good for
`LEASE_SECONDS` and told anew every second. So what a killed process had comes back when its lease
ends, and at once for who asks on the same machine; and a Valkey that was restarted, with or without
what it knew, is told everything within three seconds. While it is away each process counts alone.

To take a seat costs one round trip, to give it back none; nothing is asked for what a subscription
brings.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from neurascale.core.host import boot_id, start_time
from neurascale.core.shared import AWAY, PREFIX, Lines, Outage, Script

LEASE_SECONDS = 5.0
TELL_SECONDS = 1.0

# For each owner a hash: who holds seats -> "how many, until when (ms)". Valkey's clock is the one
# that all processes share.
NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
TAKE = Script(
    NOW
    + """
local holder, wanted, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local entries = redis.call('HGETALL', KEYS[1])
local others, total = {}, wanted
for i = 1, #entries, 2 do
    if entries[i] ~= holder then
        local count, ends = string.match(entries[i + 1], '(%d+) (%d+)')
        if tonumber(ends) < now then
            redis.call('HDEL', KEYS[1], entries[i])
        else
            total = total + count
            table.insert(others, entries[i])
        end
    end
end
if total > limit then
    return {0, unpack(others)}
end
redis.call('HSET', KEYS[1], holder, string.format('%d %d', wanted, now + lease))
redis.call('PEXPIRE', KEYS[1], lease)
return {1}
"""
)
TELL = Script(
    NOW
    + """
for i, key in ipairs(KEYS) do
    local count = tonumber(ARGV[i + 2])
    if count > 0 then
        redis.call('HSET', key, ARGV[1], string.format('%d %d', count, now + ARGV[2]))
        redis.call('PEXPIRE', key, ARGV[2])
    else
        redis.call('HDEL', key, ARGV[1])
    end
end
"""
)
FORGET = Script("redis.call('HDEL', KEYS[1], unpack(ARGV))")


class Seats:
    """The seats that this process has, and how many others have; for one event loop.

    Parameters
    ----------
    url : str
        Of the Valkey.
    kind : str
        What is counted; the same in all processes.
    """

    def __init__(self, url: str, kind: str) -> None:
        self._kind = kind
        self._holder = f"{here()}|{os.getpid()}|{start_time(os.getpid())}|{uuid.uuid4().hex[:8]}"
        self._counts: Counter[str] = Counter()
        self._freed: set[str] = set()  # owners whose number Valkey may think too high
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()  # numbers are told in the order in which they came about
        self._outage = Outage("each process counts subscriptions alone until it is back")
        self._lines = Lines(url)
        # redis-py's asynchronous client loses a cancellation now and then, and with it the task.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seats")
        self._teller: asyncio.Task[None] | None = None

    async def take(self, owner: str, *, limit: int) -> bool:
        """Take a seat for an owner, and return whether there was one left.

        Parameters
        ----------
        owner : str
            Whose seats are counted together.
        limit : int
            How many an owner may have in all processes.
        """
        if self._teller is None:
            self._teller = asyncio.ensure_future(self._keep_telling())
        async with self._turn:
            try:
                is_free = await self._ask(owner, limit)
            except BaseException:  # cancelled: Valkey may have given the seat
                self._free(owner)
                raise
            if is_free:
                self._counts[owner] += 1
        return is_free

    def give_back(self, owner: str) -> None:
        """Give a seat back; others learn of it as soon as this process has nothing else to do."""
        self._counts[owner] -= 1
        self._free(owner)

    def close(self) -> None:
        """Tell nothing more; what is held goes when its lease ends."""
        if self._teller is not None:
            self._teller.cancel()

    def _free(self, owner: str) -> None:
        if not self._counts[owner]:
            del self._counts[owner]
        self._freed.add(owner)
        self._changed.set()

    # --- what is said to Valkey ------------------------------------------------------------------

    async def _ask(self, owner: str, limit: int) -> bool:
        alone = self._counts[owner] < limit
        if not alone or not self._outage.may_ask():
            return alone
        try:
            is_free, others = await self._ask_all(owner, limit)
            dead = [holder for holder in others if is_dead(holder)]
            if dead:  # killed a moment ago, with leases that have not ended yet
                await self._run(FORGET, keys=[self._key(owner)], args=dead)
                is_free, _ = await self._ask_all(owner, limit)
        except AWAY as error:
            self._outage.lost(error)
            return alone
        self._outage.over()
        return is_free

    async def _ask_all(self, owner: str, limit: int) -> tuple[bool, list[str]]:
        """Return whether a seat was taken, and if not, who has the others."""
        is_free, *others = await self._run(
            TAKE,
            keys=[self._key(owner)],
            args=[self._holder, self._counts[owner] + 1, limit, int(1000 * LEASE_SECONDS)],
        )
        return bool(is_free), [other.decode() for other in others]

    async def _keep_telling(self) -> None:
        """Tell what is held every second, and what is given back at once."""
        while True:
            try:
                async with asyncio.timeout(TELL_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            async with self._turn:
                await self._tell_all()

    async def _tell_all(self) -> None:
        freed, self._freed = self._freed, set()
        owners = freed | self._counts.keys()
        if not owners or not self._outage.may_ask():
            return
        counts = [self._counts[owner] for owner in owners]
        try:
            await self._run(
                TELL,
                keys=[self._key(owner) for owner in owners],
                args=[self._holder, int(1000 * LEASE_SECONDS), *counts],
            )
        except AWAY as error:
            self._outage.lost(error)
        else:
            self._outage.over()

    async def _run(self, script: Script, *, keys: list[str], args: list[Any]) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, partial(self._lines.run, script, keys=keys, args=args)
        )

    def _key(self, owner: str) -> str:
        return f"{PREFIX}seats:{self._kind}:{owner}"


@cache
def here() -> str:
    """Return what tells the processes that this one can see from all others.

    The same process numbers mean something else in another container of the same machine.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{boot_id()} {namespace}" if Path("/proc").exists() else ""


def is_dead(holder: str) -> bool:
    """Tell whether the process behind a holder is gone for sure; of those elsewhere nobody can."""
    place, pid, began, _ = holder.split("|")
    return bool(place) and place == here() and start_time(int(pid)) != began
