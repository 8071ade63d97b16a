"""A dataset version from real stages: what it holds, and that nothing else changes it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from data_miner.stage import Fact, Skip, StageError
from support.project_bench import Bench, Frame, scene

RED, GREEN = (230, 20, 20), (20, 220, 30)
MakeBench = Callable[..., Bench]


def manifest(bench: Bench) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bench.dataset / "manifest.json").read_bytes())
    return content


def test_a_version_has_all_its_files(bench: Bench, videos: dict[str, list[Frame]]) -> None:
    """Images, labels in three formats, card, report; the manifest names each file with its hash."""
    done = bench.mine(videos)

    there = {
        str(path.relative_to(bench.dataset)) for path in bench.dataset.rglob("*") if path.is_file()
    }
    content = manifest(bench)
    listed = {file["path"]: file for file in content["files"]}
    assert there == set(listed) | {"manifest.json", "provenance.json", "README.md", "report.html"}
    for path, file in listed.items():
        data = (bench.dataset / path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    raw = (bench.dataset / "manifest.json").read_bytes()
    assert done.facts["digest"] == hashlib.sha256(raw).hexdigest()
    assert done.facts["frames"] == len(content["images"]) == 13
    assert done.records["dataset"]["images"] == 13
    assert done.records["dataset"]["uri"].endswith(f"/versions/{done.facts['digest'][:16]}")
    assert {image["name"] for image in content["images"]} >= {
        "alpha_000025.jpg",
        "gamma_000000.jpg",
    }


def test_independent_readers_agree(
    bench: Bench, videos: dict[str, list[Frame]], capsys: pytest.CaptureFixture[str]
) -> None:
    """COCO, YOLO and Parquet hold the same images and the same boxes."""
    bench.mine(videos)
    data = yaml.safe_load((bench.dataset / "data.yaml").read_text())
    rows = pq.read_table(bench.dataset / "images.parquet").to_pylist()

    boxes = 0
    for split in ("train", "val", "test"):
        coco = COCO(bench.dataset / f"annotations/{split}.json")
        for image in coco.loadImgs(coco.getImgIds()):
            path = bench.dataset / data[split] / image["file_name"]
            with Image.open(path) as opened:
                assert opened.size == (image["width"], image["height"])
            label = Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt")
            lines = [[float(v) for v in line.split()] for line in label.read_text().splitlines()]
            found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            (row,) = [r for r in rows if r["image"].endswith("/" + image["file_name"])]
            assert row["split"] == split
            assert len(lines) == len(found) == len(row["boxes"])
            for (_, x, y, w, h), one, box in zip(lines, found, row["boxes"], strict=True):
                left, top, width, height = one["bbox"]
                size = (image["width"], image["height"])
                expected = (x - w / 2) * size[0], (y - h / 2) * size[1], w * size[0], h * size[1]
                assert (left, top, width, height) == pytest.approx(expected, abs=0.01)
                assert (box["x0"], box["y0"]) == pytest.approx((left, top), abs=0.01)
                boxes += 1
    assert boxes == 5  # the red images
    capsys.readouterr()


def test_the_digest_is_the_same_for_any_home_order_and_storage(
    another_bench: MakeBench, videos: dict[str, list[Frame]], bucket: str
) -> None:
    """Another home, videos in another order, results told in another order, artifacts in a bucket
    and the dataset in a bucket: one digest."""
    expected = another_bench().mine(videos).facts["digest"]

    backwards = another_bench()
    backwards.mine(dict(reversed(list(videos.items()))))
    for facts in backwards.facts.values():
        random.Random(5).shuffle(facts)
    backwards.facts["export"].clear()
    assert backwards.export(1).facts["digest"] == expected
    remote = another_bench(store_uri=f"s3://{bucket}/store", project="other-name")
    remote.changes["export"] = {"base": f"s3://{bucket}/out", "uri": f"s3://{bucket}/out"}
    assert remote.mine(videos).facts["digest"] == expected


def test_a_dataset_in_a_bucket_is_whole(
    bench: Bench, videos: dict[str, list[Frame]], bucket: str
) -> None:
    """All files are objects under the version; latest.json names it; again changes no object."""
    bench.changes["export"] = {"base": f"s3://{bucket}/bucketed"}
    done = bench.mine(videos)
    client = boto3.client("s3")

    def objects() -> dict[str, Any]:
        listed = client.list_objects_v2(Bucket=bucket, Prefix="bucketed/")["Contents"]
        return {one["Key"]: one["LastModified"] for one in listed}

    before = objects()
    latest = json.loads(client.get_object(Bucket=bucket, Key="bucketed/latest.json")["Body"].read())
    assert latest["digest"] == done.facts["digest"]
    root = f"bucketed/{latest['path']}"
    raw = client.get_object(Bucket=bucket, Key=f"{root}/manifest.json")["Body"].read()
    assert {f"{root}/{file['path']}" for file in json.loads(raw)["files"]} < set(before)
    assert done.facts["uri"] == f"s3://{bucket}/{root}"
    bench.export(1)
    assert set(objects()) == set(before)


def test_a_bucket_that_is_not_there_is_one_line(bench: Bench, bucket: str) -> None:
    """A missing bucket is a storage failure that names the target, not a traceback."""
    bench.changes["export"] = {"base": f"s3://{bucket}-missing/x"}

    with pytest.raises(StageError, match=f"s3://{bucket}-missing/x") as caught:
        bench.mine({"v": [scene(RED, 1)]})

    assert caught.value.error_class == "storage"
    assert "\n" not in str(caught.value)


def test_provenance_stays_out_of_the_digest(
    another_bench: MakeBench, videos: dict[str, list[Frame]]
) -> None:
    """Addresses, titles, costs and failures change the papers, not the version; no token stays."""
    plain = another_bench()
    signed = "https://x.test/1?X-Amz-Signature=0f0f&token=hunter2"
    told = another_bench(
        told={
            "videos": {"alpha": {"url": signed, "title": "A", "metadata": {}}},
            "costs": {"cpu_seconds": 3.5},
            "funnel": {"found": 9},
            "failures_by_class": [{"stage": "download", "error_class": "x", "count": 2}],
        }
    )

    assert plain.mine(videos).facts["digest"] == told.mine(videos).facts["digest"]
    provenance = json.loads((told.dataset / "provenance.json").read_bytes())
    assert provenance["videos"]["alpha"]["url"] == "https://x.test/1?X-Amz-Signature=***&token=***"
    assert provenance["costs"] == {"cpu_seconds": 3.5}
    text = (told.dataset / "manifest.json").read_text()
    papers = [path.read_bytes() for path in told.dataset.rglob("*") if path.is_file()]
    assert not [paper for paper in papers if b"0f0f" in paper or b"hunter2" in paper]
    for secret in ("x.test", str(told.folder), "cpu_seconds"):
        assert secret not in text


def test_splits_hold_through_later_waves(bench: Bench) -> None:
    """A second version keeps every image of the first where it was, and adds to it."""
    colours = [(230, 20, 20), (20, 220, 30), (120, 110, 0)]
    bench.changes["filter"] = {"model": None}
    bench.changes["dedup"] = {"threshold": 1.0}
    bench.changes["export"] = {"split_link_threshold": 0.999}
    first = {f"v{n}": [scene(colours[n % 3], 10 * n + k) for k in range(2)] for n in range(6)}
    second = {
        f"w{n}": [scene(colours[n % 3], 500 + 10 * n + k) for k in range(2)] for n in range(6)
    }
    bench.mine(first, wave=1)
    before = {image["name"]: image["split"] for image in manifest(bench)["images"]}

    bench.mine(second, wave=2)

    after = {image["name"]: image["split"] for image in manifest(bench)["images"]}
    assert before.items() <= after.items()
    assert len(after) == 24
    splits: dict[str, set[str]] = {}
    for image in manifest(bench)["images"]:
        splits.setdefault(image["video_id"], set()).add(image["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert len(set(after.values())) == 3


def test_videos_that_look_alike_share_a_split(bench: Bench) -> None:
    """Two videos with a near-duplicate between them are never divided, though it was dropped."""
    bench.changes["filter"] = {"model": None}
    bench.changes["export"] = {"split_link_threshold": 0.94}
    videos = {f"v{n}": [scene(RED, 10 * n), scene(GREEN, 10 * n + 1)] for n in range(8)}
    videos["v7"].append(scene(RED, 0, noise=3))  # like the first frame of v0

    done = bench.mine(videos)

    assert done.facts["frames"] == 16
    splits = manifest(bench)["videos"]
    assert splits["v0"] == splits["v7"]
    assert len(set(splits.values())) > 1


def test_upload_groups_share_a_split_but_channels_do_not(
    another_bench: MakeBench,
) -> None:
    """`upload_group` in a video's metadata binds; a channel alone does not."""
    videos = {f"v{n}": [scene(RED, 10 * n)] for n in range(6)}

    def splits(key: str) -> set[str]:
        one = {"url": "u", "title": "t", "metadata": {key: "same"}}
        bench = another_bench(told={"videos": dict.fromkeys(videos, one)})
        bench.changes["filter"] = {"model": None}
        bench.changes["export"] = {"split_link_threshold": 1.0}
        bench.mine(videos)
        return set(manifest(bench)["videos"].values())

    assert splits("upload_group") == {"train"}
    assert len(splits("channel")) > 1


