"""The manifest names a version by its content alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from data_miner_worker.dataset import Dataset
from data_miner_worker.formats.manifest import digest, manifest


def test_the_digest_is_the_sha256_of_the_file(dataset: Dataset) -> None:
    """Anybody can check a version with sha256sum, and every file with what stands in it."""
    content = manifest(dataset, {"classes.txt": b"door\n"})
    files = {file["path"]: file for file in json.loads(content)["files"]}

    assert digest(content) == hashlib.sha256(content).hexdigest()
    assert files["classes.txt"] == {
        "path": "classes.txt",
        "bytes": 5,
        "sha256": hashlib.sha256(b"door\n").hexdigest(),
    }
    assert files["images/train/a_000000.jpg"]["bytes"] == 1000
    assert list(files) == sorted(files)


def test_the_order_of_dictionaries_does_not_matter(dataset: Dataset) -> None:
    """What was put in first does not change the digest."""
    splits = dict(reversed(list(dataset.video_splits.items())))
    one = manifest(dataset, {"a": b"1", "b": b"2"})

    assert one == manifest(replace(dataset, video_splits=splits), {"b": b"2", "a": b"1"})


def test_every_decision_counts(dataset: Dataset) -> None:
    """A moved box, another split, a frame left out: each is another version."""
    first = dataset.images[0]
    assert first.labels is not None
    moved = replace(first, labels=(replace(first.labels[0], box_xyxy=(10.0, 20.0, 60.5, 70.26)),))
    variants = [
        dataset,
        replace(dataset, images=(moved, *dataset.images[1:])),
        replace(dataset, images=(replace(first, split="test"), *dataset.images[1:])),
        replace(dataset, left_out=()),
        replace(dataset, spec={**dataset.spec, "formats": ["COCO"]}),
    ]

    digests = {digest(manifest(variant, {})) for variant in variants}

    assert len(digests) == len(variants)


def test_nobody_looked_is_not_nothing_found(dataset: Dataset) -> None:
    """Boxes are null without detection and an empty list where nothing was found."""
    unlabelled = replace(dataset, images=(replace(dataset.images[0], labels=None),))

    assert json.loads(manifest(unlabelled, {}))["images"][0]["boxes"] is None
    assert json.loads(manifest(dataset, {}))["images"][1]["boxes"] == []
