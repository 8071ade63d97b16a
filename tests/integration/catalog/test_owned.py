"""Projects that stand for objects of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_miner.catalog import lifecycle, owned
from data_miner.catalog.apply import Applied
from data_miner.catalog.owned import Row
from data_miner.errors import ConflictError, NotFoundError
from data_miner.spec.project import MiningProject
from data_miner.stage import StageError
from support.catalog import FIRST_WAVE, SPEC, World, project


def _apply(
    world: World, wanted: MiningProject | None = None, *, uid: str = "u1", cluster: str = "c1"
) -> Applied:
    wanted = wanted or project()
    compiled = world.compiled(wanted)
    with world.begin() as conn:
        return owned.apply_owned(
            conn,
            wanted,
            compiled,
            installation=cluster,
            uid=uid,
            digest=owned.wanted_digest(wanted, compiled),
            first_wave=FIRST_WAVE,
        )


def _row(world: World, name: str = "balls") -> Row:
    with world.begin() as conn:
        row = owned.find_row(conn, "default", name)
    assert row is not None
    return row


def _release(world: World, project_id: int) -> bool:
    with world.begin() as conn:
        return owned.release(conn, project_id)


def _forget(world: World, project_id: int) -> None:
    with world.begin() as conn:
        owned.forget(conn, project_id)


def _retry(world: World, project_id: int, token: str) -> int:
    with world.begin() as conn:
        return owned.retry_once(conn, project_id, token, first_wave=FIRST_WAVE)


def _written(world: World) -> list[Any]:
    """What changes with every write: where each row of a project lies, and who wrote it."""
    return world.rows("SELECT ctid::text, xmin::text, xmax::text FROM projects ORDER BY 1")


def test_the_row_says_whose_it_is_and_what_was_applied(world: World) -> None:
    """All that decides whether there is something to do."""
    applied = _apply(world)
    row = _row(world)
    assert (row.project_id, row.namespace, row.name) == (applied.project_id, "default", "balls")
    assert (row.owner_installation, row.owner_uid) == ("c1", "u1")
    assert row.applied_digest == owned.wanted_digest(project(), world.compiled(project()))
    assert (row.suspended, row.deleted, row.retried) == (False, False, "")
    assert row.deletion_policy == "Retain"
    with world.begin() as conn:
        assert owned.find_row(conn, "default", "others") is None


def test_applying_the_same_again_writes_nothing(world: World) -> None:
    """Neither a row of the project nor an event, and nothing is planned."""
    _apply(world)
    before = _written(world)
    events = world.rows("SELECT count(*) FROM events")

    again = _apply(world)

    assert not again.changed
    # The row is locked while it is compared; nothing else is said of it.
    assert [r[:2] for r in _written(world)] == [r[:2] for r in before]
    assert world.rows("SELECT count(*) FROM events") == events


def test_digests_differ_with_the_spec_and_with_what_a_model_is(world: World) -> None:
    """The same spec over another recipe is another thing to apply."""
    one, two = project(), project(priority=3)
    recipes = world.compiled(one)
    assert owned.wanted_digest(one, recipes) == owned.wanted_digest(project(), world.compiled(one))
    assert owned.wanted_digest(one, recipes) != owned.wanted_digest(two, recipes)
    other = world.compiled(project(filter={"model": "big-clip", "positive": ["a red ball"]}))
    assert owned.wanted_digest(one, recipes) != owned.wanted_digest(one, other)


def test_rows_of_a_cluster_are_those_that_stand_for_its_objects(world: World) -> None:
    """Not those of others, of the command line, or whose object is gone."""
    _apply(world, project("mine"))
    _apply(world, project("theirs"), cluster="c2")
    world.apply(project("laptop"))
    gone = _apply(world, project("gone")).project_id
    _release(world, gone)
    with world.begin() as conn:
        assert [row.name for row in owned.rows_of(conn, "c1")] == ["mine"]


def test_a_released_project_stops_at_once_and_keeps_what_it_has(world: World) -> None:
    """Running work is taken away, results and rows stay, and nobody owns it."""
    world.find("a", "b")
    p = _apply(world).project_id
    world.work("discover")
    world.work("download")
    (running, *_) = world.claim("extract")
    results = world.rows("SELECT count(*) FROM results")

    assert _release(world, p)
    assert not _release(world, p)

    row = _row(world)
    assert (row.owner_uid, row.owner_installation, row.suspended) == (None, "c1", True)
    assert world.rows("SELECT count(*) FROM tasks") == [(0,)]
    assert world.rows("SELECT count(*) FROM results") == results
    assert running.stage == "extract"
    assert world.claim() == []


def test_a_released_project_goes_on_for_an_object_of_the_same_name(world: World) -> None:
    """As its spec says, and without doing anything twice."""
    world.find("a", "b")
    p = _apply(world).project_id
    world.work("discover", "download")
    _release(world, p)

    applied = _apply(world, uid="u2")

    assert applied.project_id == p
    assert not applied.created
    assert (_row(world).owner_uid, _row(world).suspended) == ("u2", False)
    world.work()
    assert world.progress(p).phase.name == "Complete"
    assert len(world.ran) == len(set(world.ran))


def test_a_released_project_whose_new_object_is_suspended_stays_so(world: World) -> None:
    """The object's own word counts, not what the row was before."""
    p = _apply(world).project_id
    _release(world, p)
    _apply(world, project(suspend=True), uid="u2")
    assert _row(world).suspended
    _apply(world, uid="u2")
    assert not _row(world).suspended


