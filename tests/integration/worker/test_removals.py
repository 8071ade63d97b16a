"""Published versions go when their project is gone and was to take them along, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from data_miner.catalog import owned, removals
from data_miner.catalog.assign import PlaceTakenError, assign
from data_miner.queue import claim
from data_miner.queue.claim import Cursor
from data_miner.settings import Settings
from data_miner.stage import StageError
from data_miner_worker.duties import Removals
from data_miner_worker.publish import Content, publish
from data_miner_worker.unpublish import unpublish
from support.objects import Bucket, bucket
from support.worker import Site, eventually

CONTENT = ("images/train/a.jpg", "images/val/b.jpg", "labels/train/a.txt", "classes.txt")
BESIDE = ("README.md", "report.html", "provenance.json")


def _version(name: str) -> tuple[str, dict[str, Content]]:
    """A whole version, as an export writes it."""
    files: dict[str, Content] = {path: f"{name} {path}".encode() for path in CONTENT}
    listed = [{"path": path, "bytes": 1, "sha256": "0"} for path in CONTENT]
    manifest = json.dumps({"of": name, "files": listed}).encode()
    made = {**files, **dict.fromkeys(BESIDE, b"{}"), "manifest.json": manifest}
    return hashlib.sha256(manifest).hexdigest(), made


def _put(base: Path | str, name: str) -> tuple[str, str]:
    digest, files = _version(name)
    return publish(str(base), digest, files, lambda _: None), digest


def _everything(folder: Path) -> set[str]:
    # Not by Path.rglob, which fails where a folder goes while it looks.
    return {
        str(Path(parent, name).relative_to(folder))
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


def test_a_version_goes_with_the_link_that_leads_to_it(tmp_path: Path) -> None:
    """All its files and folders; the folder above stays, it may be its user's."""
    uri, digest = _put(tmp_path / "base", "one")
    assert unpublish(uri, digest) == 8
    assert _everything(tmp_path) == {"base"}
    assert unpublish(uri, digest) == 0


def test_what_else_lies_there_stays(tmp_path: Path) -> None:
    """Another version with the link to it, and files of people, also within the version."""
    base = tmp_path / "base"
    old, digest = _put(base, "one")
    new, _ = _put(base, "two")
    whole = _everything(Path(new))
    (Path(old) / "images/train/notes.txt").write_text("mine")
    (base / "README").write_text("mine")

    unpublish(old, digest)

    left = {"images", "images/train", "images/train/notes.txt"}
    assert _everything(Path(old)) == left
    assert _everything(Path(new)) == whole
    assert (base / "dataset/classes.txt").read_text() == "two classes.txt"
    assert (base / "README").exists()


@pytest.mark.parametrize("where", ["other digest", "no manifest", "no version"])
def test_what_is_not_that_version_is_left_alone(tmp_path: Path, where: str) -> None:
    """Nothing at all is removed of what somebody has changed, or never was a version."""
    uri, digest = _put(tmp_path / "base", "one")
    if where == "other digest":
        digest = "0" * 64
    elif where == "no manifest":
        (Path(uri) / "manifest.json").unlink()
    else:
        uri = str(tmp_path / "base")
    before = _everything(tmp_path)
    with pytest.raises(StageError, match="is not the version that was published there"):
        unpublish(uri, digest)
    assert _everything(tmp_path) == before


def test_a_link_in_the_place_of_a_folder_leads_nobody_astray(tmp_path: Path) -> None:
    """What is behind it is not of the version."""
    uri, digest = _put(tmp_path / "base", "one")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(f"{uri}/labels", elsewhere)
    (Path(uri) / "labels").symlink_to(elsewhere)
    unpublish(uri, digest)
    assert (elsewhere / "train/a.txt").exists()


