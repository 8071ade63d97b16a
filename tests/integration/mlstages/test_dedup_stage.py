"""Near-duplicates across videos and waves, with real vectors."""

from __future__ import annotations

import random

import pytest

from data_miner.stage import StageError
from support.project_bench import Bench, Frame, plain, scene

RED = (230, 20, 20)


def statuses(bench: Bench, wave_index: int = -1) -> dict[tuple[str, int], str]:
    return {
        (row["video_id"], row["frame"] // 25): row["status"]
        for row in bench.table("dedup", "selection", wave_index)
    }


def test_duplicates_across_videos_leave_one_and_name_it(
    bench: Bench, videos: dict[str, list[Frame]]
) -> None:
    """Of two alike frames the first in the order of content stays; the other names it."""
    for video_id, frames in videos.items():
        bench.examine(video_id, frames, wave=1)

    done = bench.dedup(1)

    found = statuses(bench)
    assert found["alpha", 1] == "kept"
    assert found["alpha", 5] == "duplicate"
    assert found["beta", 4] == "duplicate"
    assert ("alpha", 6) not in found  # the filter dropped the blue frame
    rows = {(r["video_id"], r["frame"]): r for r in bench.table("dedup", "selection")}
    duplicate = rows["beta", 100]
    assert duplicate["representative_video_id"] == "alpha"
    assert duplicate["representative_frame"] == 50
    assert 0.95 <= duplicate["cosine"] <= 1
    assert rows["alpha", 50]["cosine"] is None
    assert done.facts == {
        "frames": 13,
        "duplicates": 2,
        "beyond_target": 0,
        "kept_by_video": {"alpha": 5, "beta": 4, "gamma": 4},
    }


def test_arrival_order_does_not_matter(bench: Bench, videos: dict[str, list[Frame]]) -> None:
    """Videos examined in any order, told in any order, give the same bytes."""
    for video_id, frames in videos.items():
        bench.examine(video_id, frames, wave=1)
    bench.dedup(1)
    first = bench.facts["dedup"][-1].artifact("selection").sha256

    for seed in range(3):
        for facts in bench.facts.values():
            random.Random(seed).shuffle(facts)
        bench.facts["dedup"].clear()
        bench.dedup(1)
        assert bench.facts["dedup"][-1].artifact("selection").sha256 == first


def test_what_a_wave_kept_stays(bench: Bench) -> None:
    """A later wave drops what looks like an earlier image, even where its content comes first."""
    bench.examine("zeta", [scene(RED, 1), scene(RED, 2)], wave=1)
    bench.dedup(1)
    bench.examine("alpha", [scene(RED, 1, noise=3), scene(RED, 3)], wave=2)

    done = bench.dedup(2)

    assert statuses(bench) == {("alpha", 0): "duplicate", ("alpha", 1): "kept"}
    assert bench.table("dedup", "selection")[0]["representative_video_id"] == "zeta"
    assert done.facts["kept_by_video"] == {"alpha": 1}


def test_the_target_counts_over_all_waves(bench: Bench) -> None:
    """Kept frames of all waves together never exceed the target."""
    bench.changes["dedup"] = {"target": 3}
    bench.examine("a", [scene(RED, 1), scene(RED, 2)], wave=1)
    bench.dedup(1)
    bench.examine("b", [scene(RED, seed) for seed in range(3, 6)], wave=2)

    done = bench.dedup(2)

    assert (done.facts["frames"], done.facts["beyond_target"]) == (1, 2)
    assert statuses(bench)["b", 0] == "kept"


def test_sharpest_is_kept(bench: Bench) -> None:
    """With prefer Sharpest the sharper of two alike frames stays, even when it comes later."""
    frames = [scene(RED, 1), scene(RED, 1, noise=3)]
    assert frames[1].std() > frames[0].std()
    bench.changes["dedup"] = {"prefer": "Sharpest"}
    bench.examine("a", frames, wave=1)

    bench.dedup(1)

    assert statuses(bench) == {("a", 0): "duplicate", ("a", 1): "kept"}


def test_without_dedup_all_is_kept_up_to_the_target(bench: Bench) -> None:
    """A project without a dedup block keeps alike frames, in order of content, up to its target."""
    bench.changes["dedup"] = {"model": None, "threshold": None, "target": 2}
    bench.examine("a", [scene(RED, 1)] * 3, wave=1)

    bench.dedup(1)

    assert list(statuses(bench).values()) == ["kept", "kept", "beyond_target"]


def test_a_wave_without_frames_is_done(bench: Bench) -> None:
    """Nothing passed the filter: the wave has an empty selection, which is no failure."""
    bench.examine("a", [plain(0, 0, 230)], wave=1)

    done = bench.dedup(1)

    assert done.facts["frames"] == 0
    assert bench.table("dedup", "selection") == []


def test_missing_vectors_are_named(bench: Bench) -> None:
    """A member without vectors is input_missing with its name, never a frame that is unlike all."""
    bench.examine("a", [scene(RED, 1)], wave=1)
    bench.facts["dedup_embed"].clear()

    with pytest.raises(StageError, match="no dedup_embed of a"):
        bench.dedup(1)


def test_vectors_of_another_project_are_borrowed(bench: Bench) -> None:
    """A looser filter embeds only what was not embedded before; the vectors are the same bits."""
    frames = [scene(RED, 1), scene((20, 220, 30), 2), scene(RED, 3)]
    bench.changes["filter"] = {"positive": ["red"]}
    bench.examine("a", frames, wave=1)
    lent = bench.facts["dedup_embed"][0]
    assert bench.counters["dedup_frames_embedded"] == 2
    bench.changes["filter"] = {"positive": ["red", "green"]}
    looser = {"extract": bench.facts["extract"], "embed": bench.facts["embed"]}
    bench.run("filter", "a", looser, wave=1)
    inputs = {"extract": bench.facts["extract"], "filter": bench.facts["filter"][-1:]}

    done = bench.run("dedup_embed", "a", inputs, previous=[lent])
    alone = bench.run("dedup_embed", "a", inputs)

    assert (done.facts["frames"], done.facts["reused"]) == (3, 2)
    assert bench.counters["dedup_frames_embedded"] == 2 + 1 + 3
    assert done.artifacts[0].sha256 == alone.artifacts[0].sha256


def test_vectors_of_another_file_are_not_borrowed(bench: Bench) -> None:
    """A source that was replaced under the same name shares nothing."""
    bench.examine("a", [scene(RED, 1)], wave=1, source="old")
    lent = bench.facts["dedup_embed"][0]
    new = bench.extract("a", [scene(RED, 2)], wave=1, source="new")
    inputs = {"extract": [new], "filter": bench.facts["filter"][-1:]}

    done = bench.run("dedup_embed", "a", inputs, previous=[lent])

    assert done.facts["reused"] == 0
