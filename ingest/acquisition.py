"""The loop of one stream: link -> store -> filters -> broadcast, in that order and nothing else.

*Store, then tell*: a sample is shown after the transaction that holds it was committed. The loop
is plain and synchronous; bytes go on arriving in the link's own thread while it waits for a disk,
and the broadcaster keeps the event loop and the connection it needs for as long as the loop lives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from devices.boards import BoardInfo
from devices.link import Link, Resume
from devices.models import Device
from ingest import leases
from ingest.broadcast import Broadcaster
from ingest.errors import LeaseLostError
from ingest.markers import record_board_marker
from ingest.models import Block, Stream
from ingest.packets import Packet
from ingest.quality import QualityMeter, Window, overall
from ingest.replay import filter_as_live
from ingest.store import BlockWriter, Stored
from neurascale.core.chunk import Chunk
from neurascale.core.errors import HardwareError
from neurascale.core.host import boot_id

if TYPE_CHECKING:
    from ingest.filters.sos import SosFilter

log = logging.getLogger(__name__)

READ_SECONDS = 0.2  # how long the loop waits for samples before it looks around
RENEW_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0


class NotWanted(Exception):
    """The stream's row, or the worker, says that the loop should end."""


class Acquisition:
    """Serve one stream until its row says stop, the worker shuts down or the lease is lost.

    Parameters
    ----------
    stream : Stream
        As `ingest.leases.claim` returned it.
    holder : str
        The lease's holder, likewise.
    shutdown : threading.Event
        Set when the worker shuts down: the board is left streaming, so that the next worker can
        say exactly what was missed.
    """

    def __init__(self, stream: Stream, holder: str, *, shutdown: threading.Event) -> None:
        self.stream = stream
        self.device: Device = stream.device
        self.holder = holder
        self.shutdown = shutdown
        self.picks = np.asarray(stream.picks)
        same_boot = stream.boot_id == boot_id() != ""
        self.link = Link(
            self.device.port,
            self.device.board_class(stream.board_settings),
            chunk_ms=stream.chunk_ms,
            on_event=self._on_link_event,
            resume=resume_of(stream),
            clock_offset_ns=stream.clock_offset_ns if same_boot else None,
        )
        self.writer = BlockWriter(stream, holder=holder)
        self.filter: SosFilter | None = None  # made when the board streams, for that takes a second
        self.meter = QualityMeter(len(stream.picks), stream.sfreq, stream.scale_uv)
        self.broadcaster = Broadcaster(self.device.public_id)
        self.quality: dict[str, Any] | None = None
        self.looked_at = self.renewed_at = 0.0

    def run(self) -> None:
        """Record until told otherwise; returns quietly in every case that was foreseen.

        Raises
        ------
        Exception
            What nobody foresaw. The lease is left to run out, and the reconciler tries again.
        """
        try:
            self._open()
            while True:
                self._check_wanted()
                chunk = self.link.read(READ_SECONDS)
                if chunk is not None:
                    self._take(chunk)
        except NotWanted:
            self._end()
        except LeaseLostError:
            log.warning("%s: somebody else serves this stream now", self.stream)
        finally:
            self.link.close()
            self.broadcaster.close()

    # --- beginning and end ---------------------------------------------------------------------

    def _open(self) -> None:
        """Open the port; try again for a stream that has already recorded, fail for a new one."""
        for pause in pauses():
            self._check_wanted()
            try:
                info = self.link.open()
                self.link.start()
            except HardwareError as error:
                self.link.close()
                if not self.stream.next_sample:
                    self._fail(error)
                    raise NotWanted from error
                log.warning("%s: %s; trying again in %.1f s", self.device, error, pause)
                self._set_state(Stream.State.RECONNECTING)
                self.device.mark(Device.Status.RECONNECTING, error=error)
                self.shutdown.wait(pause)
            else:
                self._streaming(info)
                return

    def _streaming(self, info: BoardInfo) -> None:
        self.stream.clock_offset_ns = self.link.clock_offset_ns
        self.stream.boot_id = boot_id()
        self.stream.state = Stream.State.RUNNING
        self.stream.error = None
        self.stream.save(update_fields=["clock_offset_ns", "boot_id", "state", "error"])
        self.device.mark(Device.Status.STREAMING, info=info, port_info=self.link.port_info)
        # Meanwhile the link's thread goes on reading: nothing is lost by being slow here.
        self.filter = filter_as_live(self.stream, self.stream.next_sample)
        self.broadcaster.status("streaming_started", {"stream_id": self.stream.public_id})

    def _fail(self, error: HardwareError) -> None:
        self.stream.wanted = Stream.Wanted.STOPPED
        self.stream.state = Stream.State.FAILED
        self.stream.stopped_at = timezone.now()
        self.stream.error = {"code": error.code, "message": error.message, "details": error.details}
        self.stream.save(update_fields=["wanted", "state", "stopped_at", "error"])
        self.device.mark(Device.Status.ERROR, error=error)
        self.broadcaster.status("disconnected", self.stream.error)

    def _end(self) -> None:
        """Leave things as the next one wants to find them."""
        self.stream.refresh_from_db(fields=["wanted", "state"])
        if self.stream.wanted == Stream.Wanted.STOPPED:
            self.link.stop()
            if self.stream.state != Stream.State.FAILED:
                self.stream.state = Stream.State.STOPPED
                self.stream.stopped_at = timezone.now()
                # In this order: who waits for the stream's state reads the device's next.
                self.device.mark(Device.Status.CONNECTED)
                self.stream.save(update_fields=["state", "stopped_at"])
                self.broadcaster.status("streaming_stopped", {"stream_id": self.stream.public_id})
        else:
            self._set_state(Stream.State.RECONNECTING)
        leases.release(self.stream.pk, self.holder)

    # --- the way of a chunk --------------------------------------------------------------------

    def _take(self, chunk: Chunk) -> None:
        if self.picks.size != chunk.n_channels:
            chunk = Chunk(
                data=chunk.data[self.picks],
                sfreq=chunk.sfreq,
                first_sample=chunk.first_sample,
                time_ns=chunk.time_ns,
                aux=chunk.aux,
                gap=chunk.gap,
                markers=chunk.markers,
            )
        if self.link.counter_phase != self.stream.counter_phase:  # the board began anew
            self.stream.counter_phase = self.link.counter_phase
            self.stream.save(update_fields=["counter_phase"])
        windows = self.meter.feed(chunk)
        stored = self._store(chunk, windows)
        if stored.gap is not None and self.filter is not None:
            self.filter.reset()
        self.broadcaster.packet(
            Packet(
                device_id=self.device.public_id,
                stream_id=self.stream.public_id,
                sequence=stored.sequence,
                first_sample=chunk.first_sample,
                time_ns=chunk.time_ns,
                sfreq=chunk.sfreq,
                picks=self.stream.picks,
                data=chunk.data,
                filtered=None if self.filter is None else self.filter(chunk.data),
                gap=stored.gap,
            )
        )
        if windows:
            self._judge(windows[-1])

    def _store(self, chunk: Chunk, windows: list[Window]) -> Stored:
        """Append, however long the database is away: bytes wait in the link meanwhile."""
        for pause in pauses():
            try:
                if not chunk.markers:
                    return self.writer.append(chunk, windows=windows)
                with transaction.atomic():
                    stored = self.writer.append(chunk, windows=windows)
                    events = [record_board_marker(self.stream, chunk, m) for m in chunk.markers]
            except (OperationalError, InterfaceError) as error:
                log.warning("%s: cannot store (%s); again in %.1f s", self.stream, error, pause)
                connection.close()
                if self.shutdown.wait(pause):
                    raise
            else:
                for event, study_id in events:
                    self.broadcaster.marker(event, study_id=study_id)
                return stored
        raise AssertionError("pauses() never ends")

    # --- looking around ------------------------------------------------------------------------

    def _check_wanted(self) -> None:
        """Raise `NotWanted` if the loop should end; hold the lease while the database is there."""
        if self.shutdown.is_set():
            raise NotWanted
        now = time.monotonic()
        if now - self.looked_at < READ_SECONDS:
            return
        self.looked_at = now
        try:
            if not leases.is_wanted(self.stream.pk, self.holder):
                raise NotWanted
            if now - self.renewed_at >= RENEW_SECONDS:
                leases.renew(self.stream.pk, self.holder, quality=self.quality)
                self.renewed_at = now
        except (OperationalError, InterfaceError) as error:
            log.warning("%s: cannot renew the lease: %s", self.stream, error)
            connection.close()

    def _judge(self, window: Window) -> None:
        """Say when the signal of any channel became better or worse."""
        quality = {
            "overall": overall(window.verdicts),
            "channels": list(window.verdicts),
            "reasons": list(window.reasons),
        }
        if quality != self.quality:
            self.broadcaster.status("signal_quality", quality)
        self.quality = quality

    def _on_link_event(self, event: str, data: dict[str, Any]) -> None:
        """Pass on what the link lived through; called from inside `Link.read`."""
        log.info("%s: %s %s", self.device, event, data)
        if event == "connected" and self.stream.state == Stream.State.RECONNECTING:
            self._set_state(Stream.State.RUNNING)
            self.device.mark(Device.Status.STREAMING)
        elif event in {"disconnected", "reconnecting"}:
            self._set_state(Stream.State.RECONNECTING)
            self.device.mark(Device.Status.RECONNECTING)
        self.broadcaster.status(event, data)

    def _set_state(self, state: Stream.State) -> None:
        if self.stream.state != state:
            self.stream.state = state
            self.stream.save(update_fields=["state"])


def resume_of(stream: Stream) -> Resume | None:
    """Return what the store has of a stream that somebody served before, or None."""
    last = Block.objects.filter(stream=stream).order_by("-first_sample").first()
    if last is None:
        return None
    return Resume(
        next_sample=stream.next_sample,
        last_first_sample=last.first_sample,
        last_time_ns=last.time_ns,
        counter_phase=stream.counter_phase,
    )


def pauses() -> Iterator[float]:
    """Yield seconds to wait between attempts, growing to `LONGEST_PAUSE_SECONDS`, for ever."""
    pause = 0.1
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
