"""What the server says on `/v1/stream`: the only file that knows these messages' keys.

A packet becomes one message for every way of looking at it (`View`), which all subscribers that
look at it this way share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack
import numpy as np

from devices.models import Device
from ingest.models import Stream
from ingest.packets import Packet
from neurascale.core.errors import NeuraScaleError
from neurascale.core.logs import request_id
from neurascale.core.wire import dumps

Message = dict[str, Any]  # of ASGI: {"type": "websocket.send", "text": …} or "bytes"

# Why samples are missing, beside the reasons of `GapReason`.
LAGGED = "lagged"  # the subscriber did not read fast enough
NOT_KEPT = "not_kept"  # older than what the store keeps


class View(NamedTuple):
    """One way of looking at a device's packets.

    Parameters
    ----------
    channels : tuple of int, or None
        From 1, in the order of the columns; None for all that the stream has.
    filtered : bool
        Whether the stream's filters are applied.
    format : str
        ``"json"`` or ``"msgpack"``.
    """

    channels: tuple[int, ...] | None = None
    filtered: bool = True
    format: str = "json"


def text(content: Mapping[str, Any]) -> Message:
    """Return a message that is no packet: JSON, whatever format the packets have."""
    return {"type": "websocket.send", "text": dumps(content).decode()}


class Encoder:
    """Encodes one packet, once for every view that is asked for.

    Parameters
    ----------
    packet : Packet
        What to encode.
    """

    def __init__(self, packet: Packet) -> None:
        self.packet = packet
        self._done: dict[tuple[tuple[int, ...], bool, str], Message] = {}

    def data(self, view: View) -> Message | None:
        """Return the packet as seen through a view; None if it has none of the channels."""
        packet = self.packet
        channels = tuple(pick + 1 for pick in packet.picks)
        if view.channels is not None:
            channels = tuple(c for c in view.channels if c in channels)
        if not channels:
            return None
        filtered = view.filtered and packet.filtered is not None
        key = (channels, filtered, view.format)
        if key not in self._done:
            self._done[key] = self._encode(*key)
        return self._done[key]

    def gap(self) -> Message | None:
        """Return what is said of the samples missing before the packet, if any are."""
        gap = self.packet.gap
        return gap and text(
            gap_message(
                self.packet.device_id,
                reason=gap.reason,
                stream_id=self.packet.stream_id,
                first_sample=gap.first_sample,
                n_samples=gap.n_times,
            )
        )

    def _encode(self, channels: tuple[int, ...], filtered: bool, form: str) -> Message:
        packet = self.packet
        data = packet.filtered if filtered and packet.filtered is not None else packet.data
        rows = list(packet.picks)
        samples = np.ascontiguousarray(data[[rows.index(c - 1) for c in channels]].T)
        content = {
            "type": "data",
            "device_id": packet.device_id,
            "stream_id": packet.stream_id,
            "sequence": packet.sequence,
            "timestamp": packet.time_ns / 1e6,
            "first_sample": packet.first_sample,
            "sample_rate": packet.sfreq,
            "channels": channels,
            "samples": samples,
        }
        if form == "json":
            return text(content)
        content["samples"] = {"dtype": "<f4", "shape": samples.shape, "data": samples.tobytes()}
        return {"type": "websocket.send", "bytes": msgpack.packb(content)}


def gap_message(
    device_id: str,
    *,
    reason: str,
    stream_id: str | None = None,
    sequences: tuple[int, int] | None = None,
    first_sample: int | None = None,
    n_samples: int | None = None,
    replayed: bool = False,
) -> dict[str, Any]:
    """Say that something is missing here.

    Parameters
    ----------
    reason : str
        A `GapReason` for samples that nobody has; `LAGGED` or `NOT_KEPT` for packets that this
        subscriber does not get.
    sequences : tuple of int, optional
        First and last of the missing packets; None where no packet is missing, only samples.
    first_sample, n_samples : int, optional
        The missing samples, where they are known.
    replayed : bool
        Whether what is missing follows now, from the store.
    """
    first, last = sequences or (None, None)
    return {
        "type": "gap",
        "device_id": device_id,
        "stream_id": stream_id,
        "reason": str(reason),
        "from_sequence": first,
        "to_sequence": last,
        "first_sample": first_sample,
        "n_samples": n_samples,
        "replayed": replayed,
    }


def status_message(device_id: str, event: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Say what happened to a device."""
    return {"type": "status", "device_id": device_id, "event": event, "data": dict(data)}


def marker_message(device_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Say that a sample was marked."""
    return {"type": "marker", "device_id": device_id, **data}


def subscribed_message(
    device: Device, stream: Stream | None, view: View, *, on_lag: str, next_sequence: int
) -> dict[str, Any]:
    """Say what a subscriber is going to get: from the stream that runs, or of the device's board.

    Parameters
    ----------
    device : Device
        Subscribed to.
    stream : Stream or None
        What it streams now.
    view : View
        As asked for.
    on_lag : str
        Likewise.
    next_sequence : int
        Number of the first packet to come, if it is kept.
    """
    board = device.make_board()
    picks = list(range(board.n_channels)) if stream is None else stream.picks
    channels = [pick + 1 for pick in picks]
    if view.channels is not None:
        channels = [c for c in view.channels if c in channels]
    return {
        "type": "subscribed",
        "device_id": device.public_id,
        "stream_id": stream and stream.public_id,
        "status": device.status,
        "channels": channels,
        "ch_names": [board.ch_names[c - 1] for c in channels],
        "sample_rate": board.sfreq if stream is None else stream.sfreq,
        "filtered": view.filtered,
        "filters": stream.filters if stream else {},
        "format": view.format,
        "on_lag": on_lag,
        "next_sequence": next_sequence,
    }


def pong_message(sent: Any) -> dict[str, Any]:
    """Answer a ping with the time it carried, and with the server's wall clock in milliseconds."""
    return {"type": "pong", "time": sent, "server_time": time.time_ns() / 1e6}


def error_message(error: NeuraScaleError) -> dict[str, Any]:
    """Say that something cannot be done, in the envelope of the REST API."""
    envelope = {
        "code": error.code,
        "message": error.message,
        "details": error.details,
        "request_id": request_id.get(),  # of the connection: one for as long as it lasts
    }
    return {"type": "error", "error": envelope}
