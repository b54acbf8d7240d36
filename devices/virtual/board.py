"""The virtual Cyton: firmware, signal, faults and port, in one loop on one thread."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from devices.errors import InvalidBoardSettingsError
from devices.virtual.ads1299 import N_CHANNELS, SFREQ
from devices.virtual.clocks import Clock
from devices.virtual.dongle import Dongle
from devices.virtual.faults import Fault, Faults
from devices.virtual.firmware import Firmware
from devices.virtual.packets import BoardMode
from devices.virtual.pty import PseudoTerminal
from devices.virtual.sources import Source
from devices.virtual.truth import Sent, TruthLog

# Plain numbers: flags of an enum are slow to combine, four times a frame.
SILENT, HELD, OVERRUN = int(Fault.SILENT), int(Fault.HELD), int(Fault.OVERRUN)
UNHEARD, UNPLUGGED = int(Fault.UNHEARD), int(Fault.UNPLUGGED)

SAMPLES_AT_ONCE = 25  # converted in one go; a subject reacts this much later, 0.1 s
IDLE_SECONDS = 0.25
BACKLOG_FRAMES = 8
PATIENCE_SECONDS = 0.25
G_COUNTS = 8000  # one g at a range of 4 g: 2 mg a digit, four bits further left
ACCELEROMETER_EVERY = 10  # samples: it runs at 25 Hz


class VirtualBoard:
    """A board with its dongle, on a pseudo-terminal.

    Parameters
    ----------
    terminal : PseudoTerminal
        The port.
    source : Source
        What is at the electrodes.
    daisy : bool
        16 channels.
    faults : Faults
        What goes wrong.
    truth : TruthLog or None
        Where to state what was sent.
    speed : float
        Seconds of the board's time in one of ours.
    script : sequence of (float, str)
        What to tell the source, and at which second of its time; in order.
    parent : int or None
        End when this process is not our parent any more.
    """

    def __init__(
        self,
        terminal: PseudoTerminal,
        source: Source,
        *,
        daisy: bool = False,
        faults: Faults | None = None,
        truth: TruthLog | None = None,
        speed: float = 1.0,
        script: Sequence[tuple[float, str]] = (),
        parent: int | None = None,
    ) -> None:
        self.terminal = terminal
        self.source = source
        self.faults = faults or Faults()
        self.truth = truth
        self.speed = speed
        self.parent = parent
        self.firmware = Firmware(daisy=daisy, seed=self.faults.seed)
        self.dongle = Dongle()
        self._script = [(round(seconds * SFREQ), text) for seconds, text in script]
        self._stopping = False
        self._power_clock = Clock(time.monotonic_ns(), self._millis_rate)
        self._sample_clock: Clock | None = None  # starts with the first stream, never stops
        self._tick = 0  # the next one of the sample clock
        self._epoch = truth.next_epoch - 1 if truth else -1
        self._sample = 0  # the next one of the source
        self._epoch_sample = 0  # the one that the epoch began with
        self._n_frames = 0
        self._queue: list[Sent] = []
        self._hold = 0
        self._active = dict.fromkeys(("silence", "unplug", "off", "reset"), False)
        self._first_loaded = self._stop_loaded = 0
        self._stdin = _stdin_fd()
        self._line = b""

    def run(self, on_ready: Callable[[], None]) -> None:
        """Be a board until somebody ends it.

        Parameters
        ----------
        on_ready : callable
            Called when a host may open the port and a signal ends the board cleanly.
        """
        wake, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(signalled)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.stop)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # a background job must not read, nor stop
        self._load()
        on_ready()
        while not self._stopping and self.parent in {None, os.getppid()}:
            self._wait(wake)
            self._advance()
            self._say(self.firmware.tick(self._millis(time.monotonic_ns())))
        self._flush()
        self._state("end")

    def stop(self, *_: object) -> None:
        """End `run` soon."""
        self._stopping = True

    # --- Waiting --------------------------------------------------------------------------------

    def _wait(self, wake: int) -> None:
        """Sleep until a frame is due or somebody wants something, and hear what."""
        descriptors = [wake]
        if self.terminal.plugged:
            descriptors.append(self.terminal.fileno())
            if (watch := self.terminal.listeners_fileno()) is not None:
                descriptors.append(watch)
        if self._stdin is not None:
            descriptors.append(self._stdin)
        unfinished = [self.terminal.fileno()] if self.terminal.has_rest else []
        ready, has_room, _ = select.select(descriptors, unfinished, [], self._seconds_to_wait())
        if has_room:
            self.terminal.write()
        if not ready:
            return
        if self.terminal.plugged:
            if self.terminal.listeners_fileno() in ready:
                was_heard = self.terminal.heard
                self.terminal.update_listeners()
                if self.terminal.heard != was_heard:
                    self._state("listener", present=self.terminal.heard)
            if self.terminal.fileno() in ready and (data := self.terminal.read()):
                self._receive(data)
        if self._stdin in ready:
            self._read_stdin()

    def _seconds_to_wait(self) -> float:
        if self._sample_clock is None:
            return IDLE_SECONDS
        tick = self._tick
        if not self.firmware.streaming:
            edges = [edge for span in self.faults.spans for edge in (span.first, span.stop)]
            tick = min((edge for edge in edges if edge >= tick), default=tick + int(SFREQ))
        seconds = (self._sample_clock.time_ns(tick) - time.monotonic_ns()) / 1e9
        return max(0.0, min(seconds, IDLE_SECONDS))

    def _read_stdin(self) -> None:
        assert self._stdin is not None  # noqa: S101  the caller waited for it
        try:
            data = os.read(self._stdin, 4096)
        except OSError:
            data = b""
        if not data:
            self._stdin = None
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._told(line.decode(errors="replace").strip())

    def _told(self, line: str) -> None:
        """Do what a line on the standard input says."""
        if not line:
            return
        try:
            if "=" in line or line == "none":
                self.faults.add(line, now=self._tick)
                self._state("fault", text=line, tick=self._tick)
                self._set_rates()
            else:
                self._tell_source(line, self._stop_loaded)
        except InvalidBoardSettingsError as error:
            sys.stderr.write(f"{error.message} {error.details.get('suggestion', '')}\n")

    # --- The host -------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._state("command", text=data.decode("latin-1"))
        answer, forwarded = self.dongle.receive(data, in_reach=self._in_reach)
        self._say(answer, from_dongle=True)
        if forwarded:
            was_streaming, starts = self.firmware.streaming, self.firmware.starts
            self._say(self.firmware.receive(forwarded, self._millis(now)))
            if self.firmware.starts != starts and self.firmware.streaming:
                self._begin_stream(now, again=was_streaming)
            elif was_streaming and not self.firmware.streaming:
                self._state("stream_stopped", epoch=self._epoch)

    def _say(self, text: bytes, *, from_dongle: bool = False) -> None:
        """Send an answer, between frames."""
        if text and (from_dongle or self.dongle.hears(in_reach=self._in_reach)):
            self._flush()
            if self.terminal.heard:
                self.terminal.write(text)
                self._state("answer", text=text.decode("latin-1"))

    @property
    def _in_reach(self) -> bool:
        return not (self._active["silence"] or self._active["off"])

    # --- Time -----------------------------------------------------------------------------------

    @property
    def _sample_rate(self) -> float:
        return SFREQ * self.speed * (1 + self.faults.drift * 1e-6)

    @property
    def _millis_rate(self) -> float:
        return 1000 * self.speed * (1 + self.faults.crystal * 1e-6)

    def _set_rates(self) -> None:
        if self._sample_clock is not None:
            self._sample_clock.set_rate(self._sample_rate, self._tick)
        self._power_clock.set_rate(self._millis_rate, self._millis(time.monotonic_ns()))

    def _millis(self, time_ns: int) -> int:
        return int(self._power_clock.ticks(time_ns))

    def _begin_stream(self, now: int, *, again: bool) -> None:
        """Start counting; ``again``: the board itself began anew while it was streaming."""
        if self._sample_clock is None:
            self._sample_clock = Clock(now + round(1e9 / self._sample_rate), self._sample_rate)
        self._tick = max(self._tick, math.floor(self._sample_clock.ticks(now)) + 1)
        if self.source.rewinds and not again:
            self._sample = 0
        self._epoch += 1
        self._epoch_sample = self._sample
        self._state(
            "stream_started", epoch=self._epoch, sample=self._sample, tick=self._tick, again=again
        )

    def _advance(self) -> None:
        """Do all that is due by now."""
        if self._sample_clock is None:
            return
        last = math.floor(self._sample_clock.ticks(time.monotonic_ns()))
        while self._tick <= last:
            if self.faults.spans or True in self._active.values():
                self._change_spans(self._tick)
            if self.firmware.streaming:
                self._make_frame(self._sample_clock.time_ns(self._tick))
            self._tick += 1
        if not self._hold:
            self._flush()
        if self.firmware.streaming and self._sample >= self._stop_loaded:
            self._load()  # now, while there is time, not when the next frame is due

    def _change_spans(self, tick: int) -> None:
        """Begin and end the faults that last."""
        for kind, was_active in self._active.items():
            is_active = self.faults.covering(kind, tick)
            if is_active != was_active:
                self._hold = 0
                self._flush()
                self._active[kind] = is_active
                self._state("fault", text=kind, begins=is_active, tick=tick)
                self._change(kind, is_active)

    def _change(self, kind: str, is_active: bool) -> None:
        if kind == "unplug":
            if is_active:
                self.terminal.unplug()
            else:
                self.terminal.plug()
        elif kind == "off" or (kind == "reset" and is_active):
            if self.firmware.streaming:
                self._state("stream_stopped", epoch=self._epoch)
            banner = self.firmware.power_on()
            self._power_clock = Clock(time.monotonic_ns(), self._millis_rate)
            self._say(banner)

    # --- Frames ---------------------------------------------------------------------------------

    def _make_frame(self, due_ns: int) -> None:
        sample = self._sample
        if not self._first_loaded <= sample < self._stop_loaded:
            self._load()
        self._convert()
        for note in self.source.annotations(sample):
            if self.firmware.packets.mode is BoardMode.MARKER:
                self.firmware.packets.marker = note.value
            self._state(
                "annotation",
                epoch=self._epoch,
                index=sample - self._epoch_sample,
                sample=sample,
                text=note.text,
                value=note.value,
            )
        axes = _axes(sample) if sample % ACCELEROMETER_EVERY == 0 else None
        counts = self._counts[sample - self._first_loaded]
        frame = self.firmware.sample(counts, self._millis(due_ns), axes)
        self._sample += 1
        if frame:
            self._post(Sent(due_ns, sample, self._epoch, frame))
        if self._sample == self.source.stop_sample:
            self.firmware.receive(b"s", 0)
            self._state("stream_stopped", epoch=self._epoch)

    def _post(self, sent: Sent) -> None:
        """Put a frame in the queue to the port, with its fate."""
        sent.fault, sent.detail, hold = self.faults.fate(self._n_frames)
        self._n_frames += 1
        if not self.dongle.hears(in_reach=self._in_reach):
            sent.fault |= SILENT
        if hold and not self._hold:
            self._flush()
            self._hold = hold
        self._queue.append(sent)
        if self._hold:
            sent.fault |= HELD
            self._hold -= 1
            if not self._hold:
                self._flush()

    def _flush(self) -> None:
        """Hand the queue to the port in one piece."""
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        if not self.terminal.heard:
            lost = UNHEARD if self.terminal.plugged else UNPLUGGED
            for sent in queue:
                sent.fault |= lost
        now = time.monotonic_ns()
        if self.truth:
            self.truth.state(queue, now)
        if self.terminal.heard:
            # A backlog is ours, not the radio's: this process had to wait for a processor.
            patience = PATIENCE_SECONDS if len(queue) > BACKLOG_FRAMES else 0.0
            frames = [sent.arriving() for sent in queue]
            n_taken = self.terminal.write(*frames, patience=patience)
            if n_taken < len(queue):
                for sent in queue[n_taken:]:
                    sent.fault |= OVERRUN
                if self.truth:
                    self.truth.correct(queue, now)

    def _load(self) -> None:
        """Read the next samples of the source."""
        self._first_loaded, self._stop_loaded = self._sample, self._sample + SAMPLES_AT_ONCE
        while self._script and self._script[0][0] < self._stop_loaded:
            at, text = self._script.pop(0)
            self._tell_source(text, max(at, self._first_loaded))
        self._inputs_uv = self.source.read(self._first_loaded, SAMPLES_AT_ONCE)
        self._converted_with = -1
        self._convert()

    def _convert(self) -> None:
        """Turn them into counts, again whenever the converters were set otherwise."""
        converters = self.firmware.converters
        if self._converted_with != converters.version:
            self._converted_with = converters.version
            counts: list[list[int]] = []
            for i, chip in enumerate(converters.chips):
                own = slice(i * N_CHANNELS, (i + 1) * N_CHANNELS)
                kohm = self.source.impedance_kohm[own]
                counts += chip.convert(self._inputs_uv[own], self._first_loaded, kohm).tolist()
            self._counts = list(zip(*counts, strict=True))

    def _tell_source(self, text: str, sample: int) -> None:
        self.source.command(text, sample)
        self._state("subject", text=text, sample=sample)

    def _state(self, event: str, **facts: Any) -> None:
        if self.truth:
            self.truth.event(time.monotonic_ns(), event, **facts)


def _axes(sample: int) -> tuple[int, int, int]:
    """Return what the accelerometer of a board that lies still reads, x, y and z."""
    sway = math.sin(2 * math.pi * sample / SFREQ / 7)
    x, y, z = 0.02 + 0.01 * sway, -0.03, 0.99 + 0.004 * sway
    return int(x * G_COUNTS) & ~15, int(y * G_COUNTS) & ~15, int(z * G_COUNTS) & ~15


def _stdin_fd() -> int | None:
    """Return the standard input if there is one."""
    with suppress(AttributeError, OSError, ValueError):
        return sys.stdin.fileno()
    return None
