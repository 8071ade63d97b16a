"""Finding a project by its name."""

from __future__ import annotations

import pytest

from data_miner.catalog import lifecycle
from data_miner.catalog.find import find_project, projects
from data_miner.errors import NotFoundError
from support.catalog import World, project


def test_a_project_is_found_by_its_name(world: World) -> None:
    """With the default namespace left out, or with namespace and name in one word."""
    applied = world.apply(project("glass-doors"))

    with world.begin() as conn:
        assert find_project(conn, "glass-doors").project_id == applied.project_id
        assert find_project(conn, "default/glass-doors").project_id == applied.project_id
        assert [p.name for p in projects(conn)] == ["glass-doors"]
        assert projects(conn, "other") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("glas-doors", "did you mean glass-doors?"),
        ("windows", "there are cars, glass-doors"),
        ("default/car", "did you mean cars?"),
    ],
)
def test_a_miss_names_what_is_near(world: World, asked: str, said: str) -> None:
    """A misspelt name gets the nearest ones, any other gets those that there are."""
    world.apply(project("glass-doors"))
    world.apply(project("cars"))

    with world.begin() as conn, pytest.raises(NotFoundError) as caught:
        find_project(conn, asked)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_projects_the_way_to_make_one_is_told(world: World) -> None:
    """Nobody is left with only a no."""
    with world.begin() as conn, pytest.raises(NotFoundError, match="data-miner run FILE"):
        find_project(conn, "x")


def test_a_deleted_project_is_not_found(world: World) -> None:
    """Its name is free again."""
    applied = world.apply(project("gone"))
    with world.begin() as conn:
        lifecycle.delete(conn, applied.project_id)
        with pytest.raises(NotFoundError):
            find_project(conn, "gone")
