"""A whole project, from its sources to its dataset, through the catalogue's own verbs."""

from __future__ import annotations

from support.catalog import World, project


def test_a_project_goes_from_its_sources_to_its_dataset(world: World) -> None:
    """Every stage is given what it reads, and the project is complete with all its images."""
    world.find("a", "b", "c")
    applied = world.apply(project())

    world.work()

    state = world.progress(applied.project_id)
    assert state.phase.name == "Complete", state.phase
    assert state.funnel.exported == 6
