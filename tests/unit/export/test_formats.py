"""Each format, as an independent reader sees it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from pycocotools.coco import COCO

from data_miner_worker.dataset import Dataset
from data_miner_worker.formats.coco import coco_files
from data_miner_worker.formats.parquet import parquet_files
from data_miner_worker.formats.yolo import yolo_files
from data_miner_worker.stages.export import formats


def load_coco(folder: Path, content: bytes) -> COCO:
    path = folder / "annotations.json"
    path.write_bytes(content)
    return COCO(path)


def test_coco_loads_in_pycocotools(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pycocotools reads every split, empty ones too, and finds boxes, areas and names."""
    files = coco_files(dataset)

    assert set(files) == {f"annotations/{split}.json" for split in ("train", "val", "test")}
    train = load_coco(tmp_path, files["annotations/train.json"])
    names = [one["file_name"] for one in train.loadImgs(train.getImgIds())]
    assert names == ["a_000000.jpg", "a_000025.jpg"]
    (box,) = train.loadAnns(train.getAnnIds())
    assert box["bbox"] == [10.0, 20.0, 50.5, 50.25]
    assert box["area"] == pytest.approx(50.5 * 50.25, abs=0.01)
    assert train.loadCats(box["category_id"])[0]["name"] == "door: glass"
    test = load_coco(tmp_path, files["annotations/test.json"])
    assert test.getImgIds() == []
    assert len(test.getCatIds()) == 2
    capsys.readouterr()


def test_coco_ids_are_unique_over_all_splits(dataset: Dataset) -> None:
    """Files of several splits can be joined: no id occurs twice."""
    contents = [json.loads(content) for content in coco_files(dataset).values()]

    images = [one["id"] for content in contents for one in content["images"]]
    boxes = [one["id"] for content in contents for one in content["annotations"]]
    assert sorted(images) == [1, 2, 3]
    assert sorted(boxes) == [1, 2, 3]


def test_yolo_has_a_file_for_every_image(dataset: Dataset) -> None:
    """Labels lie where Ultralytics looks for them; an image without boxes has an empty file."""
    files = yolo_files(dataset)

    for one in dataset.images:
        # Ultralytics replaces the last /images/ of the path and the suffix.
        assert one.path.replace("images/", "labels/").replace(".jpg", ".txt") in files
    assert files["labels/train/a_000025.txt"] == b""
    assert files["labels/val/b_c_000100.txt"].splitlines()[0] == (
        b"0 0.500000 0.500000 1.000000 1.000000"
    )
    number, *shares = files["labels/train/a_000000.txt"].split()
    assert number == b"0"
    assert [float(s) for s in shares] == pytest.approx([0.17625, 0.45125, 0.2525, 0.5025])


def test_yolo_data_names_splits_and_classes(dataset: Dataset) -> None:
    """data.yaml is read back with every class name as it was, however awkward."""
    content = yaml.safe_load(yolo_files(dataset)["data.yaml"])

    assert content["names"] == {0: "door: glass", 1: "no #1 'thing'"}
    splits = {split: content[split] for split in ("train", "val", "test")}
    assert splits == {"train": "images/train", "val": "images/val", "test": "images/test"}


def test_without_labels_there_are_no_label_files(dataset: Dataset) -> None:
    """When nobody looked for objects, no empty file says that there are none."""
    images = tuple(replace(one, labels=None) for one in dataset.images)
    unlabelled = replace(dataset, classes=(), images=images)

    assert yolo_files(unlabelled) == {}
    (content,) = parquet_files(unlabelled).values()
    assert pq.read_table(io.BytesIO(content)).column("boxes").null_count == 3


def test_parquet_holds_one_row_an_image(dataset: Dataset) -> None:
    """A row names the file, its source, its scores and its boxes in pixels."""
    (content,) = parquet_files(dataset).values()
    rows = pq.read_table(io.BytesIO(content)).to_pylist()

    assert [row["image"] for row in rows] == [one.path for one in dataset.images]
    first = rows[0]
    assert (first["split"], first["frame"], first["width"]) == ("train", 0, 200)
    assert (first["positive"], first["negative"], first["junk"]) == (0.75, None, 0.01)
    assert first["boxes"] == [
        {
            "class_index": 0,
            "class_name": "door: glass",
            "x0": 10.0,
            "y0": 20.0,
            "x1": 60.5,
            "y1": 70.25,
            "score": pytest.approx(0.9),
            "agreement": 2,
        }
    ]
    assert rows[1]["boxes"] == []


def test_formats_are_those_asked_for_and_coco(dataset: Dataset) -> None:
    """COCO and the class list are always written, the others when they are named."""
    bare = formats(replace(dataset, spec={"formats": ["COCO"], "decisions": {}}))

    assert set(bare) == {*coco_files(dataset), "classes.txt"}
    assert bare["classes.txt"] == b"door: glass\nno #1 'thing'\n"
    assert set(formats(dataset)) == {*bare, *yolo_files(dataset), "images.parquet"}
    assert formats(dataset) == formats(dataset)