def test_a_removal_that_was_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each single file that went, the power goes; then it is done again."""
    unlink = Path.unlink
    killed = 0
    for number in range(20):
        base = tmp_path / str(number)
        uri, digest = _put(base, "one")
        left = iter(range(number))

        def failing(path: Path, *, missing_ok: bool = False, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            unlink(path, missing_ok=missing_ok)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", failing)
            try:
                unpublish(uri, digest)
            except KeyboardInterrupt:
                killed += 1
        unpublish(uri, digest)
        assert _everything(base) == set(), number
    assert killed == 9  # the link, and each of eight files


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket that this process can reach."""
    with bucket() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def test_a_version_in_a_bucket_goes_with_its_pointer(objects: Bucket) -> None:
    """Other objects stay, and a pointer that names another version."""
    base = f"{objects.uri}/sets/p"
    old, digest = _put(base, "one")
    new, newest = _put(base, "two")
    objects.client.put_object(Bucket="bucket", Key="sets/p/notes.txt", Body=b"mine")
    whole = set(objects.keys("sets/p"))
    gone = set(objects.keys(old.removeprefix(f"{objects.uri}/")))

    assert unpublish(old, digest) == 8
    assert set(objects.keys("sets/p")) == whole - gone
    assert unpublish(old, digest) == 0

    unpublish(new, newest)
    assert objects.keys("sets/p") == ["sets/p/notes.txt"]


def _record(here: Site, project_id: int, number: int, uri: str, digest: str) -> None:
    given = {"p": project_id, "n": number, "digest": digest, "uri": uri}
    with here.engine.begin() as conn:
        conn.execute(_RECORD, given)


_RECORD = text("""
    INSERT INTO datasets (project_id, version, recipe_id, wave_id, digest, images, uri)
    SELECT :p, :n, min(recipe_id), 1, :digest, 1, :uri FROM recipes
""")


def _forget(here: Site, project_id: int) -> None:
    with here.engine.begin() as conn:
        owned.forget(conn, project_id)


def _run(here: Site, **changes: str) -> None:
    duty = Removals(Settings(home=here.home, **changes))  # type: ignore[arg-type]
    with here.engine.connect() as conn:
        duty.run(conn)
        conn.commit()


def _left(here: Site) -> list[tuple[str, str | None]]:
    """What is still to be removed and why; nobody may be at it while this is asked."""
    rows = here.rows("SELECT uri, error, started_at FROM dataset_removals ORDER BY uri")
    assert all(row["started_at"] is None for row in rows)
    return [(row["uri"], row["error"]) for row in rows]


def test_a_worker_removes_what_a_forgotten_project_has_published(here: Site) -> None:
    """All its versions, soon; nothing is left to be removed."""
    base = here.home / "sets"
    p = here.apply("a")
    for number, name in enumerate(("one", "two"), start=1):
        _record(here, p, number, *_put(base, name))
    _forget(here, p)
    here.worker()
    eventually(lambda: not _everything(base), what="the files to go")
    gone = "SELECT count(*) AS n FROM dataset_removals"
    eventually(lambda: here.rows(gone)[0]["n"] == 0, what="the rows to go")


def test_what_another_project_has_published_in_the_place_stays(here: Site) -> None:
    """The very same version too: it is that one's as well."""
    base = here.home / "shared"
    p, q = here.apply("a", name="p"), here.apply("a", name="q")
    same, own = _put(base, "same"), _put(base, "own")
    for number, made in enumerate((same, own), start=1):
        _record(here, p, number, *made)
    _record(here, q, 1, *same)
    _forget(here, p)

    _run(here)

    assert _left(here) == []
    assert not Path(own[0]).exists()
    assert len(_everything(Path(same[0]))) > 8


def test_only_what_the_installation_allows_is_touched(here: Site) -> None:
    """It is said what keeps it, and tried again when that is changed."""
    p = here.apply("a")
    uri, digest = _put(here.home / "sets", "one")
    _record(here, p, 1, uri, digest)
    _forget(here, p)
    _run(here, allowed_prefixes="/elsewhere")
    ((_, error),) = _left(here)
    assert error is not None
    assert "outside of what is allowed" in error
    assert Path(uri).exists()
    _run(here, allowed_prefixes=str(here.home))
    assert _left(here) == []
    assert not Path(uri).exists()


