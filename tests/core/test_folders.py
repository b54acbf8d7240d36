"""What lies in the data folder is for its owner only."""

from __future__ import annotations

import os
import stat

import pytest

from neurascale.core import folders
from neurascale.core.errors import NeuraScaleError
from neurascale.core.folders import make_private


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_for_its_owner_only(tmp_path):
    assert make_private(tmp_path / "a" / "b") is False
    assert mode_of(tmp_path / "a" / "b") == 0o700
    assert make_private(tmp_path / "a" / "b") is False


def test_a_folder_that_was_open_is_closed_and_that_is_told(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "kept").touch()
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert make_private(link) is True
    assert mode_of(folder) == 0o700
    assert (folder / "kept").exists()


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr(folders.os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(folders, "ROOT", os.getuid() + 2)
    with pytest.raises(NeuraScaleError, match="belongs to another user"):
        make_private(folder)
    monkeypatch.setattr(folders, "ROOT", os.getuid())
    assert make_private(folder) is False
    assert mode_of(folder) == 0o777


def test_whatever_this_process_writes_is_not_for_others(tmp_path, settings):
    assert settings.HOME  # which were read before this
    (tmp_path / "file").touch()
    assert mode_of(tmp_path / "file") & 0o077 == 0
