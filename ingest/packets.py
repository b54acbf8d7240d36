"""A stored chunk on its way to whoever watches: the value that broadcast, hub and replay share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.store import Missing


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """A stored chunk on its way to whoever watches.

    Parameters
    ----------
    device_id, stream_id : str
        Public ids.
    sequence : int
        Number of the packet; grows by one with every packet of the device.
    first_sample : int
        Index in the stream of ``data[:, 0]``.
    time_ns : int
        When ``data[:, 0]`` was taken, in nanoseconds since the Unix epoch, on the fitted clock.
    sfreq : float
        Nominal sampling frequency, in Hz.
    picks : sequence of int
        Channels of the device, from 0, in row order.
    data : ndarray of float32, shape (n_channels, n_times)
        Microvolts, as stored.
    filtered : ndarray of float32, shape (n_channels, n_times), or None
        Microvolts after the stream's filters; None if it has none.
    gap : Missing or None
        Samples missing before this packet.
    """

    device_id: str
    stream_id: str
    sequence: int
    first_sample: int
    time_ns: int
    sfreq: float
    picks: Sequence[int]
    data: NDArray[np.float32]
    filtered: NDArray[np.float32] | None = None
    gap: Missing | None = None

    @property
    def stop_sample(self) -> int:
        """Index of the first sample after the packet."""
        return self.first_sample + int(self.data.shape[1])

    def to_wire(self) -> dict[str, Any]:
        """Return the packet as plain values, which msgpack takes."""
        gap = self.gap
        return {
            "device_id": self.device_id,
            "stream_id": self.stream_id,
            "sequence": self.sequence,
            "first_sample": self.first_sample,
            "time_ns": self.time_ns,
            "sfreq": self.sfreq,
            "picks": list(self.picks),
            "data": _bytes(self.data),
            "filtered": None if self.filtered is None else _bytes(self.filtered),
            "gap": gap and [gap.first_sample, gap.n_times, gap.reason],
        }

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Packet:
        """Return the packet that was made into these values; it shares their memory."""
        fields = dict(values)
        n_channels = len(fields["picks"])
        fields["data"] = _array(fields["data"], n_channels)
        if fields["filtered"] is not None:
            fields["filtered"] = _array(fields["filtered"], n_channels)
        if fields["gap"] is not None:
            fields["gap"] = Missing(*fields["gap"])
        return cls(**fields)


def _bytes(data: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(data, dtype="<f4").tobytes()


def _array(data: bytes, n_channels: int) -> NDArray[np.float32]:
    return np.frombuffer(data, dtype="<f4").reshape(n_channels, -1)
