"""The options of the virtual board, for ``python -m devices.virtual`` and for ``manage.py``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import devices.virtual as lazily
from devices.errors import InvalidBoardSettingsError
from devices.virtual.board import VirtualBoard
from devices.virtual.faults import GRAMMAR, Faults
from devices.virtual.pty import Claim, PseudoTerminal
from devices.virtual.signal import COMMANDS, Subject
from devices.virtual.sources import Source
from devices.virtual.truth import TruthLog
from neurascale.core.errors import NeuraScaleError

DESCRIPTION = "An OpenBCI Cyton with its dongle, on a pseudo-terminal."

EPILOG = f"""\
FAULTS
{GRAMMAR}

WHILE IT RUNS, a line on the standard input is either in the same grammar ('silence=now+2') or tells
the subject something: {COMMANDS}.
A closed standard input is ignored.

Source of the protocol: OpenBCI's Cyton firmware 3.1.5 and docs.openbci.com (CytonSDK,
CytonDataFormat).
"""


def default_link() -> Path:
    """Return where the link is put when nothing is said: in the data folder."""
    project = Path(__file__).resolve().parent.parent.parent
    home = Path(os.environ.get("NEURASCALE_HOME") or project / "var").expanduser().resolve()
    return home / "run" / "virtual-cyton"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all options to a parser."""
    add = parser.add_argument
    add(
        "--link",
        type=Path,
        default=default_link(),
        metavar="PATH",
        help="symbolic link to the port (default: $NEURASCALE_HOME/run/virtual-cyton)",
    )
    add("--daisy", action="store_true", help="with a Daisy module: 16 channels at 125 Hz")
    add("--replay", type=Path, metavar="FILE", help="replay an EDF or BDF recording")
    add(
        "--replay-channels",
        metavar="NAMES",
        help="its channels for the board's channels 1, 2, …, such as C3,Cz,C4",
    )
    add(
        "--replay-end",
        choices=("loop", "flat", "stop"),
        default="loop",
        help="at its end begin again, give 0 µV, or stop streaming (default: loop); "
        "every start of the stream begins at its first sample",
    )
    add("--faults", default="", help="what goes wrong, see below")
    add("--speed", type=float, default=1.0, metavar="X", help="run X times as fast")
    add("--truth", type=Path, metavar="FILE", help="state what was sent, and when, in this log")
    add("--mains", type=float, choices=(50, 60), default=50, help="hum of the mains, in Hz")
    add("--seed", type=int, default=0, metavar="N", help="of the subject and of all chances")
    add(
        "--script",
        default="",
        metavar="TEXT",
        help="what to tell the subject at which second, such as '5 eyes closed; 9 imagine left'",
    )
    add(
        "--with-parent",
        nargs="?",
        type=int,
        const=os.getppid(),
        metavar="PID",
        help="end when the process that started this one (PID, if given) ends",
    )


def run(options: argparse.Namespace) -> int:
    """Be a virtual board until ended.

    Parameters
    ----------
    options : argparse.Namespace
        As `add_arguments` makes it.

    Returns
    -------
    int
        The process's exit status: 0, or 2 with a message on the standard error if the options
        cannot be followed.
    """
    try:
        return _run(options)
    except NeuraScaleError as error:
        suggestion = error.details.get("suggestion", "")
        sys.stderr.write(f"virtual board: {error.message} {suggestion}\n")
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.speed <= 0:
        raise InvalidBoardSettingsError(f"--speed {options.speed:g} is not more than 0.")
    faults = Faults(seed=options.seed)
    faults.add(options.faults)
    source = _make_source(options)
    script = _parse_script(options.script, Subject(n_channels=len(source.ch_names)))
    if script and options.replay:
        raise InvalidBoardSettingsError("--script tells a subject, and --replay has none.")
    claim = Claim(options.link)
    truth = None
    terminal = PseudoTerminal(options.link)
    try:
        if options.truth:
            options.truth.parent.mkdir(parents=True, exist_ok=True)
            truth = TruthLog(options.truth)
        terminal.plug()
        if truth:
            _state_settings(truth, options, source)
        board = VirtualBoard(
            terminal,
            source,
            daisy=options.daisy,
            faults=faults,
            truth=truth,
            speed=options.speed,
            script=script,
            parent=options.with_parent,
        )
        board.run(lambda: _say_ready(options.link, terminal))
    finally:
        terminal.unplug()
        claim.release()
        if truth:
            truth.close()
    return 0


def _make_source(options: argparse.Namespace) -> Source:
    n_channels = 16 if options.daisy else 8
    if options.replay is None:
        return Subject(seed=options.seed, n_channels=n_channels, mains=options.mains)
    names = options.replay_channels.split(",") if options.replay_channels else None
    recording: Source = lazily.Recording(
        options.replay, ch_names=names, n_channels=n_channels, at_end=options.replay_end
    )
    return recording


def _say_ready(link: Path, terminal: PseudoTerminal) -> None:
    with suppress(OSError):  # nobody has to read it
        sys.stdout.write(f"Virtual Cyton at {link} ({terminal.name})\n")
        sys.stdout.flush()


def _parse_script(text: str, rehearsal: Subject) -> list[tuple[float, str]]:
    script = []
    for line in filter(None, (part.strip() for part in text.replace("\n", ";").split(";"))):
        seconds, _, what = line.partition(" ")
        try:
            script.append((float(seconds), what.strip()))
        except ValueError as error:
            raise InvalidBoardSettingsError(
                f"{line!r} in --script does not begin with a second.",
                suggestion="Write for example '5 eyes closed; 9 imagine left'.",
            ) from error
        rehearsal.command(what.strip(), 0)  # rather a complaint now than in mid-stream
    return sorted(script)


def _state_settings(truth: TruthLog, options: argparse.Namespace, source: Source) -> None:
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name in {"link", "daisy", "replay", "faults", "speed", "mains", "seed", "script"}
    }
    wall_minus_monotonic_ns = time.time_ns() - time.monotonic_ns()
    truth.event(
        time.monotonic_ns(),
        "board",
        pid=os.getpid(),
        ch_names=list(source.ch_names),
        wall_minus_monotonic_ns=wall_minus_monotonic_ns,
        **settings,
    )
