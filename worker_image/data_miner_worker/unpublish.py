"""Takes back what an export has published: one version, and the pointer that leads to it.

Only what the export wrote: the files that the version's manifest lists, those that stand beside it,
and folders that are empty then. The manifest says which these are, so it goes last: whoever is
interrupted is repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec

from data_miner.stage import StageError
from data_miner.storage.durable import sync_folder
from data_miner.storage.pointer import LINK, MANIFEST, POINTER, TEMPORARY, VERSIONS, folder_of
from data_miner.storage.store import any_failure, named_failures

BESIDE: Final = ("README.md", "report.html", "provenance.json")
"""Files of a version that its manifest does not list."""
BATCH: Final = 500


def unpublish(uri: str, digest: str) -> int:
    """Remove the version at this URI; returns how many files went, 0 when it is not there.

    No export may run in this place. Safe to repeat. The folder above the versions stays: it may
    be its user's. Raises StageError: ``storage`` when it cannot be done now, or ``not_ours`` when
    what lies there is not the version with this digest; then nothing was changed.
    """
    folder = folder_of(uri)
    if folder is not None:
        if folder.parent.name != VERSIONS:
            raise _not_ours(uri)
        with named_failures(f"remove {uri}"):
            return _from_folder(folder, digest)
    base, found, _ = uri.rpartition(f"/{VERSIONS}/")
    if not found:
        raise _not_ours(uri)
    with any_failure(f"remove {uri}"):
        return _from_bucket(base, uri, digest)


def _from_folder(version: Path, digest: str) -> int:
    if not version.is_dir() or version.is_symlink():
        return 0
    manifest = version / MANIFEST
    listed = _listed(manifest.read_bytes(), digest, str(version)) if manifest.is_file() else ()
    if not listed and any(path.is_file() for path in version.rglob("*")):
        raise _not_ours(str(version))
    link = version.parent.parent / LINK
    if link.is_symlink() and link.readlink() == Path(VERSIONS) / version.name:
        link.unlink()
        sync_folder(link.parent)
    inside = version.resolve()
    removed = 0
    for path in listed:
        file = version / path
        # A link that somebody put in the place of a folder leads to what is not ours.
        if file.parent.resolve().is_relative_to(inside):
            removed += _unlink(file)
    folders = {Path("images") / split for split in ("train", "val", "test")}
    folders |= {p for path in [*map(Path, listed), *folders] for p in path.parents}
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        if folder != Path():
            _remove_if_empty(version / folder)
    sync_folder(version)
    removed += _unlink(manifest)
    _remove_if_empty(version)
    _clear_unfinished(version.parent, version.name)
    sync_folder(version.parent)
    _remove_if_empty(version.parent)
    return removed


def _clear_unfinished(versions: Path, name: str) -> None:
    """What killed exports have left: no export writes here now, and none may come again."""
    for link in versions.parent.glob(f"{TEMPORARY}*"):
        if link.is_symlink() and link.readlink() == Path(VERSIONS) / name:
            link.unlink()
    left = list(versions.iterdir())
    if all(path.name.startswith(TEMPORARY) for path in left):
        for path in left:
            shutil.rmtree(path, ignore_errors=True)


def _from_bucket(base: str, uri: str, digest: str) -> int:
    fs, root = fsspec.core.url_to_fs(base, use_listings_cache=False)
    version = uri.replace(base, root, 1)
    manifest = f"{version}/{MANIFEST}"
    if not fs.exists(manifest):
        return 0
    listed = _listed(fs.cat_file(manifest), digest, uri)
    pointer = f"{root}/{POINTER}"
    with contextlib.suppress(FileNotFoundError):
        if json.loads(fs.cat_file(pointer)).get("digest") == digest:
            fs.rm_file(pointer)
    there = {str(path) for path in fs.find(version)}
    going = [name for path in listed if (name := f"{version}/{path}") in there]
    for start in range(0, len(going), BATCH):
        fs.rm(going[start : start + BATCH])
    fs.rm_file(manifest)
    return len(going) + 1


def _listed(manifest: bytes, digest: str, where: str) -> Sequence[str]:
    """Paths of the version's files, without the manifest itself. Raises StageError."""
    if hashlib.sha256(manifest).hexdigest() != digest:
        raise _not_ours(where)
    listed: Iterable[Any] = json.loads(manifest).get("files", ())
    paths = [*BESIDE, *(str(file["path"]) for file in listed)]
    if not all(_is_inside(path) for path in paths):
        raise _not_ours(where)
    return paths


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and bool(parts.parts)


def _unlink(path: Path) -> int:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return 1


def _remove_if_empty(path: Path) -> None:
    """Whatever else lies in it, is somebody's: then the folder stays."""
    with contextlib.suppress(OSError):
        path.rmdir()


def _not_ours(where: str) -> StageError:
    return StageError("not_ours", f"{where} is not the version that was published there")
