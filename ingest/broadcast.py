"""Chunk -> message: the only file that knows the names of groups and what travels in them.

There is one group a device. A packet carries its samples twice, raw and filtered, so that a web
process can serve any subscriber from the one message. What is sent here is a copy of what is
stored: a message may be lost (Valkey restarts, a web process is slow), and `ingest.hub` then reads
the packet from the store. Status messages and markers have no such second source.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from ingest.messages import marker_message, status_message
from ingest.packets import Packet
from neurascale.core.wire import dumps

log = logging.getLogger(__name__)

IDS = ("session_id", "event_id")  # in news of a device: nobody's matter but the study's
PACKET, WORD = "device.packet", "device.word"  # the types of messages in a group
LAYER_ERRORS = (RedisError, OSError, TimeoutError)
STALL_SECONDS = 0.04  # what a lost broker may cost the acquisition loop at once
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 1.0  # of those who have the time


def group_of(device_id: str) -> str:
    """Return the name of the group in which a device's packets and news are told."""
    return f"device.{device_id}"


class Broadcaster:
    """Tell whoever watches a device, from a plain loop that must not be held up.

    It owns one event loop and with it one connection to the channel layer, for as long as it
    lives: opening them for every message costs milliseconds. A broker that goes away costs 40 ms,
    then nothing for a tenth of a second, and so on up to a second; what is not told meanwhile is
    left out. The first message may take a second, since it connects.

    Parameters
    ----------
    device_id : str
        Public id.
    """

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.n_dropped = 0
        self._loop = asyncio.new_event_loop()
        self._pause = 0.0
        self._patience = PATIENCE_SECONDS
        self._quiet_until = 0.0

    def packet(self, packet: Packet) -> None:
        """Tell a packet. It is stored already: a subscriber that misses it reads it there."""
        self._send({"type": PACKET, **packet.to_wire()})

    def status(self, event: str, data: dict[str, Any]) -> None:
        """Tell what happened to the device; at most once, and to who watches now."""
        self._send(_word(status_message(self.device_id, event, data)))

    def marker(self, data: dict[str, Any], *, study_id: str = "") -> None:
        """Tell that the board itself marked a sample; ids only to who sees the study."""
        self._send(_word(marker_message(self.device_id, data), study_id=study_id))

    def close(self) -> None:
        """Close the connection; the broadcaster is of no use afterwards."""
        if self._loop.is_closed():
            return
        try:
            self._loop.close()  # the layer hooks in here and closes its connection
        except LAYER_ERRORS as error:
            log.warning("%s: closing the channel layer failed: %s", self.device_id, error)

    def _send(self, message: dict[str, Any]) -> None:
        if time.monotonic() < self._quiet_until:
            self.n_dropped += 1
            return
        # To connect takes longer than to tell, and is done once.
        seconds, self._patience = self._patience, STALL_SECONDS
        try:
            self._loop.run_until_complete(_publish(self.device_id, message, seconds))
        except LAYER_ERRORS as error:
            self._lost(error)
        else:
            self._found()

    def _lost(self, error: Exception) -> None:
        self.n_dropped += 1
        if not self._pause:
            log.warning(
                "%s: the channel layer does not answer (%r); subscribers read from the store",
                self.device_id,
                error,
            )
        self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._quiet_until = time.monotonic() + self._pause

    def _found(self) -> None:
        if self._pause:
            log.info("%s: the channel layer is back; dropped %d", self.device_id, self.n_dropped)
            self._pause = 0.0


def announce(device_id: str, event: str, data: dict[str, Any], *, study_id: str = "") -> None:
    """Tell what happened to a device, once, from synchronous code of any process.

    Never raises for a broker that is away: who watches is told at most once. The ids of a session
    and of its events (`IDS`) are told only to those who see the study.
    """
    async_to_sync(_announce)(device_id, status_message(device_id, event, data), study_id)


async def _announce(device_id: str, content: dict[str, Any], study_id: str) -> None:
    await _try_to_publish(device_id, content["type"], _word(content, study_id=study_id))


async def tell(
    device_id: str, content: dict[str, Any], *, sender: str = "", study_id: str = ""
) -> None:
    """Tell those who watch a device something, except the connection called ``sender``.

    With ``study_id`` only those who see that study.
    """
    word = _word(content, sender=sender, study_id=study_id, is_public=not study_id)
    await _try_to_publish(device_id, content["type"], word)


async def _try_to_publish(device_id: str, kind: str, word: dict[str, Any]) -> None:
    try:
        await _publish(device_id, word, PATIENCE_SECONDS)
    except LAYER_ERRORS as error:
        log.warning("%s: nobody could be told of %s: %r", device_id, kind, error)


def _word(
    content: dict[str, Any], *, sender: str = "", study_id: str = "", is_public: bool = True
) -> dict[str, Any]:
    """Return a message of the layer that holds a message for sockets, ready to be sent.

    Devices belong to the lab and all may watch them, recordings belong to a study: ``text`` is for
    everybody, where there is one, ``whole`` for those who see the study.
    """
    word = {"type": WORD, "sender": sender}
    if is_public:
        word["text"] = dumps(_without_ids(content)).decode()
    if study_id:
        word |= {"study_id": study_id, "whole": dumps(content).decode()}
    return word


def _without_ids(content: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_ids(value) if isinstance(value, dict) and name == "data" else value
        for name, value in content.items()
        if name not in IDS
    }


async def _publish(device_id: str, message: dict[str, Any], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await get_channel_layer().group_send(group_of(device_id), message)
