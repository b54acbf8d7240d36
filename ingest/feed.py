"""What is going on with one device, gathered once a process and passed on to its subscribers.

The channel layer tells at most once, the store has everything, and packets are numbered. So a feed
passes on what the layer brings while the numbers are consecutive; a number that was left out, and
a device that has gone quiet although its stream grows, are read from the store. Subscribers notice
neither a lost message nor a broker that restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from contextlib import suppress
from typing import Any

from channels.layers import get_channel_layer

from ingest.broadcast import LAYER_ERRORS, PACKET, group_of
from ingest.messages import Encoder, View
from ingest.models import Stream
from ingest.packets import Packet
from ingest.replay import NotKept, Replay
from ingest.subscription import (
    DATABASE_ERRORS,
    RETRY_SECONDS,
    Subscription,
    in_thread,
    not_kept,
)

log = logging.getLogger(__name__)

INBOX_MESSAGES = 256  # what the layer brings while the store is read; the oldest are dropped
QUIET_SECONDS = 0.25  # without a packet of a running stream: look into the store
IDLE_SECONDS = 1.0  # the same, of a device that streams nothing
LISTEN_SECONDS = 1.0  # how long a subscriber waits for the layer; the store is there without it
DEAF_LOOKS = 4  # looks in a row that found packets untold: listen anew then, after 8, after 16 …


class Feed:
    """What is going on with one device, for all its subscribers of this process.

    Parameters
    ----------
    device_id : str
        Public id.

    Attributes
    ----------
    next_sequence : int
        Number of the packet that live subscribers get next; all before it are stored.
    last : Packet or None
        The packet they got last.
    """

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.next_sequence = 0
        self.last: Packet | None = None
        self.n_users = 0
        self._subscriptions: set[Subscription] = set()
        self._live: defaultdict[View, set[Subscription]] = defaultdict(set)
        self._inbox: deque[dict[str, Any]] = deque(maxlen=INBOX_MESSAGES)
        self._arrived = asyncio.Event()
        self._listens = asyncio.Event()
        self._is_running = False
        self._n_deaf_looks = 0
        self._replay: Replay | None = None
        self._opening = asyncio.ensure_future(self._open())
        self._listener = asyncio.ensure_future(self._listen())
        self._worker: asyncio.Task[None] | None = None

    # --- for the hub and for subscriptions -------------------------------------------------------

    async def ready(self) -> None:
        """Return when `next_sequence` is known."""
        await asyncio.shield(self._opening)

    def add(self, subscription: Subscription) -> None:
        """Pass on news from now on; packets only after `join`."""
        self._subscriptions.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.discard(subscription)
        self.leave(subscription)

    def join(self, subscription: Subscription) -> None:
        """Pass on every packet from `next_sequence` on."""
        self._live[subscription.view].add(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Pass on no more packets."""
        live = self._live[subscription.view]
        live.discard(subscription)
        if not live:
            del self._live[subscription.view]

    def close(self) -> None:
        """Stop listening and working."""
        for task in (self._opening, self._listener, self._worker):
            if task is not None:
                task.cancel()

    # --- from the layer --------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Put what the layer brings into the inbox, through every loss of the broker."""
        while True:
            try:
                await self._receive()
            except LAYER_ERRORS as error:
                log.warning("%s: the channel layer does not answer: %r", self.device_id, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self) -> None:
        layer = get_channel_layer()
        group = group_of(self.device_id)
        channel = await layer.new_channel()
        try:
            await layer.group_add(group, channel)
            self._listens.set()
            while True:
                self._inbox.append(await layer.receive(channel))
                self._arrived.set()
        finally:
            with suppress(*LAYER_ERRORS):
                async with asyncio.timeout(LISTEN_SECONDS):
                    await layer.group_discard(group, channel)

    async def _open(self) -> None:
        """Learn where the device's numbers are, after beginning to listen: not the other way."""
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await self._listens.wait()
        except TimeoutError:
            log.warning("%s: starting without the channel layer", self.device_id)
        self.next_sequence = await self._look()
        self._begin_work()

    def _begin_work(self) -> None:
        self._worker = asyncio.ensure_future(self._work())
        self._worker.add_done_callback(self._work_ended)

    def _work_ended(self, worker: asyncio.Task[None]) -> None:
        """Report what nobody foresaw, and go on after the message that brought it."""
        if not worker.cancelled():
            log.error(
                "%s: a message was not passed on", self.device_id, exc_info=worker.exception()
            )
            self._begin_work()

    async def _work(self) -> None:
        """Go through the inbox, for ever."""
        while True:
            try:
                message = await self._next_message()
                if message is None:
                    await self._look_after_quiet()
                elif message.pop("type") == PACKET:
                    await self._take(Packet.from_wire(message))
                else:
                    self._tell(message)
            except DATABASE_ERRORS as error:
                log.warning("%s: cannot read the store: %s", self.device_id, error)
                self._replay = None
                await asyncio.sleep(RETRY_SECONDS)

    async def _next_message(self) -> dict[str, Any] | None:
        """Return what the layer brought; None if it has brought nothing for a while."""
        if not self._inbox:
            self._arrived.clear()
            try:
                async with asyncio.timeout(QUIET_SECONDS if self._is_running else IDLE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._inbox.popleft()

    # --- packets ---------------------------------------------------------------------------------

    async def _take(self, packet: Packet) -> None:
        """Deliver a packet once and in its turn."""
        self._is_running = True
        self._n_deaf_looks = 0
        if packet.sequence > self.next_sequence:
            await self._fill(packet.sequence)
        if packet.sequence == self.next_sequence:
            self._deliver(packet)

    def _deliver(self, packet: Packet) -> None:
        encoder = Encoder(packet)
        gap = encoder.gap()
        self.last, self.next_sequence = packet, packet.sequence + 1
        for view, subscriptions in list(self._live.items()):
            data = encoder.data(view)
            messages = [message for message in (gap, data) if message is not None]
            for subscription in list(subscriptions):
                subscription.take(packet, messages)

    async def _fill(self, stop_sequence: int) -> None:
        """Deliver what the layer left out, from the store."""
        replay = self._replay
        if replay is None or replay.next_sequence != self.next_sequence:
            # Filtered, whoever is there now: somebody who wants it may join meanwhile.
            replay = Replay(self.device_id, next_sequence=self.next_sequence, filtered=True)
        self._replay = replay  # kept, for its filters' memory: a broker stays away for a while
        while found := await in_thread(replay.batch, stop_sequence):
            for piece in found:
                if isinstance(piece, NotKept):
                    self._tell_not_kept(piece)
                else:
                    self._deliver(piece)

    def _tell_not_kept(self, lost: NotKept) -> None:
        self.next_sequence = lost.last_sequence + 1
        message = not_kept(self.device_id, lost)
        for subscriptions in list(self._live.values()):
            for subscription in list(subscriptions):
                subscription.tell(message)

    async def _look(self) -> int:
        """Return the number of the next packet to be stored."""
        next_sequence, self._is_running = await in_thread(look_up_sequence, self.device_id)
        return next_sequence

    async def _look_after_quiet(self) -> None:
        """Deliver what was stored and not told; listen anew where that goes on."""
        stored = await self._look()
        if stored <= self.next_sequence:
            return
        self._n_deaf_looks += 1
        await self._fill(stored)
        if self._n_deaf_looks >= DEAF_LOOKS and self._n_deaf_looks.bit_count() == 1:
            log.warning("%s: the channel layer brings nothing; listening anew", self.device_id)
            self._listener.cancel()
            self._listener = asyncio.ensure_future(self._listen())

    # --- news ------------------------------------------------------------------------------------

    def _tell(self, word: dict[str, Any]) -> None:
        """Pass on a status or a marker, except to who sent it."""
        for subscription in list(self._subscriptions):
            is_private = "whole" in word and subscription.sees(word["study_id"])
            text = word["whole"] if is_private else word.get("text")
            if text and (subscription.name != word["sender"] or not subscription.name):
                subscription.tell({"type": "websocket.send", "text": text})


def look_up_sequence(device_id: str) -> tuple[int, bool]:
    """Return the number of a device's next packet, and whether it is meant to stream."""
    streams = Stream.objects.filter(device__public_id=device_id, origin=Stream.Origin.BOARD)
    newest = streams.order_by("-pk").values_list("next_sequence", "wanted").first()
    return (newest[0], newest[1] == Stream.Wanted.RUNNING) if newest else (0, False)
