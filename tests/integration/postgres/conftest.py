"""Every scenario is played as whoever runs the tests and, where that is root, as a user too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from data_miner.postgres import folders
from data_miner.postgres.account import current_account
from data_miner.postgres.programs import find_programs
from support.database import enterable_folder
from support.embedded import Play, Scenario
from support.forked import NOBODY, forked

USERS = ["root", "ordinary user"] if os.geteuid() == 0 else ["ordinary user"]


@pytest.fixture(params=USERS)
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Runs a scenario as one user, in a process of its own, with a home folder of its own."""
    drop = os.geteuid() == 0 and request.param == "ordinary user"
    folder = enterable_folder()
    roots = folder / "roots"
    monkeypatch.setattr(folders, "ROOTS", (roots,))
    if drop:
        programs = find_programs(current_account())
        monkeypatch.setenv("DATA_MINER_PG_BIN", str(programs.folder))
        os.chown(folder, NOBODY, -1)

    def act(scenario: Scenario) -> None:
        with forked(lambda _: scenario(folder / "home"), uid=NOBODY if drop else None) as child:
            child.join()

    try:
        yield act
    finally:
        shutil.rmtree(folder)
