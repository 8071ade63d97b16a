"""Numbers and places as people read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_miner.catalog.counts import StageCount
from data_miner.catalog.phase import Counts, judge
from data_miner.cli.display import stage_now
from data_miner.cli.words import dataset_folder, many


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """A dataset with two versions, of which the link names the second."""
    for name in ("one", "two"):
        (tmp_path / "versions" / name).mkdir(parents=True)
    (tmp_path / "dataset").symlink_to(Path("versions") / "two")
    return tmp_path / "versions"


def test_the_newest_version_is_shown_by_its_stable_path(versions: Path) -> None:
    """People are sent to `dataset`, which stays where it is when the next version comes."""
    assert dataset_folder(f"file://{versions}/two") == str(versions.parent / "dataset")


@pytest.mark.parametrize("name", ["one", "three"])
def test_another_version_is_shown_by_its_own_path(versions: Path, name: str) -> None:
    """A link that points elsewhere is never given for the version."""
    assert dataset_folder(f"file://{versions}/{name}") == str(versions / name)


def test_a_dataset_in_a_bucket_is_shown_by_its_address() -> None:
    """There are no links in object storage."""
    assert dataset_folder("s3://b/doors/versions/ab") == "s3://b/doors/versions/ab"


def test_one_is_singular() -> None:
    """It is one task, and two tasks."""
    assert [many(n, "task", "tasks") for n in (0, 1, 2000)] == ["0 tasks", "1 task", "2 000 tasks"]


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"suspended": True, "running": 1}, "the project is suspended; 1 running task is ending"),
        ({"suspended": True, "running": 2}, "the project is suspended; 2 running tasks are ending"),
        ({"sources_failed": 1}, "the source cannot be listed"),
        ({"sources": 2, "sources_ended": 2, "sources_failed": 2},
         "none of the 2 sources can be listed"),
        ({"found": 1}, "`select` leaves out the only video"),
        ({"found": 3}, "`select` leaves out all 3 videos"),
        ({"found": 1, "selected": 1, "members": 1}, "not even the only video can be used"),
        ({"found": 2, "selected": 2, "members": 2}, "none of the 2 videos can be used"),
    ],
)  # fmt: skip
def test_a_phase_speaks_of_one_and_of_many(counts: dict[str, Any], says: str) -> None:
    """The message of a phase is a right sentence for any number."""
    assert judge(Counts(**{"sources": 1, "sources_ended": 1, **counts})).message == says


def test_no_time_is_left_where_nothing_moves() -> None:
    """A paused project shows what failed, and no estimate; a moving one never shows 0 s."""
    stage = StageCount(
        stage="embed", total=4, done=2, skipped=0, running=0, ready=2, waiting=0, failed=1,
        frames=0, mean_seconds=0.01,
    )  # fmt: skip
    assert stage_now(stage, moving=False) == "1 failed"
    assert stage_now(stage) == "1 failed, about 1 s left"
