"""From what the user wrote to what has to be done: a spec becomes one recipe a stage.

A recipe's fingerprint covers the stage, its version, its parameters and the fingerprint of the
recipe that it reads from. So two projects that want the same thing share the work, and a changed
prompt changes the recipes from `filter` onward and none before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from data_miner.fingerprint import fingerprint
from data_miner.pipeline import BY_NAME, STAGES, Scope, upstream
from data_miner.spec.base import SpecModel
from data_miner.spec.project import MiningProjectSpec
from data_miner.spec.stages import Export, Filter, Sampling

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What compiling needs to know about a model; plain data from its card."""

    name: str
    digest: str
    """SHA-256 of all that decides the model's numbers."""
    family: str
    """``siglip``, ``dino`` or ``open-vocabulary``."""
    preprocessing: Mapping[str, Any]
    """``mode``, ``height``, ``width``, ``resample`` and the ``key`` that names them."""


ModelLookup = Callable[[str], ModelInfo]
"""Finds a model by its name. Raises DataMinerError with the names that are known."""


@dataclass(frozen=True, slots=True)
class CompiledStage:
    """One stage of a project: which recipe it wants there, and what that reads from."""

    stage: str
    params: Params
    fingerprint: str
    reuse_key: str
    """Recipes with the same key may lend each other work on single frames of the same video."""
    reads: str | None
    ends_member: bool
    """True for the last stage that a video goes through by itself, before its wave is gathered."""


def compile_project(spec: MiningProjectSpec, models: ModelLookup) -> tuple[CompiledStage, ...]:
    """The recipes of a spec in pipeline order. Raises what `models` raises for an unknown name."""
    params = _params(spec, models)
    present = frozenset(params)
    last_video_stage = [s.name for s in STAGES if s.scope is Scope.VIDEO and s.name in present][-1]
    fingerprints: dict[str, str] = {}
    compiled = []
    for stage in STAGES:
        if stage.name not in present:
            continue
        reads = upstream(stage.name, present)
        fingerprints[stage.name] = fingerprint(
            {
                "stage": stage.name,
                "version": stage.version,
                "params": params[stage.name],
                # Discovery says which videos there are, not what is in one: it stays out.
                "reads": fingerprints[reads] if reads not in (None, "discover") else None,
            }
        )
        compiled.append(
            CompiledStage(
                stage=stage.name,
                params=params[stage.name],
                fingerprint=fingerprints[stage.name],
                reuse_key=_reuse_key(stage.name, params, fingerprints),
                reads=reads,
                ends_member=stage.name == last_video_stage,
            )
        )
    return tuple(compiled)


def _params(spec: MiningProjectSpec, models: ModelLookup) -> dict[str, Params]:
    """Parameters by stage, for the stages that the spec's blocks ask for."""
    gathers = bool(spec.dedup or spec.detect or spec.export)
    looks = bool(spec.sampling or spec.filter or gathers)
    credential = spec.download.secret_ref.name if spec.download.secret_ref else None
    params: dict[str, Params] = {
        "discover": {
            "sources": [_plain(source) for source in spec.sources],
            "select": _plain(spec.select),
            "credential": credential,
        },
        "download": {
            "max_height": spec.download.max_height,
            "max_bytes": spec.download.max_bytes,
            "credential": credential,
        },
    }
    filter_model = models(spec.filter.model) if spec.filter else None
    dedup_model = models(spec.dedup.model) if spec.dedup else None
    if looks:
        renders = {
            m.preprocessing["key"]: dict(m.preprocessing) for m in (filter_model, dedup_model) if m
        }
        params["extract"] = {
            "sampling": _sampling(spec.sampling or Sampling()),
            "renders": [renders[key] for key in sorted(renders)],
        }
    if filter_model:
        params["embed"] = _encoder(filter_model)
    if spec.filter or gathers:
        params["filter"] = _filter(spec.filter, filter_model)
    if dedup_model:
        params["dedup_embed"] = _encoder(dedup_model)
    if gathers:
        params["dedup"] = {
            "model": dedup_model.name if dedup_model else None,
            "threshold": spec.dedup.threshold if spec.dedup else None,
            "prefer": str(spec.dedup.prefer) if spec.dedup else "First",
            "target": spec.target.images if spec.target else None,
        }
    export = spec.export or Export()
    image = {"format": str(export.image.format), "quality": export.image.quality}
    if spec.detect or spec.export:
        params["cut"] = image
    if spec.detect:
        params["detect"] = {
            "classes": [
                {"name": c.name, "prompts": list(c.prompts), "min_score": c.min_score}
                for c in spec.detect.classes
            ],
            "detectors": [
                {
                    "model": d.model,
                    "digest": models(d.model).digest,
                    "min_score": d.min_score,
                }
                for d in spec.detect.detectors
            ],
            "agreement": spec.detect.agreement,
            "nms_iou": spec.detect.nms_iou,
        }
    if spec.export:
        params["export"] = {
            "formats": sorted(str(f) for f in export.formats),
            "splits": _plain(export.splits),
            "split_link_threshold": export.split_link_threshold,
            "image": image,
            "uri": export.uri,
            "classes": [c.name for c in spec.detect.classes] if spec.detect else [],
            "decisions": {
                name: params[name]
                for name in ("extract", "embed", "filter", "dedup_embed", "dedup", "detect")
                if name in params
            },
        }
    return params


def _plain(model: SpecModel) -> Any:
    return model.model_dump(mode="json", by_alias=False)


def _sampling(sampling: Sampling) -> Params:
    """Only what the strategy reads: another field's value must not make another recipe."""
    strategy = str(sampling.strategy)
    return {
        "strategy": strategy,
        "every_seconds": sampling.every if strategy == "Time" else None,
        "every_frames": sampling.every_frames if strategy == "Interval" else None,
        "max_frames": sampling.max_frames_per_video,
    }


def _encoder(model: ModelInfo) -> Params:
    return {
        "model": model.name,
        "digest": model.digest,
        "preprocessing": model.preprocessing["key"],
    }


def _filter(block: Filter | None, model: ModelInfo | None) -> Params:
    if block is None or model is None:
        return {"model": None}
    return {
        "model": model.name,
        "digest": model.digest,
        "positive": list(block.positive),
        "negative": list(block.negative),
        "junk": list(block.junk),
        "thresholds": _plain(block.thresholds),
        "space": str(block.space),
    }


def _reuse_key(stage: str, params: Mapping[str, Params], fingerprints: Mapping[str, str]) -> str:
    """What one frame's share of the work depends on; for most stages that is the whole recipe."""
    version = BY_NAME[stage].version
    if stage == "dedup_embed":
        basis: Any = [params["dedup_embed"], fingerprints["extract"]]
    elif stage == "cut":
        basis = [params["cut"], fingerprints["download"]]
    elif stage == "detect":
        basis = [params["detect"], params["cut"], fingerprints["download"]]
    else:
        return fingerprints[stage]
    return fingerprint({"stage": stage, "version": version, "basis": basis})
