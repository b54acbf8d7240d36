"""Folders that are nobody else's business."""

from __future__ import annotations

import os
from pathlib import Path

from neurascale.core.errors import NeuraScaleError

ROOT = 0
OTHERS = 0o077


def make_private(folder: Path) -> bool:
    """Make a folder that only its owner may look into: whoever runs this.

    One that root made for us, as a container's volume, is left as it is.

    Parameters
    ----------
    folder : Path
        It may be there, or be a link to one that is.

    Returns
    -------
    bool
        Whether it was there and open to others, until now.

    Raises
    ------
    NeuraScaleError
        If it is somebody else's: who made it could put anything into its place.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found, ours = folder.stat(), os.geteuid()
    if not {found.st_uid, folder.lstat().st_uid} <= {ours, ROOT}:
        raise NeuraScaleError(
            f"{folder} belongs to another user of this machine. Remove it, or set NEURASCALE_HOME "
            "to a folder of your own."
        )
    if found.st_uid != ours or not found.st_mode & OTHERS:
        return False
    folder.chmod(0o700)
    return True
