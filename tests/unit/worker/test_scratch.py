"""A worker's scratch folder lives as long as its owner."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from data_miner.errors import StorageError
from data_miner.settings import Settings
from data_miner_worker.scratch import base_folder, take_scratch


def test_folders_of_the_living_stay_and_of_the_dead_go(tmp_path: Path) -> None:
    """A new worker clears what nobody holds any more, and only that."""
    living = take_scratch(tmp_path, "living")
    dead = take_scratch(tmp_path, "dead")
    (dead.folder / "task-1-1").mkdir()
    dead._lock.close()  # as the kernel does for a killed process
    half_made = tmp_path / "half-made.x"
    half_made.mkdir()

    newcomer = take_scratch(tmp_path, "newcomer")

    assert living.folder.is_dir()
    assert newcomer.folder.is_dir()
    assert not dead.folder.exists()
    assert not half_made.exists()
    living.remove()
    newcomer.remove()
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def test_scratch_is_below_home_where_home_can_be_made(tmp_path: Path) -> None:
    """On the home's filesystem publishing can link; else the system's own folder is used."""
    settings = Settings(home=tmp_path / "home")
    blocked = tmp_path / "file"
    blocked.touch()

    assert base_folder(settings) == tmp_path / "home" / "scratch"
    assert not base_folder(replace(settings, home=blocked / "x")).is_relative_to(tmp_path / "file")


def test_a_folder_that_somebody_else_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the system's folder first could swap what workers read; a link is no folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    settings = Settings(home=tmp_path / "file" / "x")
    ours = tmp_path / f"data-miner-{os.getuid()}"
    take_scratch(base_folder(settings), "w").remove()
    mode = (ours / "scratch").stat().st_mode & 0o777
    ours.chmod(0o777)

    with pytest.raises(StorageError, match="not this user's alone"):
        base_folder(settings)
    ours.rename(tmp_path / "moved")
    ours.symlink_to(tmp_path / "moved")
    with pytest.raises(StorageError, match="not this user's alone"):
        base_folder(settings)
    assert mode == 0o700


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """The error says where and what to set."""
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="DATA_MINER_HOME"):
        take_scratch(tmp_path / "file" / "scratch", "w")
