"""Cases that the predecessor got wrong, one test each.

The counts of near-identical frames (5000, 1000, 200, 40) are in tests/unit/dedup.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from data_miner.stage import Done, StageError
from support.project_bench import Bench, plain, scene

RED = plain(230, 0, 0)


def noisy_red(seed: int) -> np.ndarray:
    return scene((230, 10, 10), seed)


def test_empty_negative_and_junk_prompts_apply_none(bench: Bench) -> None:
    """A project without negative and junk prompts is judged by its positive ones alone."""
    bench.changes["filter"] = {"positive": ["red"], "negative": [], "junk": []}
    extract = bench.extract("v", [RED], wave=1)
    bench.run("embed", "v", {"extract": [extract]})

    done = bench.run("filter", "v", {"extract": [extract], "embed": bench.facts["embed"]})

    assert (done.facts["frames"], done.facts["examined"], done.facts["rejected"]) == (1, 1, {})
    assert done.facts["scores"]["1"] == 1
    (row,) = bench.table("filter", "scores")
    assert (row["negative"], row["junk"]) == (None, None)


def test_a_detector_that_raises_on_1_image_of_100_is_retried_then_listed(bench: Bench) -> None:
    """The image is tried again; at the end it is listed as failed and left out, never empty."""
    bench.changes["filter"] = {"model": None}
    bench.changes["dedup"] = {"model": None, "threshold": None}
    frames = [noisy_red(seed) for seed in range(99)]
    frames.insert(40, plain(0, 0, 0))  # the detector breaks on black
    extract = bench.extract("v", frames, wave=1)
    bench.run("filter", "v", {"extract": [extract]}, wave=1)
    bench.dedup(1)
    cut = bench.cut("v", frames, 1)

    for bench.attempt in range(2):
        with pytest.raises(StageError) as caught:
            bench.run("detect", "w1/v", {"cut": [cut]}, wave=1)
        assert (caught.value.error_class, caught.value.permanent) == ("detector_failed", False)
    bench.attempt = 2
    done = bench.run("detect", "w1/v", {"cut": [cut]}, wave=1)
    exported = bench.export(1)

    assert done.facts["frames"] == 99
    (failed,) = done.facts["failed"]
    assert failed["frame"] == 40 * 25
    assert exported.facts["frames"] == 99
    manifest = json.loads((bench.dataset / "manifest.json").read_bytes())
    assert manifest["left_out"] == [{"video_id": "v", "frame": 1000, "reason": "detect_failed"}]
    assert not list(bench.dataset.rglob("*v_001000*"))


def test_one_unreadable_image_is_dropped_and_counted(bench: Bench) -> None:
    """A kept frame whose image could not be made is left out by name; the others are exported."""
    bench.labels = False
    frames = [noisy_red(seed) for seed in range(6)]
    bench.examine("v", frames, wave=1)
    bench.dedup(1)
    cut = bench.cut("v", frames, 1)
    first = cut.artifacts[0]
    facts = {**cut.facts, "failed": [{"frame": first.media["frame"], "reason": "corrupt"}]}
    done = Done(artifacts=cut.artifacts[1:], facts=facts)
    bench.facts["cut"].clear()
    bench.keep("cut", "w1/v", done, wave=1)

    exported = bench.export(1)

    assert exported.facts["frames"] == len(cut.artifacts) - 1
    assert exported.facts["left_out"] == {"cut_failed": 1}


def test_boxes_are_json_numbers(bench: Bench) -> None:
    """Every coordinate and score in the exported JSON is a number."""
    bench.mine({"v": [noisy_red(1), noisy_red(2)]})

    coco = json.loads((bench.dataset / "annotations/train.json").read_bytes())
    manifest = json.loads((bench.dataset / "manifest.json").read_bytes())
    numbers = [value for box in coco["annotations"] for value in (*box["bbox"], box["score"])]
    numbers += [value for image in manifest["images"] for box in image["boxes"] for value in box]
    assert len(numbers) >= 2 * 5
    assert {type(value) for value in numbers} <= {int, float}


def test_stored_vectors_serve_a_second_project_after_frames_are_gone(bench: Bench) -> None:
    """When renders were cleaned away, another project's prompts still decide on the same video."""
    bench.examine("v", [noisy_red(1), noisy_red(2)], wave=1)
    extract = bench.without(bench.facts["extract"][0], "render:squash-16x16-bilinear")
    lent = bench.facts["dedup_embed"]
    bench.changes["filter"] = {"positive": ["red"]}

    bench.run("filter", "v", {"extract": [extract], "embed": bench.facts["embed"]}, wave=1)
    inputs = {"extract": [extract], "filter": bench.facts["filter"][-1:]}
    done = bench.run("dedup_embed", "v", inputs, previous=lent)

    assert (done.facts["frames"], done.facts["reused"]) == (2, 2)


def test_a_second_run_leaves_no_stale_files(bench: Bench) -> None:
    """After a stricter prompt the dataset holds the new images alone, not a union of both."""
    videos = {"v": [noisy_red(1), scene((20, 220, 30), 7)]}
    bench.mine(videos)
    before = {path.name for path in bench.dataset.rglob("*.jpg")}
    bench.facts.clear()
    bench.changes["filter"] = {"positive": ["red"]}

    bench.mine(videos)

    assert before == {"v_000000.jpg", "v_000025.jpg"}
    assert {path.name for path in bench.dataset.rglob("*.jpg")} == {"v_000000.jpg"}