def test_shared_work_outlives_the_release_of_its_sponsor(world: World) -> None:
    """Another project that wants the same downloads gets them, running ones too."""
    world.find("a", "b")
    one = _apply(world, project("one", priority=5)).project_id
    two = _apply(world, project("two"), uid="u2").project_id
    world.work("discover")
    (running,) = world.claim("download", limit=1)
    _release(world, one)
    world.do(running)
    world.work()
    assert world.progress(two).phase.name == "Complete"
    assert sorted(s for stage, s in world.ran if stage == "download") == ["a", "b"]


def test_a_forgotten_project_asks_for_its_versions_to_be_removed(world: World) -> None:
    """In the same transaction as its rows go; forgetting it again changes nothing."""
    world.find("a")
    p = _apply(world).project_id
    world.work()
    (made,) = world.rows("SELECT uri, digest FROM datasets")

    with world.engine.connect() as conn:
        owned.forget(conn, p)
        conn.rollback()
    assert world.rows("SELECT uri FROM dataset_removals") == []
    assert not _row(world).deleted

    _forget(world, p)
    _forget(world, p)

    assert world.rows("SELECT uri, digest FROM dataset_removals") == [made]
    assert world.rows("SELECT count(*) FROM datasets") == [(0,)]
    row = _row(world)
    assert (row.deleted, row.owner_uid, row.owner_installation) == (True, None, None)


def test_a_forgotten_name_begins_a_new_life(world: World) -> None:
    """The same spec finds what its videos gave, makes the rest anew, and knows no old token."""
    world.find("a")
    p = _apply(world).project_id
    world.work()
    assert _retry(world, p, "t1") == 0
    _forget(world, p)
    world.ran.clear()

    applied = _apply(world, uid="u2")
    world.work()

    assert (applied.project_id, applied.created) == (p, True)
    assert world.progress(p).phase.name == "Complete"
    assert {stage for stage, _ in world.ran} == {"discover", "dedup", "cut", "detect", "export"}
    assert _row(world).retried == ""
    assert world.waves(p) == [["a"]]


