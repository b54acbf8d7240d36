"""One per web process: a feed for every device that is watched, and who watches how much."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from django.conf import settings

from ingest.errors import TooManySubscriptionsError
from ingest.feed import Feed
from ingest.messages import View
from ingest.subscription import REPLAY, Send, Subscription
from neurascale.core.seats import Seats


class Hub:
    """The feeds of one process, and how many subscriptions each client has in all processes."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._seats = Seats(settings.REDIS_URL, "subscriptions")

    async def subscribe(
        self,
        device_id: str,
        view: View,
        *,
        send: Send,
        on_lag: str = REPLAY,
        next_sequence: int | None = None,
        owner: str = "",
        name: str = "",
    ) -> Subscription:
        """Return a subscription, which sends nothing before it is started.

        Parameters
        ----------
        device_id : str
            Public id of a device that exists, whether it streams or not.
        view : View
            What of the packets is wanted, and in which form.
        send : callable
            Of ASGI; awaited for one message after another.
        on_lag : {"replay", "live"}
            What a subscriber that was too slow wants: everything, late, or the present.
        next_sequence : int, optional
            First packet wanted; by default the next one there will be.
        owner : str
            Whose subscriptions are counted together.
        name : str
            Of the connection: news that it sends itself are not told to it.

        Raises
        ------
        TooManySubscriptionsError
            If the owner has ``settings.MAX_SUBSCRIPTIONS`` already, in all web processes.
        """
        if not await self._seats.take(owner, limit=settings.MAX_SUBSCRIPTIONS):
            raise TooManySubscriptionsError(
                f"{settings.MAX_SUBSCRIPTIONS} subscriptions are open, and that is the limit",
                limit=settings.MAX_SUBSCRIPTIONS,
                suggestion="Unsubscribe from what is not needed any more.",
            )
        if device_id not in self._feeds:
            self._feeds[device_id] = Feed(device_id)
        feed = self._feeds[device_id]
        feed.n_users += 1
        try:
            await feed.ready()
        except BaseException:
            self._release(feed, owner)
            raise
        return Subscription(
            feed,
            view,
            send=send,
            on_lag=on_lag,
            next_sequence=next_sequence,
            name=name,
            on_close=lambda: self._release(feed, owner),
        )

    def close(self) -> None:
        """Let go of all feeds."""
        self._seats.close()
        for feed in self._feeds.values():
            feed.close()
        self._feeds.clear()

    def _release(self, feed: Feed, owner: str) -> None:
        self._seats.give_back(owner)
        feed.n_users -= 1
        if not feed.n_users:
            feed.close()
            if self._feeds.get(feed.device_id) is feed:
                del self._feeds[feed.device_id]


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """Return the hub of the running event loop; a web process has one loop, and so one hub."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
