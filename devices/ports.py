"""Which serial ports there are, what hangs on them, and who uses them.

Rule of this file: it looks and never opens a port, for opening one may reset the board behind it.
No Django.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

OPENBCI_DONGLE = (0x0403, 0x6015)
"""FTDI FT231X: the radio dongle of the Cyton (docs.openbci.com, CytonHardware). Other adapters
use the same chip, so it is a guess; a Daisy shows only when the board is asked."""

LATENCY_RULE = 'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"'
ACCESS_RULE = (
    'SUBSYSTEM=="tty", ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6015", '
    'GROUP="dialout", MODE="0660", TAG+="uaccess"'
)
RULES_FILE = "/etc/udev/rules.d/70-neurascale.rules"


@dataclass(frozen=True, slots=True)
class PortFacts:
    """What can be known of a port without opening it; None where nothing says it.

    Parameters
    ----------
    port : str
        What to open: a device file, or the link that a virtual board keeps.
    description : str
        For people.
    manufacturer, serial_number, vid, pid : str or int or None
        As the USB adapter gives them.
    by_id : str or None
        A name that stays the same when the adapter moves to another socket.
    board : str or None
        A guess which of `devices.boards.boards` it is.
    is_virtual : bool
        A virtual board of this lab.
    is_busy : bool
        Some program has it open.
    held_by : str or None
        That program's name and process id, where the system tells.
    """

    port: str
    description: str
    manufacturer: str | None = None
    serial_number: str | None = None
    vid: int | None = None
    pid: int | None = None
    by_id: str | None = None
    board: str | None = None
    is_virtual: bool = False
    is_busy: bool = False
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class LatencyTimer:
    """How long an FTDI adapter gathers bytes before it hands them on.

    Parameters
    ----------
    milliseconds : int or None
        None if the port has no such timer.
    note : str
        What to do about it, or empty.
    """

    milliseconds: int | None
    note: str = ""


def list_ports(*, run_dir: Path | None = None) -> list[PortFacts]:
    """Return the serial ports of this machine, the likeliest boards first.

    Parameters
    ----------
    run_dir : Path or None
        Where virtual boards keep their links: ``run`` in the lab's data folder. None: leave
        virtual boards out.

    Returns
    -------
    list of PortFacts
        Boards before other ports, then by name.
    """
    found = [*_virtual_ports(run_dir), *_serial_ports()]
    return sorted(found, key=lambda facts: (facts.board is None, facts.is_virtual, facts.port))


def facts_of(port: str) -> PortFacts:
    """Return what is known of one port, whether or not it exists, and not who uses it."""
    target = os.path.realpath(port)
    for found in comports():
        if os.path.realpath(found.device) == target:
            return replace(_facts(found), port=port)
    return PortFacts(port=port, description=Path(port).name)


def find_again(lost: PortFacts) -> str:
    """Return where an adapter is now: after a replug the kernel may have renumbered it.

    Parameters
    ----------
    lost : PortFacts
        What it was before.

    Returns
    -------
    str
        The same port if it exists or if the adapter has no serial number to know it by.
    """
    if lost.serial_number is None or os.path.exists(lost.port):
        return lost.port
    known = (lost.vid, lost.pid, lost.serial_number)
    for port in comports():
        if (port.vid, port.pid, port.serial_number) == known:
            return str(port.device)
    return lost.port


def holder_of(port: str, *, look_at_files: bool = True) -> str | None:
    """Return the program that uses a port, such as ``"minicom (process 4711)"``, or None.

    Parameters
    ----------
    port : str
        Path of a device file.
    look_at_files : bool
        Also ask who has the file open, not only who has locked it. Only processes of the same
        user show, unless root asks.
    """
    try:
        found = os.stat(port)
    except OSError:
        return None
    process = _locked_by(found) or (_opened_by(os.path.realpath(port)) if look_at_files else None)
    if process is None or process == os.getpid():
        return process and "this very process"
    try:
        name = Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        name = "a program"
    return f"{name} (process {process})"


def shorten_latency(port: str, *, sysfs: Path = Path("/sys")) -> LatencyTimer:
    """Set an FTDI adapter's latency timer to 1 ms, or say why that cannot be done.

    Linux leaves it at 16 ms: at 250 Hz four samples then arrive at once. Times of samples do not
    suffer, for they come from the fitted clock, but what is shown live is later by as much.

    Parameters
    ----------
    port : str
        Path of a device file.
    sysfs : Path
        Where sysfs is mounted.

    Returns
    -------
    LatencyTimer
        As it is now.
    """
    name = os.path.basename(os.path.realpath(port))
    timer = sysfs / "class" / "tty" / name / "device" / "latency_timer"
    try:
        before = int(timer.read_text())
    except (OSError, ValueError):
        return LatencyTimer(None)
    if before <= 1:
        return LatencyTimer(before)
    try:
        timer.write_text("1")
        return LatencyTimer(int(timer.read_text()))
    except OSError as error:
        note = (
            f"The adapter hands bytes on every {before} ms and {timer} cannot be written "
            f"({error.strerror}). Put this line into {RULES_FILE} and plug the board in again: "
            f"{LATENCY_RULE}"
        )
        return LatencyTimer(before, note)


def _serial_ports() -> Iterator[PortFacts]:
    by_id = _stable_names()
    for port in comports():
        held_by = holder_of(port.device)
        yield replace(
            _facts(port),
            by_id=by_id.get(os.path.realpath(port.device)),
            is_busy=held_by is not None,
            held_by=held_by,
        )


def _facts(port: ListPortInfo) -> PortFacts:
    return PortFacts(
        port=port.device,
        description=port.name if port.description in (None, "n/a") else port.description,
        manufacturer=port.manufacturer,
        serial_number=port.serial_number,
        vid=port.vid,
        pid=port.pid,
        board="cyton" if (port.vid, port.pid) == OPENBCI_DONGLE else None,
    )


def _virtual_ports(run_dir: Path | None) -> Iterator[PortFacts]:
    for link in sorted(run_dir.iterdir()) if run_dir is not None and run_dir.is_dir() else []:
        if not link.is_symlink() or not link.is_char_device():
            continue
        # The board itself keeps its end open, so only a lock tells of a user.
        held_by = holder_of(str(link), look_at_files=False)
        yield PortFacts(
            port=str(link),
            description=f"Virtual board {link.name}",
            board="cyton_daisy" if "daisy" in link.name else "cyton",
            is_virtual=True,
            is_busy=held_by is not None,
            held_by=held_by,
        )


def _stable_names() -> dict[str, str]:
    try:
        links = list(Path("/dev/serial/by-id").iterdir())
    except OSError:
        return {}
    return {os.path.realpath(link): str(link) for link in sorted(links)}


def _locked_by(found: os.stat_result) -> int | None:
    """Return who holds an flock; a line is ``1: FLOCK ADVISORY WRITE 42 00:05:7 0 EOF``."""
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == device:
            return int(words[4])
    return None


def _opened_by(path: str) -> int | None:
    """Return a process that has a device file open."""
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            return None
    except OSError:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = list((process / "fd").iterdir())
        except OSError:
            continue
        for file in files:
            try:
                if os.readlink(file) == path:
                    return int(process.name)
            except OSError:
                continue
    return None
