"""An operator of many projects: what it asks for grows with them, and then it is quiet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.crowd import Crowd
from support.installation import installation_in
from support.node import ProcessNode
from support.waiting import eventually

SETTLED, ACTIVE = 54, 6
PROJECTS = SETTLED + ACTIVE
TASKS = 20_000
ROUNDS = 4
"""Looks at everything while nothing happens: as many minutes of a real installation."""


@pytest.fixture
def crowd(
    cluster: Cluster, node: ProcessNode, tmp_path: Path, migrated_url: str
) -> Iterator[Crowd]:
    """Projects whose rows tell of years of work; the operator has written what they have brought,
    and has ended."""
    with installation_in(
        cluster, node, tmp_path, database_url=migrated_url, start=False,
        DATA_MINER_OPERATOR_RESYNC_SECONDS="3",
    ) as installation:  # fmt: skip
        made = Crowd(installation, SETTLED, ACTIVE)
        made.create()
        made.start()
        made.settle(TASKS)
        eventually(lambda: made.complete == SETTLED, seconds=120, what="the settled ones")
        made.rest()
        assert made.operator.terminate() == 0
        yield made


def test_an_operator_of_many_projects_starts_with_few_questions_and_then_is_quiet(
    crowd: Crowd,
) -> None:
    """A start looks at each project about once, asks the API server by the page and not by the
    project, and PostgreSQL a few times for each. Whatever it looks at afterwards, it writes
    nothing as long as nothing changes, and its memory is bounded."""
    before = crowd.transactions()
    seconds = crowd.start()
    rounds = crowd.requests("miningprojects", "list")
    assert _asked(crowd) <= 10 + 5 * rounds
    assert PROJECTS <= crowd.looks() <= (2 + rounds) * PROJECTS
    # Looks at the queue come with time, all others with the projects.
    assert crowd.transactions() - before <= 100 + 5 * crowd.looks() + 10 * seconds

    asked, looks = _asked(crowd), crowd.looks()
    crowd.resyncs(ROUNDS)
    crowd.rest()
    rounds = crowd.requests("miningprojects", "list") - rounds
    assert _asked(crowd) - asked <= 5 * (rounds + 1)
    assert crowd.looks() - looks <= rounds * PROJECTS
    assert crowd.writes() == 0
    assert crowd.peak_bytes() < 200 << 20

    crowd.edit("active-1", 7)
    eventually(lambda: crowd.writes() > 0, what="the write to be counted")


def _asked(crowd: Crowd) -> int:
    """Requests to the API server, but for the Lease, which is renewed by the clock."""
    return crowd.requests() - crowd.requests("leases")
