"""Who may look into an installation."""

from __future__ import annotations

import os
from pathlib import Path

from data_miner.local.home import prepare
from data_miner.local.workers import WorkerSet


def test_a_new_home_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else lists it or reads its logs; root's lets its server's account pass."""
    home = tmp_path / "home"

    prepare(home)
    WorkerSet([], {}, home / "logs", count=1)

    assert home.stat().st_mode & 0o777 == (0o700 if os.geteuid() else 0o711)
    assert (home / "logs").stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """A folder that its owner shares stays shared."""
    tmp_path.chmod(0o755)

    prepare(tmp_path)

    assert tmp_path.stat().st_mode & 0o777 == 0o755
