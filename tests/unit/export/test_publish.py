"""A version becomes visible as a whole, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data_miner.stage import StageError, StopRequested
from data_miner.storage import pointer
from data_miner_worker.publish import publish
from support.versions import put, version


def text_of(dataset: Path) -> str:
    """The version that can be seen, checked to be whole."""
    text = (dataset / "classes.txt").read_text()
    assert (dataset / "images/train/a.jpg").read_bytes() == text.encode() * 10
    assert json.loads((dataset / "manifest.json").read_bytes()) == {"of": text}
    return text


def test_dataset_points_to_the_newest_version(tmp_path: Path) -> None:
    """`dataset` moves to the new version; the old one stays; images are linked, not copied."""
    base = tmp_path / "base"
    one, two = version(tmp_path, "one"), version(tmp_path, "two")

    first = put(base, *one)
    second = put(f"file://{base}", *two)

    assert text_of(base / "dataset") == "two"
    assert text_of(Path(first)) == "one"
    assert (base / "dataset").resolve() == Path(second)
    assert (base / "dataset/images/train/a.jpg").samefile(tmp_path / "two.jpg")
    assert (base / "dataset/images/val").is_dir()
    assert sorted(p.name for p in base.iterdir()) == ["dataset", "versions"]


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    """The same version a second time keeps every file as it is."""
    base, one = tmp_path / "base", version(tmp_path, "one")
    put(base, *one)
    before = {path: path.stat().st_mtime_ns for path in base.rglob("*")}

    put(base, one[0], {**one[1], "provenance.json": b"later"})

    assert before == {path: path.stat().st_mtime_ns for path in base.rglob("*")}


def test_a_damaged_version_is_mended(tmp_path: Path) -> None:
    """A version that has lost a file is written again."""
    base, one = tmp_path / "base", version(tmp_path, "one")
    put(base, *one)
    (base / "dataset/classes.txt").unlink()

    put(base, *one)

    assert text_of(base / "dataset") == "one"
    assert len(list((base / "versions").iterdir())) == 1


def test_a_folder_of_the_user_is_never_touched(tmp_path: Path) -> None:
    """A real folder where the link should be is an error that says so, and stays."""
    base = tmp_path / "base"
    (base / "dataset").mkdir(parents=True)
    (base / "dataset/precious.txt").write_text("mine")

    with pytest.raises(StageError, match="did not make it") as caught:
        put(base, *version(tmp_path, "one"))

    assert caught.value.error_class == "dataset_in_the_way"
    assert caught.value.permanent
    assert (base / "dataset/precious.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """A file where a folder is needed gives a StageError that names the target."""
    (tmp_path / "base").write_text("a file")

    with pytest.raises(StageError, match=r"export to .*base") as caught:
        put(tmp_path / "base", *version(tmp_path, "one"))

    assert "\n" not in str(caught.value)


DIES_AT = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from support.versions import put, version

left = int(sys.argv[1])

def dying(function):
    def counted(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*arguments, **named)
    return counted

for owner, name in ((os, "fsync"), (os, "open"), (Path, "mkdir"), (Path, "rename"),
                    (Path, "replace"), (Path, "symlink_to"), (Path, "hardlink_to")):
    setattr(owner, name, dying(getattr(owner, name)))
put(sys.argv[2], *version(Path(sys.argv[3]), sys.argv[4]))
"""


def test_a_crash_at_any_step_leaves_a_whole_dataset(tmp_path: Path) -> None:
    """Killed before any system call of a publication, the old version or the new one is whole,
    and publishing again ends well."""
    seen = set()
    for step in range(1, 200):
        base = tmp_path / f"base{step}"
        put(base, *version(tmp_path, "one"))
        arguments = [str(step), str(base), str(tmp_path), "two", str(Path(__file__).parents[2])]
        died = subprocess.run([sys.executable, "-c", DIES_AT, *arguments], env=os.environ)

        seen.add(text_of(base / "dataset"))
        put(base, *version(tmp_path, "two"))
        assert text_of(base / "dataset") == "two"
        if died.returncode == 0:
            break
        assert died.returncode == 9
    else:
        raise AssertionError("it never came to its end")
    assert seen == {"one", "two"}
    assert step > 15


def test_two_that_publish_the_same_version_do_not_collide(tmp_path: Path) -> None:
    """Four at once, again and again: all succeed, and one whole version is there."""
    for number in range(5):
        base = tmp_path / f"base{number}"
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(put, base, *version(tmp_path, "one")) for _ in range(4)]
            places = {run.result() for run in runs}

        assert len(places) == 1
        assert text_of(base / "dataset") == "one"
        assert len(list((base / "versions").iterdir())) == 1


def test_what_another_one_has_named_in_the_meantime_is_in_nobodys_way(tmp_path: Path) -> None:
    """A name that is listed and leads nowhere when it is looked at."""
    base = tmp_path / "base"
    put(base, *version(tmp_path, "one"))
    (base / "versions" / f"{pointer.TEMPORARY}gone").symlink_to(tmp_path / "nowhere")

    put(base, *version(tmp_path, "two"))

    assert text_of(base / "dataset") == "two"


def test_who_has_lost_the_lease_does_not_move_the_link(tmp_path: Path) -> None:
    """A run that is told to stop after its last file leaves the dataset where it was."""
    base = tmp_path / "base"
    put(base, *version(tmp_path, "one"))
    digest, files = version(tmp_path, "two")
    ticks = iter([*range(len(files))])

    def tick(_: float) -> None:
        if next(ticks, None) is None:
            raise StopRequested

    with pytest.raises(StopRequested):
        publish(str(base), digest, files, tick)

    assert text_of(base / "dataset") == "one"


def test_the_name_of_a_dataset_can_be_led_back(tmp_path: Path) -> None:
    """To a version that is there; one that is not, or lies elsewhere, is left alone."""
    base = tmp_path / "base"
    one, two = version(tmp_path, "one"), version(tmp_path, "two")
    first = put(base, *one)
    put(base, *two)
    assert not pointer.is_pointed_to(first, one[0])

    pointer.point(first, one[0])

    assert text_of(base / "dataset") == "one"
    assert pointer.is_pointed_to(first, one[0])
    assert pointer.is_pointed_to(str(base / "versions/taken-away"), two[0])
    assert pointer.is_pointed_to(str(tmp_path), one[0])


def test_a_folder_in_the_place_of_the_link_is_not_touched(tmp_path: Path) -> None:
    """What somebody else has put there stays, and the failure names it."""
    base, one = tmp_path / "base", version(tmp_path, "one")
    first = put(base, *one)
    (base / "dataset").unlink()
    (base / "dataset").mkdir()

    assert not pointer.is_pointed_to(first, one[0])
    with pytest.raises(StageError, match="did not make it"):
        pointer.point(first, one[0])
    assert (base / "dataset").is_dir()
