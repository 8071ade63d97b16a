"""From renders to decisions, with real models."""

from __future__ import annotations

import math
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from data_miner.stage import Done, Fact, StageError, StopRequested
from data_miner_worker import vectors
from data_miner_worker.score_counts import score_counts
from support.project_bench import Bench, Frame, plain, scene
from support.tiny_models import BIAS, SCALE

RED, GREEN, BLUE, GREY = plain(230, 0, 0), plain(0, 230, 0), plain(0, 0, 230), plain(99, 99, 99)


def examine(bench: Bench, *frames: Frame) -> Done:
    """Embed and filter one video."""
    extract = bench.extract("v", frames, wave=1)
    bench.run("embed", "v", {"extract": [extract]})
    return bench.run("filter", "v", {"extract": [extract], "embed": bench.facts["embed"][-1:]})


def stored(bench: Bench, fact: Fact) -> vectors.Vectors:
    return vectors.load(bench.store.fetch(fact.artifact("vectors"), bench.folder / "scratch"))


def test_frames_that_show_a_prompt_are_kept(bench: Bench) -> None:
    """Red and green frames match the prompts, blue ones do not; every frame has its scores."""
    done = examine(bench, RED, GREEN, BLUE, RED)

    rows = bench.table("filter", "scores")
    spread = score_counts(np.array([row["positive"] for row in rows]), "Probability")
    assert done.facts == {
        "frames": 3, "examined": 4, "rejected": {"positive": 1}, "scores": spread,
    }  # fmt: skip
    assert [row["reason"] for row in rows] == ["kept", "kept", "positive", "kept"]
    assert [row["best_prompt"] for row in rows[:2]] == [0, 1]
    assert [row["frame"] for row in rows] == [0, 25, 50, 75]
    assert rows[0]["negative"] is None
    assert rows[0]["junk"] is None


def test_scores_are_the_sigmoid_of_the_scaled_cosine(bench: Bench) -> None:
    """A stored score is the reference formula on the stored vectors, to six decimals."""
    examine(bench, RED, scene((200, 90, 30), 3))
    images = stored(bench, bench.facts["embed"][0]).values.astype(np.float64)

    for row, image in zip(bench.table("filter", "scores"), images, strict=True):
        cosine = max(float(image[0]), float(image[1]))  # red is (1, 0, 0), green is (0, 1, 0)
        assert row["positive"] == round(1 / (1 + math.exp(-(cosine * SCALE + BIAS))), 6)


def test_logits_decide_in_their_own_space(bench: Bench) -> None:
    """With space Logit, scores and thresholds are logits."""
    bench.changes["filter"] = {
        "space": "Logit",
        "thresholds": {
            "positive": 4.5,
            "negative": 0,
            "junk": 0,
            "negative_margin": 0,
            "junk_margin": 0,
        },
    }

    done = examine(bench, RED, GREY)

    assert done.facts["frames"] == 1
    scores = [row["positive"] for row in bench.table("filter", "scores")]
    assert scores[0] == pytest.approx(SCALE + BIAS, abs=0.02)
    assert scores[1] == pytest.approx(SCALE * 3**-0.5 + BIAS, abs=0.02)


def test_negative_and_junk_prompts_veto(bench: Bench) -> None:
    """A frame that also matches a negative or junk prompt is dropped with that reason."""
    bench.changes["filter"] = {"positive": ["red", "green", "blue"], "negative": ["green"]}
    bench.changes["filter"]["junk"] = ["blue"]

    done = examine(bench, RED, GREEN, BLUE)

    assert done.facts["rejected"] == {"junk": 1, "negative": 1}


def test_without_a_filter_every_frame_is_kept(bench: Bench) -> None:
    """A project without prompts looks at nothing and keeps all; no model is needed."""
    bench.changes["filter"] = {"model": None}
    extract = bench.extract("v", [RED, BLUE], wave=1)

    done = bench.run("filter", "v", {"extract": [extract]})

    assert done.facts == {"frames": 2, "examined": 2, "rejected": {}}
    assert [row["positive"] for row in bench.table("filter", "scores")] == [None, None]


