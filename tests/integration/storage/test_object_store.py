"""A store in a bucket: the same promises, over the network, with a bounded local cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from data_miner.errors import StorageError
from data_miner.stage import StageError
from data_miner.storage import Store, open_store, pointer
from support.objects import Bucket

BUCKET = "mined"


@pytest.fixture
def bucket(s3: Bucket) -> str:
    """The name of a bucket for what is mined."""
    s3.client.create_bucket(Bucket=BUCKET)
    return BUCKET


@pytest.fixture
def store(bucket: str, tmp_path: Path) -> Store:
    """A store below a prefix of this test's own."""
    return open_store(f"s3://{bucket}/{tmp_path.name}", scratch=tmp_path / "scratch")


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file with the content."""
    path = folder / name
    path.write_bytes(content)
    return path


def keys(prefix: str) -> list[str]:
    """Names of the objects below the prefix."""
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", [])]


def test_what_is_published_can_be_fetched_elsewhere(store: Store, tmp_path: Path) -> None:
    """Another worker with an empty cache gets the same bytes; the same content is one object."""
    made = store.publish(written(tmp_path, "a.npy", b"pixels"), "render:x", {"frames": 1})
    again = store.publish(written(tmp_path, "b.npy", b"pixels"), "render:x", {"frames": 1})
    other = open_store(store.uri, scratch=tmp_path / "other")

    assert again == made
    assert len(keys(tmp_path.name)) == 1
    assert other.fetch(made, tmp_path / "into").read_bytes() == b"pixels"


def test_a_changed_object_is_not_believed(store: Store, tmp_path: Path) -> None:
    """The size and the digest are checked when the object arrives."""
    made = store.publish(written(tmp_path, "a.bin", b"true"), "source")
    key = made.uri.removeprefix(f"s3://{BUCKET}/")
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"fake")

    with pytest.raises(StageError) as error:
        open_store(store.uri, scratch=tmp_path / "other").fetch(made, tmp_path / "into")

    assert error.value.error_class == "input_corrupt"


def test_a_lost_object_and_a_lost_bucket_have_names(store: Store, tmp_path: Path) -> None:
    """What is not there is input_missing for a reader and storage for a writer."""
    made = store.publish(written(tmp_path, "a.bin", b"1"), "source")
    absent = replace(made, sha256="0" * 64)

    with pytest.raises(StageError) as reading:
        store.fetch(absent, tmp_path / "into")
    nowhere = open_store("s3://no-such-bucket/x", scratch=tmp_path / "scratch")
    with pytest.raises(StageError) as writing:
        nowhere.publish(written(tmp_path, "a.bin", b"1"), "source")

    assert (reading.value.error_class, writing.value.error_class) == ("input_missing", "storage")


def test_the_cache_is_bounded_and_takes_nothing_from_a_task(bucket: str, tmp_path: Path) -> None:
    """Beyond its size the cache drops what was used longest ago; fetched files stay."""
    scratch = tmp_path / "scratch"
    store = open_store(f"s3://{bucket}/{tmp_path.name}", scratch=scratch, cache_bytes=2500)
    made = [
        store.publish(written(tmp_path, f"{n}.bin", bytes([n]) * 1000), "image") for n in range(4)
    ]

    paths = [store.fetch(artifact, tmp_path / "into") for artifact in made]

    assert [path.read_bytes()[0] for path in paths] == [0, 1, 2, 3]
    assert sum(p.stat().st_size for p in (scratch / "cache").iterdir()) <= 2500


def test_the_first_remembered_value_wins(store: Store, tmp_path: Path) -> None:
    """Of two workers that remember under one key both get what the first one put."""
    other = open_store(store.uri, scratch=tmp_path / "other")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"

    assert store.cached("prompt", mine) is None
    first = store.remember("prompt", written(tmp_path, "1", b"first"), mine)
    second = other.remember("prompt", written(tmp_path, "2", b"second"), theirs)

    assert (first.read_bytes(), second.read_bytes()) == (b"first", b"first")


def test_sweeping_keeps_what_a_row_names(store: Store, tmp_path: Path) -> None:
    """Only old objects that nobody references go."""
    kept = store.publish(written(tmp_path, "a.bin", b"kept"), "source")
    store.publish(written(tmp_path, "b.bin", b"lost"), "source")

    young = store.sweep({kept.sha256}.intersection, older_than_seconds=60)
    old = store.sweep({kept.sha256}.intersection, older_than_seconds=-1)

    assert (young.objects, old.objects, old.bytes) == (0, 1, 4)
    assert [Path(key).name for key in keys(tmp_path.name)] == [f"{kept.sha256}.bin"]


@pytest.mark.parametrize("uri", ["ftp://x/y", "file://host/folder", "s3://"])
def test_a_uri_that_is_no_store_is_refused(uri: str, tmp_path: Path) -> None:
    """One line says which forms there are."""
    with pytest.raises(StorageError, match=r"three slashes|expected a path"):
        open_store(uri, scratch=tmp_path)


def test_a_bucket_names_the_version_that_was_chosen(bucket: str, tmp_path: Path) -> None:
    """A small object leads to it; a version whose manifest is not there is left alone."""
    base = f"s3://{bucket}/{tmp_path.name}"
    key = f"{tmp_path.name}/versions/{{}}/manifest.json"
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key=key.format("one"), Body=b"{}")

    assert not pointer.is_pointed_to(f"{base}/versions/one", "d1")
    pointer.point(f"{base}/versions/one", "d1")

    assert pointer.is_pointed_to(f"{base}/versions/one", "d1")
    assert pointer.is_pointed_to(f"{base}/versions/two", "d2")
    found = client.get_object(Bucket=bucket, Key=f"{tmp_path.name}/latest.json")
    assert json.loads(found["Body"].read()) == {"digest": "d1", "path": "versions/one"}
    client.put_object(Bucket=bucket, Key=key.format("two"), Body=b"{}")
    assert not pointer.is_pointed_to(f"{base}/versions/two", "d2")
