"""Paths in a project file are meant relative to that file; the catalogue holds absolute ones."""

from __future__ import annotations

from pathlib import Path

from data_miner.spec.project import MiningProject


def resolve_paths(project: MiningProject, folder: Path) -> MiningProject:
    """The same project with relative paths of sources and of the export made absolute."""
    spec = project.spec
    sources = []
    for source in spec.sources:
        changed = source
        if source.files is not None:
            files = source.files.model_copy(update={"uri": absolute(source.files.uri, folder)})
            changed = source.model_copy(update={"files": files})
        elif source.urls is not None and source.urls.file is not None:
            urls = source.urls.model_copy(update={"file": absolute(source.urls.file, folder)})
            changed = source.model_copy(update={"urls": urls})
        sources.append(changed)
    update: dict[str, object] = {"sources": tuple(sources)}
    if spec.export is not None and spec.export.uri is not None:
        export = spec.export.model_copy(update={"uri": absolute(spec.export.uri, folder)})
        update["export"] = export
    return project.model_copy(update={"spec": spec.model_copy(update=update)})


def absolute(uri: str, folder: Path) -> str:
    """A URI with a scheme as it is; a path joined to `folder` and made absolute."""
    if "://" in uri:
        return uri
    return str((folder / Path(uri).expanduser()).absolute())
