"""A device's packets and news as something to iterate over, for subscribers that are no sockets.

One more local subscriber of the hub, with its own bounded queue: who does not ask for the next
message keeps the sending waiting, falls behind, and is told what it missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

import orjson

from ingest.hub import current_hub
from ingest.messages import Message, View
from ingest.subscription import LIVE, Subscription

T = TypeVar("T")

NEWS_ONLY = View(channels=())  # no packet has one of these


class Listening(Generic[T]):
    """What a subscriber makes of messages, one after another; must be closed.

    Parameters
    ----------
    see : callable
        Makes something of a message of `/v1/stream`; None of what is not wanted.
    first : iterable
        What comes before the first message.
    """

    def __init__(
        self, see: Callable[[dict[str, Any]], Awaitable[T | None]], first: Iterable[T] = ()
    ) -> None:
        self._see = see
        self._first = list(first)
        self._handed: asyncio.Queue[Message] = asyncio.Queue(1)
        self._subscription: Subscription | None = None

    async def open(
        self,
        device_id: str,
        view: View = NEWS_ONLY,
        *,
        owner: str,
        studies: frozenset[str] | None,
        on_lag: str = LIVE,
        next_sequence: int | None = None,
    ) -> Listening[T]:
        """Begin to listen; parameters and errors as of `ingest.hub.Hub.subscribe`.

        Parameters
        ----------
        studies : frozenset of str, or None
            Public ids of the studies whose sessions it may hear of; None for all.
        """
        self._subscription = await current_hub().subscribe(
            device_id,
            view,
            send=self._handed.put,
            on_lag=on_lag,
            next_sequence=next_sequence,
            owner=owner,
        )
        self._subscription.studies = studies
        self._subscription.start()
        return self

    def __aiter__(self) -> Listening[T]:
        return self

    async def __anext__(self) -> T:
        if self._first:
            return self._first.pop(0)
        while True:
            message = await self._next()
            seen = await self._see(orjson.loads(message["text"]))
            if seen is not None:
                return seen

    async def aclose(self) -> None:
        """Listen no more; closing twice does no harm."""
        if self._subscription is not None:
            self._subscription.close()

    async def _next(self) -> Message:
        """Return the next message; raise what ended the sending."""
        sending = self._subscription and self._subscription.task
        if sending is None:
            raise StopAsyncIteration
        waiting = asyncio.ensure_future(self._handed.get())
        try:
            await asyncio.wait([waiting, sending], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
        finally:
            waiting.cancel()
        sending.result()
        raise StopAsyncIteration
