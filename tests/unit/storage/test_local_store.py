"""A store in a folder keeps what it was given, once, and loses only what nobody names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from data_miner.stage import StageError
from data_miner.storage import local
from data_miner.storage.local import LocalStore


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder of the worker's own."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path, scratch: Path) -> LocalStore:
    """An empty store on the same filesystem as the scratch folder."""
    return LocalStore(tmp_path / "store", scratch=scratch)


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file with the content."""
    path = folder / name
    path.write_bytes(content)
    return path


def nothing(_digests: Collection[str]) -> Collection[str]:
    """No row names any of these."""
    return ()


def files(store: LocalStore) -> list[str]:
    """Names of all files in the store."""
    return sorted(p.name for p in store.root.rglob("*") if p.is_file())


def test_an_object_is_named_by_its_content(store: LocalStore, scratch: Path) -> None:
    """The name holds the SHA-256 and the plain suffix; facts and size come back with it."""
    digest = hashlib.sha256(b"pixels").hexdigest()

    made = store.publish(written(scratch, "frame.JPG", b"pixels"), "image", {"frame": 3})

    assert made.uri == f"{store.uri}/objects/{digest[:2]}/{digest}.jpg"
    assert (made.bytes, made.sha256, dict(made.media)) == (6, digest, {"frame": 3})
    assert store.fetch(made, scratch).read_bytes() == b"pixels"


def test_the_same_content_is_stored_once(store: LocalStore, scratch: Path) -> None:
    """Publishing the same bytes again leaves the first object, byte and inode."""
    first = store.publish(written(scratch, "a.bin", b"same"), "source")
    inode = store.fetch(first, scratch).stat().st_ino

    second = store.publish(written(scratch, "b.bin", b"same"), "source")

    assert second == first
    assert store.fetch(second, scratch).stat().st_ino == inode
    assert len(files(store)) == 1


def test_scratch_files_are_linked_not_copied(store: LocalStore, scratch: Path) -> None:
    """A file that is the worker's alone costs no second copy on the same filesystem."""
    path = written(scratch, "big.mp4", b"x" * 4096)

    made = store.publish(path, "source")

    assert store.fetch(made, scratch).stat().st_ino == path.stat().st_ino


@pytest.mark.parametrize("how", ["outside of scratch", "hard link into scratch", "symbolic link"])
def test_a_users_file_is_never_shared_with_the_store(
    store: LocalStore, scratch: Path, tmp_path: Path, how: str
) -> None:
    """Writing to a file of the user's later does not change the object made of it."""
    user = written(tmp_path, "user.mp4", b"before")
    given = user
    if how == "hard link into scratch":
        given = scratch / "linked.mp4"
        os.link(user, given)
    elif how == "symbolic link":
        given = scratch / "symbolic.mp4"
        given.symlink_to(user)

    made = store.publish(given, "source")
    with user.open("r+b") as file:
        file.write(b"AFTER!")

    assert store.fetch(made, scratch).read_bytes() == b"before"


def test_a_torn_object_is_replaced(store: LocalStore, scratch: Path) -> None:
    """An object whose size is not that of its content is made anew by the next publication."""
    made = store.publish(written(scratch, "a.bin", b"whole"), "source")
    path = store.fetch(made, scratch)
    path.unlink()
    path.write_bytes(b"who")

    with pytest.raises(StageError) as error:
        store.fetch(made, scratch)
    store.publish(written(scratch, "b.bin", b"whole"), "source")

    assert error.value.error_class == "input_corrupt"
    assert store.fetch(made, scratch).read_bytes() == b"whole"


def test_a_lost_object_has_a_name(store: LocalStore, scratch: Path) -> None:
    """Fetching what is not there is input_missing, whatever the recorded URI says."""
    made = store.publish(written(scratch, "a.bin", b"1"), "source")
    store.fetch(made, scratch).unlink()

    with pytest.raises(StageError) as error:
        store.fetch(replace(made, uri="file:///etc/passwd"), scratch)

    assert error.value.error_class == "input_missing"


