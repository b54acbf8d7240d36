"""One subscriber of one device: what waits for it, and how it comes back after being too slow.

A subscription is either *live* (the feed puts each packet into its queue) or *behind* (it reads
the store at its own pace until it is level with the feed). It begins behind if it asks for packets
of the past, and falls behind when its queue is full: a subscriber that does not read costs a queue
and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.db import InterfaceError, OperationalError

from ingest.messages import LAGGED, NOT_KEPT, Encoder, Message, View, gap_message, text
from ingest.packets import Packet
from ingest.replay import NotKept, Replay

log = logging.getLogger(__name__)

Send = Callable[[Message], Awaitable[None]]

REPLAY, LIVE = "replay", "live"
DATABASE_ERRORS = (OperationalError, InterfaceError)
RETRY_SECONDS = 0.5
QUEUE_MESSAGES = 64  # 2.5 s of signal in chunks of 40 ms
QUEUE_WORDS = 32  # news that may wait beyond that
POLITE_MESSAGES = 16  # sent in a row before others get their turn


class Source(Protocol):
    """What a subscription asks of its feed; see `ingest.feed.Feed`."""

    device_id: str
    next_sequence: int
    last: Packet | None

    def add(self, subscription: Subscription) -> None: ...  # noqa: D102
    def remove(self, subscription: Subscription) -> None: ...  # noqa: D102
    def join(self, subscription: Subscription) -> None: ...  # noqa: D102
    def leave(self, subscription: Subscription) -> None: ...  # noqa: D102


class Subscription:
    """Sends a device's packets and news to one subscriber, once it is started.

    Parameters
    ----------
    feed : Source
        Where they come from.
    view : View
        What of the packets is wanted, and in which form.
    send : callable
        Of ASGI; awaited for one message after another.
    on_lag : {"replay", "live"}
        What is wanted after being too slow: everything, late, or the present.
    next_sequence : int or None
        First packet wanted; by default the next one there will be.
    name : str
        Of the connection.
    on_close : callable
        Called once, when the subscription is closed.

    Attributes
    ----------
    next_sequence : int
        Number of the first packet that is neither sent nor in the queue.
    task : asyncio.Task or None
        Does the sending; ends only by failing or by being closed.
    studies : frozenset of str, or None
        Public ids of the studies that the subscriber sees; None for all, and none until it is said.
    """

    def __init__(
        self,
        feed: Source,
        view: View,
        *,
        send: Send,
        on_lag: str = REPLAY,
        next_sequence: int | None = None,
        name: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.view = view
        self.on_lag = on_lag
        self.name = name
        self.next_sequence = feed.next_sequence if next_sequence is None else next_sequence
        self.task: asyncio.Task[None] | None = None
        self.studies: frozenset[str] | None = frozenset()
        self._feed = feed
        self._send = send
        self._on_close: Callable[[], None] | None = on_close
        self._queue: deque[tuple[Packet | None, Message]] = deque()
        self._wake = asyncio.Event()
        self._is_live = False
        self._missed: Packet | None = None  # the first one left out, until that is told
        self._replay: Replay | None = None
        feed.add(self)
        self._join_if_level()

    def start(self) -> asyncio.Task[None]:
        """Begin to send; the task ends only by failing or by being closed."""
        self.task = asyncio.ensure_future(self._run())
        return self.task

    def close(self) -> None:
        """Send nothing more; closing twice does no harm."""
        if self._on_close is not None:
            self._feed.remove(self)
            if self.task is not None:
                self.task.cancel()
            self._on_close()
            self._on_close = None

    # --- what the feed calls ---------------------------------------------------------------------

    def sees(self, study_id: str | None) -> bool:
        """Tell whether news of a study's recordings are for this subscriber."""
        return self.studies is None or study_id in self.studies

    def take(self, packet: Packet, messages: Sequence[Message]) -> None:
        """Queue what is to be sent for a packet; fall behind if the queue is full."""
        if packet.sequence < self.next_sequence:
            return  # it came from another web process, which was a little further
        if len(self._queue) >= QUEUE_MESSAGES:
            self._fall_behind(packet)
            return
        self._queue.extend((packet, message) for message in messages)
        self.next_sequence = packet.sequence + 1
        self._wake.set()

    def tell(self, message: Message) -> None:
        """Queue news; who does not read misses some."""
        if len(self._queue) < QUEUE_MESSAGES + QUEUE_WORDS:
            self._queue.append((None, message))
            self._wake.set()

    # --- the sending -----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            while self._queue:
                await self._send(self._queue.popleft()[1])
            if self._missed is not None:
                self._tell_missed(self._missed)
            elif not self._is_live:
                await self._catch_up()
            else:
                self._wake.clear()
                await self._wake.wait()

    def _join_if_level(self) -> None:
        # Nothing is awaited between the comparison and the joining: no packet can slip through.
        if self.next_sequence >= self._feed.next_sequence:
            self._replay = None
            self._is_live = True
            self._feed.join(self)

    def _fall_behind(self, packet: Packet) -> None:
        """Take no more packets until the queue is sent; to be in the present soon, empty it."""
        self._is_live = False
        self._feed.leave(self)
        self._missed = packet
        if self.on_lag == LIVE:
            waiting = [(waits, message) for waits, message in self._queue if waits is not None]
            self._missed = waiting[0][0] if waiting else packet
            self._queue = deque(entry for entry in self._queue if entry[0] is None)
            self.next_sequence = self._missed.sequence

    def _tell_missed(self, first: Packet) -> None:
        """Say what was left out, then go on with it or with the present, as was agreed."""
        self._missed = None
        last = self._feed.last
        n_samples = None
        if last is not None and last.stream_id == first.stream_id:
            n_samples = last.stop_sample - first.first_sample
        self._queue.append(
            (
                None,
                text(
                    gap_message(
                        self._feed.device_id,
                        reason=LAGGED,
                        stream_id=first.stream_id,
                        sequences=(self.next_sequence, self._feed.next_sequence - 1),
                        first_sample=first.first_sample,
                        n_samples=n_samples,
                        replayed=self.on_lag == REPLAY,
                    )
                ),
            )
        )
        if self.on_lag == LIVE:
            self.next_sequence = self._feed.next_sequence
            self._join_if_level()

    async def _catch_up(self) -> None:
        """Send some stored packets, or join the live ones."""
        self._join_if_level()
        if self._is_live:
            return
        if self._replay is None:
            self._replay = Replay(
                self._feed.device_id,
                next_sequence=self.next_sequence,
                filtered=self.view.filtered,
            )
        try:
            messages = await in_thread(self._read, self._replay, self._feed.next_sequence)
        except DATABASE_ERRORS as error:
            log.warning("%s: cannot replay: %s", self._feed.device_id, error)
            self._replay = None
            await asyncio.sleep(RETRY_SECONDS)
            return
        for n_sent, message in enumerate(messages, 1):
            await self._send(message)
            if n_sent % POLITE_MESSAGES == 0:
                await asyncio.sleep(0)
        self.next_sequence = self._replay.next_sequence

    def _read(self, replay: Replay, stop_sequence: int) -> list[Message]:
        """Return what is to be sent for the next stored packets; runs in a thread."""
        messages: list[Message | None] = []
        for piece in replay.batch(stop_sequence):
            if isinstance(piece, NotKept):
                messages.append(not_kept(self._feed.device_id, piece))
            else:
                encoder = Encoder(piece)
                messages += [encoder.gap(), encoder.data(self.view)]
        return [message for message in messages if message is not None]


def not_kept(device_id: str, lost: NotKept) -> Message:
    """Return the message that says which packets nobody can have any more."""
    sequences = (lost.first_sequence, lost.last_sequence)
    return text(gap_message(device_id, reason=NOT_KEPT, sequences=sequences))


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call what reads the database, in any thread: replays run beside each other."""
    return await database_sync_to_async(function, thread_sensitive=False)(*args)
