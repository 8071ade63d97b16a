"""Any history of an installation keeps its promises: real parts, and faults at every await.

`DATA_MINER_HISTORIES=1000` plays as many, `DATA_MINER_FIRST_HISTORY=24` begins at another seed.
One that fails is shortened and shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.database import Databases, template_database
from support.operator_history import Step, history, play, said, shortened
from support.operator_model import Town, build

FIRST = int(os.environ.get("DATA_MINER_FIRST_HISTORY") or 0)
HISTORIES = int(os.environ.get("DATA_MINER_HISTORIES") or 16)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_any_history_keeps_the_promises(databases: Databases, tmp_path: Path, seed: int) -> None:
    """The right rows are written by the right replica, nothing vanishes that shall stay, and in the
    end every status says what the catalogue says, and nothing is written any more."""
    template = template_database(databases, "operator-model", build)

    def wrong(steps: Sequence[Step]) -> list[str]:
        town = Town(databases, template, tmp_path)
        try:
            return play(town, steps)
        finally:
            town.close()

    steps = history(seed)
    if problems := wrong(steps):
        fewer = shortened(steps, lambda some: bool(wrong(some)))
        pytest.fail("\n".join([*(wrong(fewer) or problems), "", "in this history:", *said(fewer)]))