def test_a_row_cannot_lead_out_of_the_store(store: LocalStore, scratch: Path) -> None:
    """A digest that is none is refused before any path is made of it."""
    made = store.publish(written(scratch, "a.bin", b"1"), "source")

    with pytest.raises(ValueError, match="not a SHA-256"):
        store.fetch(replace(made, sha256="../../../etc/passwd"), scratch)


def test_a_store_may_move(store: LocalStore, scratch: Path, tmp_path: Path) -> None:
    """Objects are found by content where the store is now, not where it was."""
    made = store.publish(written(scratch, "a.bin", b"moved"), "source")
    store.root.rename(tmp_path / "elsewhere")

    assert LocalStore(tmp_path / "elsewhere").fetch(made, scratch).read_bytes() == b"moved"


def test_the_first_remembered_value_wins(store: LocalStore, scratch: Path) -> None:
    """Any text is a key; the second value for it is not taken."""
    key = "../../étrange \U0001f600/'; drop"

    assert store.cached(key, scratch) is None
    first = store.remember(key, written(scratch, "1", b"first"), scratch)
    second = store.remember(key, written(scratch, "2", b"second"), scratch)

    assert first == second == store.cached(key, scratch)
    assert first.read_bytes() == b"first"
    assert first.is_relative_to(store.root)


def test_sweeping_keeps_what_a_row_names(store: LocalStore, scratch: Path) -> None:
    """Only old objects that nobody references go, with stale temporary files."""
    kept = store.publish(written(scratch, "a.bin", b"kept"), "source")
    lost = store.publish(written(scratch, "b.bin", b"lost"), "source")
    stale = store.fetch(kept, scratch).with_name(".tmp-1-dead")
    stale.write_bytes(b"half")

    young = store.sweep({kept.sha256}.intersection, older_than_seconds=60)
    old = store.sweep({kept.sha256}.intersection, older_than_seconds=0)

    assert (young.objects, young.temporary) == (0, 0)
    assert (old.objects, old.temporary, old.bytes) == (1, 1, lost.bytes)
    assert files(store) == [Path(kept.uri).name]


def test_publishing_again_makes_an_old_object_young(store: LocalStore, scratch: Path) -> None:
    """What is published now is safe from a sweep, however old its bytes are."""
    made = store.publish(written(scratch, "a.bin", b"old"), "source")
    os.utime(store.fetch(made, scratch), (0, 0))

    store.publish(written(scratch, "b.bin", b"old"), "source")

    assert store.sweep(nothing, older_than_seconds=60).objects == 0


def test_a_row_that_appears_during_the_sweep_saves_its_object(
    store: LocalStore, scratch: Path
) -> None:
    """The sweeper looks twice: what was recorded between the looks stays under its name."""
    made = store.publish(written(scratch, "a.bin", b"raced"), "source")
    answers = iter([(), (made.sha256,)])

    swept = store.sweep(lambda _digests: next(answers), older_than_seconds=0)

    assert swept.objects == 0
    assert store.fetch(made, scratch).read_bytes() == b"raced"


def test_a_sweeper_that_died_half_way_is_mended(store: LocalStore, scratch: Path) -> None:
    """An object that a dead sweeper had put aside gets its name back when a row names it."""
    made = store.publish(written(scratch, "a.bin", b"aside"), "source")
    path = store.fetch(made, scratch)
    path.rename(path.with_name(".gone-" + path.name))

    store.sweep({made.sha256}.intersection, older_than_seconds=0)

    assert store.fetch(made, scratch).read_bytes() == b"aside"


def test_a_store_that_cannot_be_written_is_named(scratch: Path, tmp_path: Path) -> None:
    """A path that is no folder fails with class storage and one line that says where."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(StageError) as error:
        LocalStore(blocked / "store").publish(written(scratch, "a.bin", b"1"), "source")

    assert error.value.error_class == "storage"
    assert str(blocked) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_named_and_leaves_nothing(
    store: LocalStore, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the device has no room left the class is disk_full, and no half file stays."""

    def flush_to_a_full_device(_path: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"1")

    monkeypatch.setattr(local, "sync_file", flush_to_a_full_device)

    with pytest.raises(StageError) as error:
        store.publish(written(scratch, "a.bin", b"1"), "source")

    assert (error.value.error_class, error.value.permanent) == ("disk_full", False)
    assert files(store) == []
