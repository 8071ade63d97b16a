"""From an object to what its project wants of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_miner.catalog.owned import wanted_digest
from data_miner.compiler import CompiledStage, ModelInfo, compile_project
from data_miner.errors import SpecError
from data_miner.local.resolve import resolve_paths
from data_miner.spec import MiningProject, MiningProjectSpec, project_of
from data_miner_operator.facts import ModelFact, Site


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the catalogue shall hold of a project."""

    project: MiningProject
    """Its paths are absolute."""
    compiled: tuple[CompiledStage, ...]
    digest: str
    """Equal for two that want the same."""


def read(obj: Mapping[str, Any], site: Site) -> MiningProject:
    """The project of an object, its relative paths counted from the site's folder.

    Raises SpecError with a line for each thing that is wrong.
    """
    project = project_of(obj)
    own_homes = [path for path, uri in _places(project.spec) if uri.startswith("~")]
    if own_homes:
        raise SpecError(
            "\n".join(f'{path}: "~" stands for no folder in a cluster' for path in own_homes)
        )
    return resolve_paths(project, Path(site.folder))


def compiled(project: MiningProject, models: Mapping[str, ModelFact]) -> Wanted:
    """What a project comes to with these models, all of which are there."""

    def lookup(name: str) -> ModelInfo:
        info = models[name].info
        assert info is not None, f"compiled without model {name}"
        return info

    stages = compile_project(project.spec, lookup)
    return Wanted(project, stages, wanted_digest(project, stages))


def models_of(spec: MiningProjectSpec) -> tuple[str, ...]:
    """Names of the models that a spec needs, each once, in the order of the pipeline."""
    names = [
        *([spec.filter.model] if spec.filter else []),
        *([spec.dedup.model] if spec.dedup else []),
        *([d.model for d in spec.detect.detectors] if spec.detect else []),
    ]
    return tuple(dict.fromkeys(names))


def models_named(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the models that an object needs; none as long as its spec is not valid."""
    try:
        return models_of(project_of(obj).spec)
    except SpecError:
        return ()


def credentials_of(spec: MiningProjectSpec) -> tuple[str, ...]:
    """Names of the credentials that a spec needs."""
    return (spec.download.secret_ref.name,) if spec.download.secret_ref else ()


def _places(spec: MiningProjectSpec) -> list[tuple[str, str]]:
    """Every path or URI of a spec, each with its own path in the YAML."""
    found = []
    for number, source in enumerate(spec.sources):
        if source.files is not None:
            found.append((f"spec.sources[{number}].files.uri", source.files.uri))
        elif source.urls is not None and source.urls.file is not None:
            found.append((f"spec.sources[{number}].urls.file", source.urls.file))
    if spec.export is not None and spec.export.uri is not None:
        found.append(("spec.export.uri", spec.export.uri))
    return found
