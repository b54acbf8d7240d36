"""What goes wrong between a board and its host, on demand and reproducibly.

The grammar is a comma-separated list. Chances are per frame; times are seconds since the board
first streamed, or ``now``, on the board's own clock.

=====================  =============================================================================
``drop=P``             the radio loses a frame with probability P
``corrupt=P``          one byte of a frame arrives changed
``truncate=P``         a frame arrives cut short
``burst=N:P``          with probability P, N frames are held back and arrive at once
``drift=PPM``          the converter runs that much too fast
``crystal=PPM``        the clock behind the board's time stamps runs that much too fast
``silence=X+Y``        Y s out of the radio's reach, from second X on; the board goes on counting
``unplug=X+Y``         the dongle is unplugged at second X and comes back Y s later
``off=X+Y``            the board is switched off at second X and on again Y s later
``reset=X``            the board browns out at second X: it stops streaming and forgets its settings
``none``               from here on nothing goes wrong any more
=====================  =============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntFlag

from devices.errors import InvalidBoardSettingsError
from devices.virtual.noise import BLOCK, uniform
from devices.virtual.packets import FRAME_BYTES

GRAMMAR = "\n".join(
    line.replace("``", "") for line in __doc__.splitlines()[2:] if not line.startswith("=")
)

CHANCES = ("drop", "corrupt", "truncate")
PPM = ("drift", "crystal")
SPANS = ("silence", "unplug", "off", "reset")
WORDS = (*CHANCES, "burst", *PPM, *SPANS, "none")


class Fault(IntFlag):
    """What became of a frame. A frame without any of these arrived whole and in time."""

    NONE = 0
    DROPPED = 1  # lost by the radio
    CORRUPTED = 2  # one byte changed; `detail` is its place and, times 256, what it was XORed with
    TRUNCATED = 4  # cut short; `detail` is how many bytes arrived
    HELD = 8  # held back, and delivered in one piece with others
    SILENT = 16  # the board was out of reach
    UNPLUGGED = 32  # the dongle was unplugged
    UNHEARD = 64  # nobody had the port open
    OVERRUN = 128  # the port's buffer was full, because nobody read

    LOST = DROPPED | SILENT | UNPLUGGED | UNHEARD | OVERRUN
    DAMAGED = CORRUPTED | TRUNCATED


# Plain numbers: flags of an enum are slow to combine, for something done with every frame.
DROPPED, CORRUPTED, TRUNCATED, LOST = (
    int(fault) for fault in (Fault.DROPPED, Fault.CORRUPTED, Fault.TRUNCATED, Fault.LOST)
)


@dataclass(frozen=True, slots=True)
class Span:
    """A fault that lasts for a while.

    Parameters
    ----------
    kind : str
        One of `SPANS`.
    first, stop : int
        Sample periods since the board first streamed; ``stop`` is excluded.
    """

    kind: str
    first: int
    stop: int


@dataclass(slots=True)
class Faults:
    """What shall go wrong.

    Parameters
    ----------
    seed : int
        Of all chances: the fate of frame n depends on it, on n, and on nothing else.
    sfreq : float
        Frames per second of the board's time.
    """

    seed: int = 0
    sfreq: float = 250.0
    drop: float = 0.0
    corrupt: float = 0.0
    truncate: float = 0.0
    burst: float = 0.0
    burst_frames: int = 1
    drift: float = 0.0
    crystal: float = 0.0
    spans: list[Span] = field(default_factory=list)
    _dice: dict[int, Sequence[Sequence[float]]] = field(default_factory=dict)

    def add(self, text: str, *, now: int = 0) -> None:
        """Change what goes wrong.

        Parameters
        ----------
        text : str
            In the grammar of this module.
        now : int
            Sample periods since the board first streamed, for the word ``now``.

        Raises
        ------
        InvalidBoardSettingsError
            If the text is not in the grammar; nothing is changed then.
        """
        changes = [self._parse(item.strip(), now) for item in text.split(",") if item.strip()]
        for change in changes:
            for name, value in change.items():
                if name == "span":
                    self.spans.append(value)
                else:
                    setattr(self, name, value)

    def covering(self, kind: str, sample: int) -> bool:
        """Whether a fault of that kind lasts at ``sample``, in sample periods."""
        return any(span.kind == kind and span.first <= sample < span.stop for span in self.spans)

    def fate(self, frame: int) -> tuple[int, int, int]:
        """Return what chance has in store for the board's n-th frame.

        Parameters
        ----------
        frame : int
            Frames the board has made before, over all its streams.

        Returns
        -------
        fault : int
            `Fault`: DROPPED, CORRUPTED, TRUNCATED or NONE.
        detail : int
            As `Fault` says.
        hold : int
            Hold back that many frames, this one included; 0: none.
        """
        if not (self.drop or self.corrupt or self.truncate or self.burst):
            return 0, 0, 0
        block, place = divmod(frame, BLOCK)
        if block not in self._dice:
            self._dice = {block: uniform((self.seed, 13), block, (BLOCK, 6)).tolist()}
        drop, truncate, corrupt, burst, where, what = self._dice[block][place]
        hold = self.burst_frames if burst < self.burst else 0
        if drop < self.drop:
            return DROPPED, 0, hold
        if truncate < self.truncate:
            return TRUNCATED, 1 + int(where * (FRAME_BYTES - 1)), hold
        if corrupt < self.corrupt:
            return CORRUPTED, int(where * FRAME_BYTES) | (1 + int(what * 255)) << 8, hold
        return 0, 0, hold

    # --- The grammar ----------------------------------------------------------------------------

    def _parse(self, item: str, now: int) -> dict[str, float | int | Span | list[Span]]:
        word, equals, value = (part.strip() for part in item.partition("="))
        try:
            if word == "none" and not equals:
                quiet = dict.fromkeys((*CHANCES, "burst", *PPM), 0.0)
                return {**quiet, "spans": [span for span in self.spans if span.stop <= now]}
            if word in CHANCES:
                return {word: _chance(value)}
            if word == "burst":
                n, _, chance = value.partition(":")
                if int(n) < 1:
                    raise ValueError
                return {"burst_frames": int(n), "burst": _chance(chance)}
            if word in PPM:
                return {word: float(value)}
            if word in SPANS:
                return {"span": self._span(word, value, now)}
        except ValueError:
            pass
        raise InvalidBoardSettingsError(
            f"{item!r} is not a fault the virtual board knows.",
            suggestion=f"Write for example 'drop=0.01,burst=8:0.05,silence=10+2'.\n{GRAMMAR}",
        )

    def _span(self, kind: str, value: str, now: int) -> Span:
        start, _, seconds = value.partition("+")
        first = now if start.strip() == "now" else round(float(start) * self.sfreq)
        length = round(float(seconds) * self.sfreq) if kind != "reset" else 1
        if (kind == "reset" and seconds) or first < 0 or length < 1:
            raise ValueError
        return Span(kind, first, first + length)


def _chance(value: str) -> float:
    chance = float(value)
    if not 0 <= chance <= 1:
        raise ValueError
    return chance


def damage(frame: bytes, fault: int, detail: int) -> bytes:
    """Return a frame as it arrives.

    Parameters
    ----------
    frame : bytes
        As the board made it.
    fault : int
        `Fault`: what became of it.
    detail : int
        As `Fault` says.

    Returns
    -------
    bytes
        Empty if it does not arrive at all.
    """
    if fault & LOST:
        return b""
    if fault & TRUNCATED:
        return frame[:detail]
    if fault & CORRUPTED:
        place, mask = detail & 0xFF, detail >> 8
        return frame[:place] + bytes([frame[place] ^ mask]) + frame[place + 1 :]
    return frame
