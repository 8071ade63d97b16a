"""Paths in a project file are meant relative to that file; the catalogue holds absolute ones."""

from __future__ import annotations

from pathlib import Path

from data_miner.spec.project import MiningProject
from data_miner.storage.reach import check_reach


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


def check_project_reach(project: MiningProject, allowed_prefixes: str) -> None:
    """Raise SpecError for the first URI of a project that lies outside of the allowed prefixes.

    `project` has absolute paths; no prefixes allow everything. Addresses of web pages are no
    storage: downloads have a guard of their own.
    """
    for number, source in enumerate(project.spec.sources):
        if source.files is not None:
            what = f"spec.sources[{number}].files.uri"
            check_reach(source.files.uri, allowed_prefixes, what=what)
        elif source.urls is not None and source.urls.file is not None:
            what = f"spec.sources[{number}].urls.file"
            check_reach(source.urls.file, allowed_prefixes, what=what)
    if project.spec.export is not None and project.spec.export.uri is not None:
        check_reach(project.spec.export.uri, allowed_prefixes, what="spec.export.uri")


def absolute(uri: str, folder: Path) -> str:
    """A URI with a scheme as it is; a path joined to `folder` and made absolute."""
    if "://" in uri:
        return uri
    return str((folder / Path(uri).expanduser()).absolute())
