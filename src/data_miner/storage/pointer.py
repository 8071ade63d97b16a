"""What people find under a dataset's name: a link, or a small object, that names one version.

A version lies at ``<base>/versions/<name>``. In a folder, ``<base>/dataset`` is a link to it,
exchanged in one step; in a bucket, ``<base>/latest.json`` names it.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from data_miner.fingerprint import canonical_json
from data_miner.stage import StageError
from data_miner.storage.durable import sync_folder
from data_miner.storage.store import any_failure, named_failures

VERSIONS: Final = "versions"
LINK: Final = "dataset"
POINTER: Final = "latest.json"
MANIFEST: Final = "manifest.json"
TEMPORARY: Final = ".making-"


def folder_of(uri: str) -> Path | None:
    """The folder that a path or ``file://`` URI means; None for a bucket."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        return None
    return Path(uri if not parts.scheme else uri[len("file://") :]).expanduser()


def is_pointed_to(version: str, digest: str) -> bool:
    """Whether the version at this URI is what is found; True where it cannot be: it is not there.

    Another machine's folder, or one that its user has taken away, is nobody's to mend.
    Raises StageError.
    """
    folder = folder_of(version)
    if folder is not None:
        link = folder.parent.parent / LINK
        with named_failures(f"look at {link}"):
            there = (folder / MANIFEST).is_file() and folder.parent.name == VERSIONS
            return not there or (link.is_symlink() and link.readlink() == _target(folder))
    base, _, _ = version.rpartition(f"/{VERSIONS}/")
    with any_failure(f"look at {base}/{POINTER}"):
        fs, root = _bucket(base)
        if not fs.exists(f"{version.replace(base, root, 1)}/{MANIFEST}"):
            return True
        if not fs.exists(f"{root}/{POINTER}"):
            return False
        return bool(json.loads(fs.cat_file(f"{root}/{POINTER}")).get("digest") == digest)


def point(version: str, digest: str) -> None:
    """Make the version at this URI the one that is found.

    Raises StageError: ``disk_full``, ``storage``, or ``dataset_in_the_way`` when something that is
    no link lies there.
    """
    folder = folder_of(version)
    if folder is not None:
        with named_failures(f"point to {version}"):
            _link(folder.parent.parent / LINK, _target(folder))
        return
    base, _, name = version.rpartition(f"/{VERSIONS}/")
    with any_failure(f"point to {version}"):
        fs, root = _bucket(base)
        pointer = canonical_json({"digest": digest, "path": f"{VERSIONS}/{name}"})
        fs.pipe_file(f"{root}/{POINTER}", pointer.encode())


def in_the_way(path: Path) -> StageError:
    """The failure of an export that something foreign keeps from its place."""
    return StageError(
        "dataset_in_the_way",
        f"{path} is there, but data-miner did not make it; move it away or export elsewhere",
        permanent=True,
    )


def _bucket(base: str) -> tuple[Any, str]:
    # Only who uses a bucket pays for the import of its client.
    import fsspec  # noqa: PLC0415

    fs, root = fsspec.core.url_to_fs(base, use_listings_cache=False)
    return fs, root


def _target(folder: Path) -> Path:
    return Path(VERSIONS) / folder.name


def _link(link: Path, target: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise in_the_way(link)
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    fresh.symlink_to(target, target_is_directory=True)
    fresh.replace(link)
    sync_folder(link.parent)
