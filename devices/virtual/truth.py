"""What the virtual board really sent, and when: a log to compare everything else with.

Two files, both only ever appended to, written with one system call a frame, so that they are
complete up to the moment of a `kill -9`.

``PATH`` has a header of 64 bytes and then 64 bytes a frame, little-endian:

======  =======  ==================================================================================
bytes   type     meaning
======  =======  ==================================================================================
0-7     int64    due: when the frame was to be sent, by the board's perfect clock (monotonic ns)
8-15    int64    sent: when it was handed to the port, or would have been (monotonic ns)
16-23   int64    sample: place in the subject's or the recording's time, at 250 Hz
24-27   uint32   epoch: a new one begins whenever the board sets its counter to 0
28-29   uint16   fault: `Fault`
30-31   uint16   detail of the fault
32-63   bytes    the frame as the board made it, without its first byte 0xA0
======  =======  ==================================================================================

``PATH.events`` has one JSON object a line: ``{"time_ns": …, "event": …, …}``. Events are ``board``
(settings, once a process), ``stream_started`` (epoch, sample), ``stream_stopped``, ``command``
(bytes from the host, as text), ``answer``, ``listener`` (somebody opened or closed the port),
``fault``, ``subject`` (what the subject was told, from which sample on), ``annotation`` (epoch,
index, sample, text, and the marker's value) and ``end``.

A frame is stated before it is written to the port. A board that is killed in between may have
stated a frame that was not delivered, never the other way round.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from devices.errors import InvalidBoardSettingsError
from devices.virtual.faults import Fault, damage
from devices.virtual.packets import FRAME_BYTES, START_BYTE

MAGIC = b"NeuraScale virtual board, truth 1\n"
RECORD_BYTES = 64
RECORD = np.dtype(
    [
        ("due_ns", "<i8"),
        ("sent_ns", "<i8"),
        ("sample", "<i8"),
        ("epoch", "<u4"),
        ("fault", "<u2"),
        ("detail", "<u2"),
        ("frame", "u1", (FRAME_BYTES - 1,)),
    ]
)


def events_path(path: Path) -> Path:
    """Return where the events beside a truth log are."""
    return path.with_name(path.name + ".events")


@dataclass(slots=True)
class Sent:
    """One frame on its way out.

    Parameters
    ----------
    due_ns : int
        When it is to be sent.
    sample : int
        Its place in the signal.
    epoch : int
        Its stream.
    frame : bytes
        As the board made it.
    fault : int
        `Fault`: what becomes of it.
    detail : int
        As `Fault` says.
    """

    due_ns: int
    sample: int
    epoch: int
    frame: bytes
    fault: int = 0
    detail: int = 0

    def arriving(self) -> bytes:
        """Return the bytes that the host gets to see."""
        return damage(self.frame, self.fault, self.detail)

    def record(self, sent_ns: int) -> bytes:
        """Return the 64 bytes of the log."""
        return (
            self.due_ns.to_bytes(8, "little", signed=True)
            + sent_ns.to_bytes(8, "little", signed=True)
            + self.sample.to_bytes(8, "little", signed=True)
            + self.epoch.to_bytes(4, "little")
            + self.fault.to_bytes(2, "little")
            + self.detail.to_bytes(2, "little")
            + self.frame[1:]
        )


class TruthLog:
    """Writes the log; an old one is continued.

    Parameters
    ----------
    path : Path
        The log. Its folder must exist.

    Attributes
    ----------
    next_epoch : int
        The first epoch that the log does not have yet.

    Raises
    ------
    InvalidBoardSettingsError
        If there is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self.next_epoch = 0
        self._file: BinaryIO = path.open("r+b" if path.exists() else "x+b", buffering=0)
        header = self._file.read(RECORD_BYTES)
        if not header:
            self._file.write(MAGIC.ljust(RECORD_BYTES, b"\0"))
        elif not header.startswith(MAGIC):
            self._file.close()
            raise InvalidBoardSettingsError(
                f"{path} is not a truth log, and is left alone.",
                suggestion="Give --truth the path of a new file.",
            )
        self._end = self._file.seek(0, os.SEEK_END) // RECORD_BYTES * RECORD_BYTES
        if self._end > RECORD_BYTES:
            self._file.seek(self._end - RECORD_BYTES)
            last = np.frombuffer(self._file.read(RECORD_BYTES), RECORD)
            self.next_epoch = int(last["epoch"][0]) + 1
        self._events: BinaryIO = events_path(path).open("ab", buffering=0)

    def state(self, frames: Sequence[Sent], sent_ns: int) -> None:
        """Log frames that are about to be written to the port."""
        data = b"".join([frame.record(sent_ns) for frame in frames])
        os.pwrite(self._file.fileno(), data, self._end)
        self._end += len(data)

    def correct(self, frames: Sequence[Sent], sent_ns: int) -> None:
        """Log the frames stated last once more, with other faults."""
        data = b"".join([frame.record(sent_ns) for frame in frames])
        os.pwrite(self._file.fileno(), data, self._end - len(data))

    def event(self, time_ns: int, event: str, **facts: Any) -> None:
        """Log anything else."""
        line = json.dumps({"time_ns": time_ns, "event": event, **facts})
        self._events.write(line.encode() + b"\n")

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._events.close()


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a virtual board sent, one column or row a frame, in the order it was made.

    Parameters
    ----------
    epoch : ndarray of int64, shape (n_frames,)
        The board's counter began anew with each epoch.
    index : ndarray of int64, shape (n_frames,)
        Place in the epoch, from 0: the stream's sample index as a perfect receiver counts it
        (a Daisy makes two frames a sample).
    sample : ndarray of int64, shape (n_frames,)
        Place in the subject's or the recording's time, at 250 Hz.
    counter : ndarray of int64, shape (n_frames,)
        The frame's own counter, 0 to 255.
    due_ns : ndarray of int64, shape (n_frames,)
        When the sample was taken, in nanoseconds of the monotonic clock, without jitter.
    sent_ns : ndarray of int64, shape (n_frames,)
        When the frame was handed to the port.
    counts : ndarray of int32, shape (8, n_frames)
        ADC counts in the frame; with a Daisy, even counters carry channels 9 to 16.
    aux : ndarray of uint8, shape (6, n_frames)
        The aux bytes.
    end : ndarray of uint8, shape (n_frames,)
        The end byte, 0xC0 to 0xC6.
    fault : ndarray of uint16, shape (n_frames,)
        `Fault` of each frame.
    detail : ndarray of uint16, shape (n_frames,)
        As `Fault` says.
    frames : ndarray of uint8, shape (n_frames, 33)
        As the board made them.
    events : tuple of dict
        Everything else, in the order it happened; ``event`` says what, ``time_ns`` when.
    """

    epoch: NDArray[np.int64]
    index: NDArray[np.int64]
    sample: NDArray[np.int64]
    counter: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    counts: NDArray[np.int32]
    aux: NDArray[np.uint8]
    end: NDArray[np.uint8]
    fault: NDArray[np.uint16]
    detail: NDArray[np.uint16]
    frames: NDArray[np.uint8]
    events: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, path: Path | str) -> Truth:
        """Read a log, also one that is being written to.

        Parameters
        ----------
        path : Path or str
            What ``--truth`` was given.

        Returns
        -------
        Truth
            Everything that was sent so far.

        Raises
        ------
        InvalidBoardSettingsError
            If the file is not a truth log.
        """
        path = Path(path)
        data = path.read_bytes()
        if not data.startswith(MAGIC):
            raise InvalidBoardSettingsError(f"{path} is not a truth log of the virtual board.")
        data = data[RECORD_BYTES : len(data) // RECORD_BYTES * RECORD_BYTES]
        records = np.frombuffer(data, RECORD)
        lines = events_path(path).read_bytes().split(b"\n")[:-1]
        return cls._of(records, tuple(json.loads(line) for line in lines))

    @classmethod
    def _of(cls, records: NDArray[Any], events: tuple[dict[str, Any], ...]) -> Truth:
        n_frames = records.size
        frames = np.empty((n_frames, FRAME_BYTES), dtype=np.uint8)
        frames[:, 0] = START_BYTE
        frames[:, 1:] = records["frame"]
        epoch = records["epoch"].astype(np.int64)
        first_of_epoch = np.searchsorted(epoch, epoch)  # epochs never go back
        bytes_of = frames[:, 2:26].reshape(n_frames, 8, 3).astype(np.int32)
        counts = bytes_of[:, :, 0] << 16 | bytes_of[:, :, 1] << 8 | bytes_of[:, :, 2]
        counts = counts << 8 >> 8  # carries the sign of 24 bits
        return cls(
            epoch=epoch,
            index=np.arange(n_frames) - first_of_epoch,
            sample=records["sample"].astype(np.int64),
            counter=frames[:, 1].astype(np.int64),
            due_ns=records["due_ns"].astype(np.int64),
            sent_ns=records["sent_ns"].astype(np.int64),
            counts=np.ascontiguousarray(counts.T),
            aux=np.ascontiguousarray(frames[:, 26:32].T),
            end=frames[:, 32].copy(),
            fault=records["fault"].copy(),
            detail=records["detail"].copy(),
            frames=frames,
            events=events,
        )

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.epoch.size)

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Frames of which no byte arrived, shape (n_frames,)."""
        return (self.fault & Fault.LOST) != 0

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Frames that arrived as they were made, shape (n_frames,)."""
        return (self.fault & (Fault.LOST | Fault.DAMAGED)) == 0

    def arrived(self, epoch: int | None = None) -> bytes:
        """Return the bytes of all frames, of one epoch or all, as the host got to see them.

        Answers to commands, which a board that streams puts between frames, are not among them.
        """
        wanted = np.ones(self.n_frames, bool) if epoch is None else self.epoch == epoch
        return b"".join(
            damage(self.frames[i].tobytes(), int(self.fault[i]), int(self.detail[i]))
            for i in np.flatnonzero(wanted)
        )

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return all events of one kind, oldest first."""
        return [one for one in self.events if one["event"] == event]
