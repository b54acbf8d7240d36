"""Who has the port open, as far as the kernel tells.

A serial driver throws away what arrives while nobody has the port open; a pseudo-terminal keeps it
for the next one who opens it. The virtual board has to know, to be like the first.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# inotify(7)
IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 0x08, 0x10, 0x20
EVENT_BYTES = 16


class Listeners:
    """Watches a device node for others that open and close it.

    Parameters
    ----------
    path : str
        The node.
    own : int
        A descriptor of the node that does not count.

    Attributes
    ----------
    present : bool
        Somebody has it open. Always true where the system cannot tell.
    """

    def __init__(self, path: str, own: int) -> None:
        self._path = path
        self._own = Path(f"/proc/{os.getpid()}/fd/{own}")
        self._fd = -1
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            wanted = IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_OPEN
            if self._fd >= 0 and libc.inotify_add_watch(self._fd, path.encode(), wanted) < 0:
                self.close()  # out of watches: be as if the system could not tell
        self.present = self._fd < 0

    def fileno(self) -> int | None:
        """Return what becomes readable when somebody opens or closes the node."""
        return self._fd if self._fd >= 0 else None

    def update(self) -> bool:
        """Read what happened; return whether somebody opened the node since."""
        try:
            events = os.read(self._fd, 256 * EVENT_BYTES)
        except BlockingIOError:
            return False
        masks = [
            int.from_bytes(events[i + 4 : i + 8], sys.byteorder)
            for i in range(0, len(events), EVENT_BYTES)
        ]
        opened = any(mask & IN_OPEN for mask in masks)
        if any(mask & ~IN_OPEN for mask in masks):
            # The kernel merges equal events, so openings and closings cannot be counted.
            self.present = self._somebody()
        else:
            self.present = self.present or opened
        return opened

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _somebody(self) -> bool:
        """Look through the descriptors of all processes that we may look at."""
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    descriptors = [fd for fd in (process / "fd").iterdir() if fd != self._own]
                except OSError:
                    continue  # ended meanwhile, or another user's
                if any(self._leads_here(fd) for fd in descriptors):
                    return True
        return False

    def _leads_here(self, descriptor: Path) -> bool:
        try:
            return os.readlink(descriptor) == self._path
        except OSError:
            return False  # closed meanwhile
