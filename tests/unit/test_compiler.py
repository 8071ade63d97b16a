"""From a spec to recipes: what changes a recipe, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from data_miner.compiler import CompiledStage, ModelInfo, compile_project
from data_miner.pipeline import NAMES
from data_miner.spec import MiningProjectSpec

FULL: dict[str, Any] = {
    "sources": [{"files": {"uri": "/clips"}}],
    "sampling": {"strategy": "Time", "every": "2s"},
    "filter": {"model": "eye", "positive": ["a door"]},
    "dedup": {"model": "twin", "threshold": 0.9},
    "detect": {"classes": [{"name": "door"}], "detectors": [{"model": "boxes"}]},
    "export": {"formats": ["COCO"]},
}


def model(name: str) -> ModelInfo:
    size = 224 if name == "twin" else 256
    return ModelInfo(
        name=name,
        digest=f"digest of {name}",
        family="siglip",
        preprocessing={
            "key": f"squash-{size}",
            "mode": "squash",
            "height": size,
            "width": size,
            "resample": "bilinear",
        },
    )


def compiled(**changes: Any) -> dict[str, CompiledStage]:
    blocks = {k: v for k, v in {**FULL, **changes}.items() if v is not None}
    spec = MiningProjectSpec.model_validate(blocks)
    return {stage.stage: stage for stage in compile_project(spec, model)}


def changed(**changes: Any) -> set[str]:
    """Stages that get another recipe by these changes."""
    before, after = compiled(), compiled(**changes)
    return {
        name
        for name in before.keys() | after.keys()
        if name not in before
        or name not in after
        or before[name].fingerprint != after[name].fingerprint
    }


def test_a_full_spec_has_every_stage_in_pipeline_order() -> None:
    """With all blocks present, every stage of the pipeline is compiled, in its order."""
    assert tuple(compiled()) == NAMES


def test_the_same_spec_compiles_to_the_same_recipes() -> None:
    """Compiling twice gives equal fingerprints."""
    assert changed() == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"filter": {"model": "eye", "positive": ["a window"]}},
            {"filter", "dedup_embed", "dedup", "cut", "detect", "export"},
        ),
        (
            {"sampling": {"strategy": "Time", "every": "1s"}},
            {"extract", "embed", "filter", "dedup_embed", "dedup", "cut", "detect", "export"},
        ),
        ({"dedup": {"model": "twin", "threshold": 0.8}}, {"dedup", "cut", "detect", "export"}),
        ({"target": {"images": 10}}, {"dedup", "cut", "detect", "export"}),
        ({"sources": [{"files": {"uri": "/other"}}]}, {"discover"}),
        ({"export": {"formats": ["YOLO"]}}, {"export"}),
        ({"priority": 5, "weight": 3, "suspend": True}, set()),
        ({"download": {"maxHeight": 480}}, set(NAMES) - {"discover"}),
    ],
)
def test_a_change_touches_its_stage_and_what_follows(
    changes: dict[str, Any], expected: set[str]
) -> None:
    """A changed block gives new recipes from its own stage onward and none before."""
    assert changed(**changes) == expected


def test_a_value_that_the_strategy_does_not_read_makes_no_other_recipe() -> None:
    """Spelling out the default interval gives the recipe of leaving it out."""
    assert changed(sampling={"strategy": "Time"}) == set()


def test_cut_images_are_lent_between_prompts() -> None:
    """Recipes that differ in prompts share the reuse keys of the per-frame stages."""
    other = compiled(filter={"model": "eye", "positive": ["a window"]})

    for stage in ("dedup_embed", "cut", "detect"):
        assert compiled()[stage].reuse_key == other[stage].reuse_key
        assert compiled()[stage].fingerprint != other[stage].fingerprint


def test_vectors_are_not_lent_between_samplings() -> None:
    """Another sampling means other frames: dedup vectors get another reuse key."""
    other = compiled(sampling={"strategy": "Keyframe"})

    assert compiled()["dedup_embed"].reuse_key != other["dedup_embed"].reuse_key


@pytest.mark.parametrize(
    ("absent", "stages", "last"),
    [
        (
            {"sampling": None, "filter": None, "dedup": None, "detect": None, "export": None},
            {"discover", "download"},
            "download",
        ),
        (
            {"filter": None, "dedup": None, "detect": None, "export": None},
            {"discover", "download", "extract"},
            "extract",
        ),
        (
            {"dedup": None, "detect": None, "export": None},
            {"discover", "download", "extract", "embed", "filter"},
            "filter",
        ),
        (
            {"filter": None, "dedup": None, "detect": None},
            {"discover", "download", "extract", "filter", "dedup", "cut", "export"},
            "filter",
        ),
        ({"filter": None}, set(NAMES) - {"embed"}, "dedup_embed"),
        ({"detect": None, "export": None}, set(NAMES) - {"cut", "detect", "export"}, "dedup_embed"),
    ],
)
def test_optional_blocks_decide_the_stages(
    absent: dict[str, Any], stages: set[str], last: str
) -> None:
    """A project has the stages that its outputs need; one of them ends a video's own way."""
    result = compiled(**absent)

    assert set(result) == stages
    assert [name for name, stage in result.items() if stage.ends_member] == [last]


def test_every_stage_reads_from_one_that_the_project_has() -> None:
    """The upstream of each compiled stage is compiled as well."""
    for absent in ({}, {"filter": None}, {"dedup": None}, {"detect": None}):
        result = compiled(**absent)
        reads = {stage.reads for stage in result.values() if stage.stage != "discover"}

        assert reads <= set(result)


def test_the_renders_serve_both_encoders() -> None:
    """Frames are rendered once for each preprocessing that some encoder needs."""
    assert [r["key"] for r in compiled()["extract"].params["renders"]] == [
        "squash-224",
        "squash-256",
    ]
