"""Boxes on real images with a real detector."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from data_miner.stage import Done, Fact, StageError
from data_miner_worker import columns
from data_miner_worker.stages.detect import EXAMINED, MERGED
from support.project_bench import HEIGHT, WIDTH, Bench, Frame, plain, scene

RED, GREEN, BLUE, BLACK = plain(230, 0, 0), plain(0, 230, 0), plain(0, 0, 230), plain(0, 0, 0)


def images(bench: Bench, *frames: Frame) -> Fact:
    """Images as cut makes them, of frames that are all kept."""
    bench.changes["filter"] = {"model": None}
    bench.changes["dedup"] = {"model": None, "threshold": None}
    extract = bench.extract("v", frames, wave=1)
    bench.run("filter", "v", {"extract": [extract]}, wave=1)
    bench.dedup(1)
    return bench.cut("v", frames, 1)


def detect(bench: Bench, cut: Fact, **more: object) -> Done:
    return bench.run("detect", cut.subject, {"cut": [cut]}, wave=1, **more)


def test_boxes_are_numbers_in_pixels_of_the_image(bench: Bench) -> None:
    """The middle half of a red image is a red thing; a green image has nothing."""
    done = detect(bench, images(bench, RED, GREEN))

    assert done.facts == {"frames": 2, "boxes": 1, "failed": []}
    (own, merged) = bench.table("detect", "detections")
    assert (own["detector"], merged["detector"]) == ("boxer", MERGED)
    expected = [WIDTH / 4, HEIGHT * 3 / 8, WIDTH * 3 / 4, HEIGHT * 5 / 8]
    assert [merged[side] for side in ("x0", "y0", "x1", "y1")] == pytest.approx(expected)
    assert (merged["frame"], merged["class_name"], merged["agreement"]) == (0, "red thing", 1)
    assert 0.9 < merged["score"] <= 1


def test_an_image_without_boxes_was_examined(bench: Bench) -> None:
    """An image in which nothing was found is told apart from one that nobody looked at."""
    cut = images(bench, GREEN, BLUE)
    detect(bench, cut)
    fact = bench.facts["detect"][-1]
    table = pq.read_table(bench.store.fetch(fact.artifact("detections"), bench.folder))

    examined = json.loads(columns.metadata(table)[EXAMINED])

    assert examined == [image.sha256 for image in cut.artifacts]
    assert table.num_rows == 0


def test_prompts_of_a_class_are_one_class(bench: Bench) -> None:
    """Synonyms find one object once; classes keep their own boxes and floors."""
    bench.changes["detect"] = {
        "classes": [
            {"name": "warm", "prompts": ["red", "Red", "nothing"], "min_score": 0.3},
            {"name": "cold", "prompts": ["blue"], "min_score": 0.001},
            {"name": "leafy", "prompts": ["green"], "min_score": 0.3},
        ]
    }

    detect(bench, images(bench, RED))

    merged = [row for row in bench.table("detect", "detections") if row["detector"] == MERGED]
    assert [row["class_name"] for row in merged] == ["warm", "cold"]
    assert [row["class_index"] for row in merged] == [0, 1]


def test_a_detector_has_a_floor_of_its_own(bench: Bench) -> None:
    """A box must reach the class's floor and the detector's."""
    (detector,) = bench.params("detect")["detectors"]
    bench.changes["detect"] = {"detectors": [{**detector, "min_score": 0.9999}]}

    assert detect(bench, images(bench, RED)).facts["boxes"] == 0


def test_agreement_of_two_detectors(bench: Bench) -> None:
    """Two detectors that find the same make one box with agreement 2; three are never reached."""
    (detector,) = bench.params("detect")["detectors"]
    bench.changes["detect"] = {"detectors": [detector, detector], "agreement": 2}
    cut = images(bench, RED)

    detect(bench, cut)

    rows = bench.table("detect", "detections")
    assert [row["detector"] for row in rows] == ["boxer", "boxer", MERGED]
    assert rows[-1]["agreement"] == 2
    bench.changes["detect"]["agreement"] = 3
    assert detect(bench, cut).facts["boxes"] == 0


def test_an_image_that_was_looked_at_is_borrowed(bench: Bench) -> None:
    """Images with the same bytes are not looked at again, boxes or none; the answer is the same."""
    cut = images(bench, RED, GREEN, scene((230, 20, 20), 4))
    alone = detect(bench, cut)
    assert bench.counters["images_detected"] == 3

    again = detect(bench, cut, previous=bench.facts["detect"])

    assert bench.counters["images_detected"] == 3
    assert again.artifacts[0].sha256 == alone.artifacts[0].sha256


def test_a_borrowed_image_keeps_its_own_frame(bench: Bench) -> None:
    """The same pixels at another frame take the boxes, not the frame's number."""
    first = images(bench, RED)
    detect(bench, first)
    moved = replace(first.artifacts[0], media={**first.artifacts[0].media, "frame": 75})
    other = replace(first, artifacts=(moved,))

    bench.run("detect", "w1/v", {"cut": [other]}, previous=bench.facts["detect"])

    assert {row["frame"] for row in bench.table("detect", "detections")} == {75}


def test_a_broken_image_is_retried_then_listed(bench: Bench) -> None:
    """An image that cannot be read fails the task while tries are left, then it is listed."""
    cut = images(bench, RED)
    broken = bench.publish("x.jpg", b"no image", "image", frame=25, width=9, height=9)
    both = replace(cut, artifacts=(*cut.artifacts, broken))

    with pytest.raises(StageError, match="frame 25") as caught:
        detect(bench, both)
    bench.attempt = 2
    done = detect(bench, both)

    assert (caught.value.error_class, caught.value.permanent) == ("detector_failed", False)
    assert [one["frame"] for one in done.facts["failed"]] == [25]
    assert done.facts["frames"] == 1


def test_no_images_is_done(bench: Bench) -> None:
    """A video that kept nothing has no detections, and no model is loaded for it."""
    bench.changes["detect"] = {"detectors": [{"model": "none", "digest": "", "min_score": None}]}
    empty = Fact("cut", "w1/v", "v", {}, (), 1)

    assert detect(bench, empty).facts["frames"] == 0