def test_forgetting_while_a_version_is_exported_leaves_no_row_of_it(world: World) -> None:
    """The export comes too late, and a name that is used again starts from its sources."""
    world.find("a")
    p = _apply(world).project_id
    world.work("discover", "download", "extract", "embed", "filter", "dedup_embed", "dedup")
    world.work("cut", "detect")
    (export,) = world.claim("export")
    _forget(world, p)
    world.ran.clear()
    _apply(world, uid="u2")
    world.work()
    assert export.stage == "export"
    assert world.progress(p).phase.name == "Complete"
    assert world.rows("SELECT version FROM datasets") == [(1,)]


def test_a_stop_in_an_emergency_is_undone_by_the_same_spec(world: World) -> None:
    """What is applied then is not what the row says any more, so it is applied."""
    p = _apply(world).project_id
    with world.begin() as conn:
        assert owned.suspend_owned(conn, p)
        assert not owned.suspend_owned(conn, p)
    assert (_row(world).applied_digest, _row(world).suspended) == (None, True)

    assert _apply(world).changed
    assert not _row(world).suspended


def test_a_token_is_acted_on_once(world: World) -> None:
    """Also when nothing had failed; another one acts again."""
    world.find("a", "b")
    world.answers["download", "a"] = StageError("server_error", "HTTP 500")
    p = _apply(world).project_id
    world.work()

    assert _retry(world, p, "monday") == 1
    world.work()
    assert _retry(world, p, "monday") == 0
    assert _row(world).retried == "monday"

    del world.answers["download", "a"]
    assert _retry(world, p, "tuesday") == 1
    world.work()
    assert world.progress(p).failed == 0
    assert _retry(world, p, "wednesday") == 0
    assert _row(world).retried == "wednesday"
    assert _retry(world, p, "") == 0
    assert _row(world).retried == "wednesday"


def test_verbs_about_an_id_that_no_project_has_say_so(world: World) -> None:
    """One line, whatever was asked."""
    acts: list[Callable[[], object]] = [
        lambda: _release(world, 99),
        lambda: _forget(world, 99),
        lambda: _retry(world, 99, "x"),
    ]
    for act in acts:
        with pytest.raises(NotFoundError, match="id 99"):
            act()


def test_nobody_else_applies_over_an_object(world: World) -> None:
    """Until it is gone; then the row is whoever's applies it."""
    p = _apply(world).project_id
    with pytest.raises(ConflictError, match="belongs to a cluster"):
        world.apply(project(priority=2))
    _release(world, p)
    assert world.apply(project(priority=2)).changed


def _command(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DATA_MINER_")}
    url = world.engine.url.render_as_string(hide_password=False)
    home = str(world.settings.home)
    return subprocess.run(
        [sys.executable, "-m", "data_miner.cli.main", *words],
        env={**kept, "DATA_MINER_DATABASE_URL": url, "DATA_MINER_HOME": home},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_line_leaves_the_projects_of_a_cluster_alone(
    world: World, tmp_path: Path
) -> None:
    """Each verb that would change one says in one line where to go; `status` shows it."""
    _apply(world, MiningProject.model_validate(_document()))
    file = tmp_path / "balls.yaml"
    file.write_text(yaml.safe_dump(_document()))

    for words in (["apply", str(file)], ["pause", "balls"], ["delete", "balls"]):
        ended = _command(world, *words)
        assert ended.returncode == 7, ended.stderr
        assert ended.stderr.count("\n") == 1
        assert "kubectl -n default edit miningproject balls" in ended.stderr
    assert _command(world, "status", "balls").returncode == 0
    assert _command(world, "plan", str(file)).returncode == 0
    assert not _row(world).suspended

    assert _command(world, "delete", "--force", "balls").returncode == 0
    assert _row(world).deleted


def _document() -> dict[str, object]:
    return {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": "balls"},
        "spec": {"sources": SPEC["sources"]},
    }


def test_delete_of_the_command_line_keeps_files(world: World) -> None:
    """Only an object whose policy is Delete takes its datasets along."""
    world.find("a")
    p = world.apply(project()).project_id
    world.work()
    with world.begin() as conn:
        lifecycle.delete(conn, p)
    assert world.rows("SELECT uri FROM dataset_removals") == []