def test_files_that_cannot_be_removed_are_tried_again(here: Site) -> None:
    """A version that somebody has changed stays, with the reason."""
    p = here.apply("a")
    uri, digest = _put(here.home / "sets", "one")
    _record(here, p, 1, uri, digest)
    _forget(here, p)
    manifest = (Path(uri) / "manifest.json").read_bytes()
    (Path(uri) / "manifest.json").write_bytes(b"{}")
    _run(here)
    assert "not the version" in str(_left(here)[0][1])
    (Path(uri) / "manifest.json").write_bytes(manifest)
    _run(here)
    assert _left(here) == []


def _exporting(here: Site, project_id: int, base: str, state: str = "ready") -> None:
    """An export of the project, to a place that its spec names."""
    with here.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO recipes (stage, fingerprint, reuse_key, params) VALUES"
                " ('export', 'e', 'e', jsonb_build_object('uri', CAST(:base AS text)))"
            ),
            {"base": base},
        )
        conn.execute(
            text(
                "INSERT INTO waves (project_id, epoch, n) SELECT :p, 1,"
                " 1 + coalesce(max(n), 0) FROM waves WHERE project_id = :p"
            ),
            {"p": project_id},
        )
        conn.execute(
            text(
                "INSERT INTO tasks (stage, recipe_id, subject, project_id, wave_id)"
                " SELECT 'export', (SELECT recipe_id FROM recipes WHERE stage = 'export'),"
                " 'w' || max(wave_id), :p, max(wave_id) FROM waves"
            ),
            {"p": project_id},
        )
        if state == "running":
            conn.exec_driver_sql(
                "UPDATE tasks SET state = 'running', claimed_by = 'w', claimed_at = now(),"
                " heartbeat_at = now(), lease_until = now() + interval '1 h', claim_seq = 1"
                " WHERE stage = 'export'"
            )


def test_while_an_export_runs_in_the_place_nothing_goes(here: Site) -> None:
    """It may be about to record that very version."""
    base = here.home / "sets"
    p, q = here.apply("a", name="p"), here.apply("a", name="q")
    uri, digest = _put(base, "one")
    _record(here, p, 1, uri, digest)
    _forget(here, p)
    _exporting(here, q, f"file://{base}/", state="running")
    _run(here)
    assert Path(uri).exists()
    assert "an export runs" in str(_left(here)[0][1])

    with here.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM tasks WHERE stage = 'export'")
    _run(here)
    assert not Path(uri).exists()


def test_no_export_begins_while_files_go_in_its_place(here: Site) -> None:
    """It is put off by seconds, without an attempt; elsewhere it begins."""
    base = here.home / "sets"
    p, q = here.apply("a", name="p"), here.apply("a", name="q")
    uri, digest = _put(base, "one")
    _record(here, p, 1, uri, digest)
    _forget(here, p)
    _exporting(here, q, str(base))
    with here.engine.begin() as conn:
        (task,) = claim(
            conn, stages=["export"], worker_id="w", limit=1, lease_seconds=60, cursor=Cursor()
        )
        removals.start(conn, uri)
    settings = Settings(home=here.home)
    with here.engine.begin() as conn, pytest.raises(PlaceTakenError, match=str(base)):
        assign(conn, task, settings)
    with here.engine.begin() as conn:
        assert removals.under_way(conn, f"file://{base}/")
        assert not removals.under_way(conn, str(base.parent))
        removals.put_off(conn, uri, "")
        assert not removals.under_way(conn, str(base))


def test_a_version_that_came_too_late_is_removed_as_well(here: Site) -> None:
    """Only where the project took its datasets along, and is gone still."""
    p, q = here.apply("a", name="p"), here.apply("a", name="q")
    digest = "1" * 64
    with here.engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE projects SET spec = spec || '{\"deletionPolicy\": \"Delete\"}' WHERE name = 'p'"
        )
        assert not removals.ask_one(conn, p, uri="/x/versions/1", digest=digest)
        owned.forget(conn, p)
        owned.forget(conn, q)
        assert removals.ask_one(conn, p, uri="/x/versions/1", digest=digest)
        assert not removals.ask_one(conn, p, uri="/x/versions/1", digest=digest)
        assert not removals.ask_one(conn, q, uri="/x/versions/2", digest=digest)
    assert _left(here) == [("/x/versions/1", None)]
