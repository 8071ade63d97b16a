"""`data-miner demo`: its dataset against the truth of the clips, read by other people's readers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from support.demo_truth import DemoTruth, average_precision_50, f1, parse_name
from support.product import REPOSITORY, Product

SHAPES = ["star", "ring"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Demo:
    """A finished demo."""

    product: Product
    dataset: Path
    summary: Any


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, mined once with the embedded PostgreSQL."""
    out = tmp_path_factory.mktemp("demo") / "out"
    product = Product(out / "home", folder=REPOSITORY)
    out.mkdir()
    finished = product.do("demo", "--out", out, "--json")
    assert finished.code == 0, finished.err
    return Demo(product, out / "dataset", finished.json)


@pytest.fixture(scope="module")
def coco(demo: Demo) -> dict[str, Any]:
    """The three COCO files as one document."""
    parts = [
        json.loads((demo.dataset / f"annotations/{split}.json").read_text()) for split in SPLITS
    ]
    return {
        "categories": parts[0]["categories"],
        "images": [image for part in parts for image in part["images"]],
        "annotations": [a for part in parts for a in part["annotations"]],
    }


def test_the_demo_leaves_a_whole_dataset(demo: Demo) -> None:
    """The folder has every file that the README promises, and the digest names the manifest."""
    for name in (
        "manifest.json",
        "provenance.json",
        "report.html",
        "data.yaml",
        "images.parquet",
        "README.md",
        *(f"annotations/{split}.json" for split in SPLITS),
    ):
        assert (demo.dataset / name).is_file(), name
    digest = hashlib.sha256((demo.dataset / "manifest.json").read_bytes()).hexdigest()

    assert digest == demo.summary["dataset"]["digest"]


def test_the_filter_keeps_what_the_prompts_mean(demo: Demo) -> None:
    """F1 over all sampled frames is at least 0.95 against the generator's truth."""
    truth = DemoTruth()
    judged = [
        (row["kept"], truth.frame(scores.subject, row["frame"]).wanted(SHAPES))
        for scores in demo.product.artifacts("filter", "scores")
        for row in pq.read_table(scores.path).to_pylist()
    ]

    assert len(judged) > 100
    assert f1(judged) >= 0.95


def test_the_boxes_are_where_the_things_are(coco: dict[str, Any]) -> None:
    """AP at IoU 0.5 is at least 0.9 by pycocotools."""
    precision, boxes = average_precision_50(coco, DemoTruth(), SHAPES)

    assert boxes >= 6
    assert precision >= 0.9


def test_each_planted_group_leaves_one_image(coco: dict[str, Any]) -> None:
    """Every group of near-duplicates with a wanted thing has exactly one image."""
    truth = DemoTruth()
    found = [truth.frame(*parse_name(image["file_name"])).group for image in coco["images"]]

    assert sorted(found) == sorted(truth.groups(SHAPES))


def test_coco_loads_in_pycocotools(demo: Demo) -> None:
    """Each split's file loads, and its images are there with the size that it says."""
    for split in SPLITS:
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = COCO(str(demo.dataset / f"annotations/{split}.json"))
        for image in dataset.loadImgs(dataset.getImgIds()):
            with Image.open(demo.dataset / "images" / split / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])


def test_yolo_says_what_coco_says(demo: Demo, coco: dict[str, Any]) -> None:
    """A reader of the YOLO layout, written from its description, finds the boxes of COCO."""
    description = yaml.safe_load((demo.dataset / "data.yaml").read_text())
    root = demo.dataset / description.get("path", ".")
    by_image: dict[str, list[tuple[int, list[float]]]] = {}
    for split in SPLITS:
        folder = root / description[split]
        for picture in sorted(folder.glob("*.jpg")):
            labels = Path(str(picture).replace("/images/", "/labels/")).with_suffix(".txt")
            with Image.open(picture) as opened:
                width, height = opened.size
            boxes = []
            for line in labels.read_text().splitlines():
                number, x, y, w, h = line.split()
                corner = [(float(x) - float(w) / 2) * width, (float(y) - float(h) / 2) * height]
                boxes.append((int(number), [*corner, float(w) * width, float(h) * height]))
            by_image[picture.name] = sorted(boxes)

    assert set(by_image) == {image["file_name"] for image in coco["images"]}
    assert [description["names"][i] for i in range(len(SHAPES))] == SHAPES
    for image in coco["images"]:
        expected = sorted(
            (a["category_id"] - 1, a["bbox"])
            for a in coco["annotations"]
            if a["image_id"] == image["id"]
        )
        found = by_image[image["file_name"]]
        assert [number for number, _ in found] == [number for number, _ in expected]
        for (_, box), (_, wanted) in zip(found, expected, strict=True):
            np.testing.assert_allclose(box, wanted, atol=0.05)


def test_no_video_is_in_two_splits(coco: dict[str, Any], demo: Demo) -> None:
    """All images of one video lie in one split."""
    split_of: dict[str, set[str]] = {}
    for split in SPLITS:
        part = json.loads((demo.dataset / f"annotations/{split}.json").read_text())
        for image in part["images"]:
            split_of.setdefault(parse_name(image["file_name"])[0], set()).add(split)

    assert split_of
    assert all(len(splits) == 1 for splits in split_of.values())


def test_the_manifest_covers_every_file_of_content(demo: Demo) -> None:
    """Each file that the manifest names is there with its hash; nothing in it tells of the host."""
    manifest = (demo.dataset / "manifest.json").read_text()
    for file in json.loads(manifest)["files"]:
        data = (demo.dataset / file["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"], file["path"]

    assert "://" not in manifest
    assert str(demo.dataset.parent) not in manifest


def test_a_second_demo_does_nothing_and_says_so(demo: Demo) -> None:
    """Run again on the same folder, it finds all done: no task, no byte, the same dataset."""
    out = demo.dataset.parent
    again = demo.product.do("demo", "--out", out, "--json")
    told = demo.product.do("demo", "--out", out)

    assert again.json["worked"] is False
    assert again.json["dataset"]["digest"] == demo.summary["dataset"]["digest"]
    assert "nothing to do" in told.out


def test_explain_tells_an_image_s_story(demo: Demo, coco: dict[str, Any]) -> None:
    """`explain` names the clip, the time and the scores of an image of the dataset."""
    name = coco["images"][0]["file_name"]
    told = demo.product.do("explain", name)
    missing = demo.product.do("explain", "nothing_000001.jpg")

    assert told.code == 0, told.err
    assert parse_name(name)[0].split("-")[0] in told.out
    assert missing.code == 2
    assert len(missing.err.strip().splitlines()) == 1
