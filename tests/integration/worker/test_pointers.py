"""The row chooses what is found under a dataset's name, whatever late processes have done."""

from __future__ import annotations

from data_miner.catalog.pointers import chosen, follow
from support.versions import put, version
from support.worker import Site, eventually


def _row(here: Site, project_id: int, number: int, uri: str, digest: str) -> None:
    with here.engine.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO datasets (project_id, version, recipe_id, wave_id, digest, images, uri)"
            " SELECT %s, %s, min(recipe_id), 1, %s, 1, %s FROM recipes",
            (project_id, number, digest, uri),
        )


def test_a_link_that_was_moved_back_by_a_late_process_is_mended(here: Site) -> None:
    """A worker that keeps house lets the dataset's name lead to the newest version again."""
    base = here.home / "datasets/default/p"
    one, two = version(here.home, "one"), version(here.home, "two")
    project_id = here.apply("a")
    for number, made in enumerate((one, two), start=1):
        _row(here, project_id, number, put(base, *made), made[0])
    put(base, *one)  # frozen before the exchange, awake long after the second version
    assert (base / "dataset/classes.txt").read_text() == "one"

    here.worker()

    eventually(lambda: (base / "dataset/classes.txt").read_text() == "two", what="the link")


def test_what_is_being_exported_is_left_to_the_export(here: Site) -> None:
    """It has pointed to a version whose row comes in a moment: nobody leads that back."""
    base = here.home / "datasets/default/p"
    one, two = version(here.home, "one"), version(here.home, "two")
    project_id = here.apply("a")
    _row(here, project_id, 1, put(base, *one), one[0])
    with here.engine.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO tasks (stage, recipe_id, subject, project_id, wave_id, state, claimed_by,"
            " claimed_at, lease_until, heartbeat_at) SELECT 'export', min(recipe_id), 'w1', %s, 1,"
            " 'running', 'x', now(), now() + interval '1 h', now() FROM recipes",
            (project_id,),
        )
    put(base, *two)

    with here.engine.connect() as conn:
        assert chosen(conn) == []
        assert follow(conn) == []

    assert (base / "dataset/classes.txt").read_text() == "two"


def test_of_two_projects_in_one_place_the_newest_version_is_found(here: Site) -> None:
    """They do not pull the link to and fro."""
    base = here.home / "shared"
    one, two = version(here.home, "one"), version(here.home, "two")
    first, second = here.apply("a", name="p"), here.apply("a", name="q")
    _row(here, second, 1, put(base, *two), two[0])
    _row(here, first, 1, put(base, *one), one[0])

    with here.engine.connect() as conn:
        assert [c.digest for c in chosen(conn)] == [one[0]]