def test_a_newcomer_between_two_splits_is_left_out(bench: Bench) -> None:
    """A new video that looks like training and like test images is left out with that reason."""
    bench.changes["filter"] = {"model": None}
    bench.changes["dedup"] = {"threshold": 1.0}
    bench.changes["export"] = {"split_link_threshold": 0.95}
    bench.mine({f"v{n}": [scene(RED, 100 * n)] for n in range(6)}, wave=1)
    splits = manifest(bench)["videos"]
    one = next(v for v, split in splits.items() if split == "train")
    other = next(v for v, split in splits.items() if split != "train")
    between = [scene(RED, 100 * int(name[1:]), noise=3) for name in (one, other)]

    done = bench.mine({"new": between}, wave=2)

    assert done.facts["left_out"] == {"bridges_splits": 2}
    assert done.facts["frames"] == 6
    assert manifest(bench)["videos"] == splits


def test_no_images_is_skipped_with_the_reason(bench: Bench) -> None:
    """A wave that leaves nothing makes no version, and says why."""
    bench.examine("v", [scene((10, 10, 230), 1)], wave=1)
    bench.dedup(1)

    outcome = bench.outcome("export", "w1", bench.export_inputs(1), wave=1)

    assert outcome == Skip("NoImages: no frame was kept")
    assert not bench.dataset.exists()


