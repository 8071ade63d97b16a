"""A whole project, from its sources to its dataset, through the catalogue's own verbs."""

from __future__ import annotations

import pytest

from data_miner.catalog.assign import assign
from data_miner.catalog.facts import InputGoneError, mark_gone
from data_miner.pipeline import NAMES
from data_miner.queue.hand_back import hand_back
from data_miner.queue.sweep import sweep
from support.catalog import FIRST_WAVE, World, project


def test_a_project_goes_from_its_sources_to_its_dataset(world: World) -> None:
    """Every stage is given what it reads, and the project is complete with all its images."""
    world.find("a", "b", "c")
    applied = world.apply(project())

    world.work()

    state = world.progress(applied.project_id)
    assert state.phase.name == "Complete", state.phase
    assert state.funnel.exported == 6


@pytest.mark.parametrize("stage", ["dedup", "cut", "detect"])
def test_what_an_exported_wave_has_lost_is_made_again_for_the_next(
    world: World, stage: str
) -> None:
    """A later wave's export reads it; nobody waits for ever because the earlier one is over."""
    world.find("a", "b", "c")
    p = world.apply(project()).project_id
    world.work(*NAMES[: NAMES.index("export")])
    (first,) = world.claim("export")
    world.do(first)
    (second,) = world.claim("export")
    keys = world.rows("SELECT recipe_id, subject FROM results WHERE stage = :s ORDER BY 2", s=stage)
    with world.begin() as conn:
        mark_gone(conn, [(row.recipe_id, row.subject) for row in keys[:1]])
    with pytest.raises(InputGoneError), world.begin() as conn:
        assign(conn, second, world.settings)
    with world.begin() as conn:
        hand_back(conn, [(second.id, second.claim_seq)])
        sweep(conn, first_wave=FIRST_WAVE)
    world.ran.clear()

    world.work(stage)
    world.work()

    assert world.ran[0] == (stage, keys[0].subject)
    assert world.progress(p).phase.reason == "AllDone"