def test_a_changed_prompt_embeds_no_frame_again(bench: Bench) -> None:
    """Other prompts decide anew on stored vectors: the counters show no embedding."""
    examine(bench, RED, GREEN, BLUE)
    before = bench.counters["frames_embedded"]
    bench.changes["filter"] = {"positive": ["blue"]}
    inputs = {"extract": bench.facts["extract"], "embed": bench.facts["embed"]}

    done = bench.run("filter", "v", inputs)

    assert done.facts["frames"] == 1
    assert bench.counters["frames_embedded"] == before == 3


def test_a_vector_does_not_depend_on_the_frames_around_it(bench: Bench) -> None:
    """A frame has the same bits alone, at the end of 40 others, and in a second run."""
    many = [scene((200, 50, 90), seed) for seed in range(40)]
    examine(bench, *many, RED)
    alone = stored(bench, bench.facts["embed"][0]).values[-1]

    examine(bench, RED)

    assert stored(bench, bench.facts["embed"][1]).values[0].tobytes() == alone.tobytes()
    first = bench.facts["filter"][0].artifact("scores").sha256
    examine(bench, *many, RED)
    assert bench.facts["filter"][2].artifact("scores").sha256 == first


def test_prompt_vectors_are_shared(bench: Bench) -> None:
    """The first to encode a prompt does it for all: what is remembered is what is used."""
    examine(bench, RED, GREEN)
    context = bench.context("filter", "v", {})
    card_digest = bench.params("filter")["digest"]
    key = f"prompt-{card_digest}-{sha256(b'red').hexdigest()}"

    remembered = context.cache(key)

    assert remembered is not None
    vector = np.load(remembered)
    assert vector.dtype == np.float16
    assert vector.tolist() == [1, 0, 0]


def test_a_model_that_was_replaced_is_named(bench: Bench) -> None:
    """A model with another digest than the recipe's never makes results under its name."""
    extract = bench.extract("v", [RED], wave=1)
    bench.changes["embed"] = {"digest": "0" * 64}

    with pytest.raises(StageError, match="apply the project again") as caught:
        bench.run("embed", "v", {"extract": [extract]})

    assert (caught.value.error_class, caught.value.permanent) == ("model_changed", True)


def test_a_model_that_is_not_there_is_named(bench: Bench) -> None:
    """An unknown model is one line with the known names, and no retry."""
    extract = bench.extract("v", [RED], wave=1)
    bench.changes["embed"] = {"model": "colours"}

    with pytest.raises(StageError, match=r"'colours'.*colour") as caught:
        bench.run("embed", "v", {"extract": [extract]})

    assert (caught.value.error_class, caught.value.permanent) == ("model_unusable", True)


def test_a_lost_input_is_named(bench: Bench) -> None:
    """A render that is gone is input_missing, which is tried again."""
    extract = bench.without(bench.extract("v", [RED], wave=1), "render:squash-16x16-bilinear")

    with pytest.raises(StageError, match="render:squash-16x16-bilinear") as caught:
        bench.run("embed", "v", {"extract": [extract]})

    assert (caught.value.error_class, caught.value.permanent) == ("input_missing", False)


def test_a_stopping_worker_ends_the_run(bench: Bench) -> None:
    """When the lease is lost, the stage ends at its next tick and publishes nothing."""
    extract = bench.extract("v", [RED] * 3, wave=1)
    bench.stop.set()

    with pytest.raises(StopRequested):
        bench.run("embed", "v", {"extract": [extract]})


def test_a_provider_that_is_none_is_named(bench: Bench) -> None:
    """A misspelt provider is one line with what is allowed."""
    bench.settings = replace(bench.settings, provider="gpu")
    extract = bench.extract("v", [RED], wave=1)

    with pytest.raises(StageError, match="provider 'gpu': expected auto, cpu, cuda"):
        bench.run("embed", "v", {"extract": [extract]})