def test_without_labels_images_are_exported_bare(bench: Bench) -> None:
    """A project without detect has images and no label that could be taken for an empty one."""
    bench.labels = False

    bench.mine({"v": [scene(RED, 1), scene(RED, 2)]})

    assert not (bench.dataset / "labels").exists()
    assert not (bench.dataset / "data.yaml").exists()
    assert [image["boxes"] for image in manifest(bench)["images"]] == [None, None]
    train = json.loads((bench.dataset / "annotations/train.json").read_bytes())
    assert (len(train["images"]), train["annotations"]) == (2, [])


def test_images_share_bytes_with_the_store(bench: Bench) -> None:
    """On one file system an exported image costs no space: it is the stored file itself."""
    bench.mine({"v": [scene(RED, 1)]})

    image = next(bench.dataset.rglob("*.jpg"))
    artifact = bench.facts["cut"][0].artifacts[0]
    assert image.samefile(bench.store.fetch(artifact, bench.folder))


def test_a_report_never_fails_for_a_picture(bench: Bench) -> None:
    """When the renders of duplicates are gone, the report shows their places without pictures."""
    bench.mine({"v": [scene(RED, 1), scene(RED, 1, noise=3), scene(RED, 2)]})
    with_pictures = (bench.dataset / "report.html").read_text()
    inputs = bench.export_inputs(1)
    inputs["extract"] = [replace(fact, artifacts=()) for fact in inputs["extract"]]
    bench.changes["export"] = {"base": str(bench.folder / "again")}

    bench.run("export", "w1", inputs, wave=1)

    without = (bench.dataset / "report.html").read_text()
    assert with_pictures.count("data:image/jpeg") == without.count("data:image/jpeg") + 1
    assert "cosine 0.9" in without


def test_a_hostile_project_is_harmless(bench: Bench) -> None:
    """Titles and class names full of markup end up as text in card, report, COCO and data.yaml."""
    nasty = "<script>alert(1)</script>\" onload='x' & | `y` # z: {"
    bench.changes["detect"] = {
        "classes": [{"name": nasty, "prompts": ["red"], "min_score": 0.3}],
    }
    bench.told = {"videos": {"v": {"url": "javascript:x", "title": nasty, "metadata": {}}}}

    bench.mine({"v": [scene(RED, 1), scene(RED, 1, noise=3)]})

    report = (bench.dataset / "report.html").read_text()
    assert "<script" not in report
    assert "&lt;script&gt;alert(1)" in report
    assert yaml.safe_load((bench.dataset / "data.yaml").read_text())["names"] == {0: nasty}
    coco = json.loads((bench.dataset / "annotations/train.json").read_bytes())
    assert coco["categories"][0]["name"] == nasty
    assert "<script" not in (bench.dataset / "README.md").read_text()


def test_a_report_of_many_images_stays_small(bench: Bench) -> None:
    """With 150 images the report shows a selection and stays below 5 MB."""
    bench.labels = False
    bench.changes["dedup"] = {"model": None, "threshold": None}
    bench.changes["export"] = {"split_link_threshold": 1.0}

    bench.mine({"v": [scene(RED, seed, noise=40) for seed in range(150)]})

    report = (bench.dataset / "report.html").read_bytes()
    assert len(report) < 5_000_000
    assert b"72 of 150." in report


def test_an_earlier_version_without_its_manifest_is_named(bench: Bench) -> None:
    """Splits must not be drawn anew in silence: a lost manifest stops the export."""
    bench.mine({"v": [scene(RED, 1)]}, wave=1)
    bench.examine("w", [scene(RED, 9)], wave=2)
    bench.dedup(2)
    inputs = bench.export_inputs(2)
    inputs["export"] = [bench.without(fact, "manifest") for fact in inputs["export"]]

    with pytest.raises(StageError, match="manifest"):
        bench.run("export", "w2", inputs, wave=2)


def test_facts_are_small_and_json(bench: Bench) -> None:
    """What goes to the database is plain JSON without the images themselves."""
    done = bench.mine({"v": [scene(RED, 1)]})

    assert json.loads(json.dumps(done.facts)) == done.facts
    assert isinstance(bench.facts["export"][0], Fact)
    assert len(json.dumps(done.facts)) < 1000
