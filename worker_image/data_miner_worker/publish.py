"""A dataset version becomes visible as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import fsspec

from data_miner.storage.pointer import MANIFEST, TEMPORARY, VERSIONS, folder_of, in_the_way, point
from data_miner.storage.store import any_failure, named_failures

Content = bytes | Path
"""What a file holds, or an immutable file that holds it."""
Tick = Callable[[float], None]

_ABANDONED_SECONDS: Final = 24 * 3600.0


def publish(base: str, digest: str, files: Mapping[str, Content], tick: Tick) -> str:
    """Put a version at ``<base>/versions/<first 16 digits>`` and point to it; returns its URI.

    In a folder, ``<base>/dataset`` is a link to the newest version, exchanged in one step; in a
    bucket, ``<base>/latest.json`` names it. Files that are paths are linked where that is possible:
    nobody may write to them. A version that is there already stays as it is. A crash at any point
    leaves the old dataset whole, and the next call finishes the work.

    Args:
        base: path, ``file://`` or any URI that fsspec knows.
        digest: SHA-256 (hex) of ``files["manifest.json"]``.
        files: content by path in the version.
        tick: told how much is done, 0..1.

    Raises:
        StageError: ``disk_full``, ``storage``, or ``dataset_in_the_way`` when something that is
            no dataset lies there.
    """
    folder = folder_of(base)
    if folder is not None:
        with named_failures(f"export to {base}"):
            return str(_to_folder(folder, digest, files, tick))
    with any_failure(f"export to {base}"):
        return _to_bucket(base.rstrip("/"), digest, files, tick)


def _to_folder(base: Path, digest: str, files: Mapping[str, Content], tick: Tick) -> Path:
    versions = base / VERSIONS
    versions.mkdir(parents=True, exist_ok=True)
    final = versions / digest[:16]
    if not _is_whole(final, digest, files):
        _clear_abandoned(versions)
        made = versions / f"{TEMPORARY}{uuid.uuid4().hex}"
        made.mkdir()
        try:
            _write_tree(made, files, tick)
            _move_into_place(made, final, is_whole=lambda: _is_whole(final, digest, files))
        finally:
            shutil.rmtree(made, ignore_errors=True)
        _sync_folder(versions)
    tick(1.0)  # who has lost the lease must not move the link back to an old version
    point(str(final), digest)
    return final


def _is_whole(final: Path, digest: str, files: Mapping[str, Content]) -> bool:
    """Whether the version is there with all its files. Raises StageError for a foreign folder."""
    try:
        manifest = (final / MANIFEST).read_bytes()
    except FileNotFoundError:
        if final.exists() and not (final / "provenance.json").exists():
            raise in_the_way(final) from None
        return False
    except NotADirectoryError:
        raise in_the_way(final) from None
    return hashlib.sha256(manifest).hexdigest() == digest and all(
        (final / path).is_file() for path in files
    )


def _clear_abandoned(versions: Path) -> None:
    """Remove what crashed runs left behind, once it is old enough that nobody works on it."""
    oldest = time.time() - _ABANDONED_SECONDS
    for path in versions.glob(f"{TEMPORARY}*"):
        # Another one that publishes the same may give it its name just now.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def _write_tree(root: Path, files: Mapping[str, Content], tick: Tick) -> None:
    # Empty splits get their folder too: readers of YOLO insist on it.
    folders = {root / "images" / split for split in ("train", "val", "test")}
    folders |= {(root / path).parent for path in files}
    for folder in sorted(folders):
        folder.mkdir(parents=True, exist_ok=True)
    for number, (path, content) in enumerate(files.items(), start=1):
        if isinstance(content, Path):
            _link_or_copy(content, root / path)
        else:
            _write(root / path, content)
        tick(number / len(files))
    for folder in sorted({parent for f in folders for parent in (f, *f.parents)}):
        if folder.is_relative_to(root):
            _sync_folder(folder)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        # Another file system, one without links, or a limit on links.
        with source.open("rb") as reading, target.open("wb") as writing:
            shutil.copyfileobj(reading, writing)
            writing.flush()
            os.fsync(writing.fileno())


def _move_into_place(made: Path, final: Path, is_whole: Callable[[], bool]) -> None:
    """Give the finished folder its name, unless somebody else was faster; a damaged one goes."""
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        if is_whole():
            return
        damaged = made.with_name(f"{made.name}-damaged")
        final.rename(damaged)
        made.rename(final)
        shutil.rmtree(damaged, ignore_errors=True)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _to_bucket(base: str, digest: str, files: Mapping[str, Content], tick: Tick) -> str:
    """Objects first, the manifest after them, the pointer last: each names only what is there."""
    fs, root = fsspec.core.url_to_fs(base, use_listings_cache=False)
    version = f"{VERSIONS}/{digest[:16]}"
    folder = f"{root}/{version}"
    if not fs.exists(f"{folder}/{MANIFEST}"):
        others = [(path, content) for path, content in files.items() if path != MANIFEST]
        for number, (path, content) in enumerate(others, start=1):
            if isinstance(content, Path):
                fs.put_file(str(content), f"{folder}/{path}")
            else:
                fs.pipe_file(f"{folder}/{path}", content)
            tick(number / len(others))
        manifest = files[MANIFEST]
        assert isinstance(manifest, bytes)
        fs.pipe_file(f"{folder}/{MANIFEST}", manifest)
    tick(1.0)  # as above
    point(f"{base}/{version}", digest)
    return f"{base}/{version}"
