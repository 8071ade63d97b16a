"""A store in a folder: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data_miner.stage import Artifact, StageError
from data_miner.storage.durable import (
    make_folders,
    share_or_copy,
    sync_file,
    sync_folder,
    temporary_beside,
)
from data_miner.storage.names import (
    CACHE,
    LEAVING,
    OBJECTS,
    TEMPORARY,
    cache_name,
    digest_of,
    object_digest,
    object_name,
    suffix_of,
)
from data_miner.storage.store import SWEEP_BATCH, Referenced, Swept, named_failures


class LocalStore:
    """Objects under one folder of this machine, or of a filesystem that all workers mount."""

    def __init__(
        self,
        root: Path,
        *,
        scratch: Path | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`scratch`: files below it are nobody else's, so publishing may link instead of copy.

        `alive` is called while large files are read or copied.
        """
        self._alive = alive
        self.root = Path(os.path.normpath(root.absolute()))
        self.uri = f"file://{self.root}"
        self._scratch = scratch.resolve() if scratch else None

    def publish(self, path: Path, kind: str, media: Mapping[str, Any] | None = None) -> Artifact:
        with named_failures(f"publish {path.name} ({kind}) to {self.uri}"):
            digest, size = digest_of(path, self._alive)
            name = object_name(digest, suffix_of(path))
            target = self.root / name
            if not _still_there(target, size):
                self._place(path, target)
            return Artifact(kind, f"{self.uri}/{name}", size, digest, dict(media or {}))

    def fetch(self, artifact: Artifact, into: Path) -> Path:
        del into
        # By content, not by the recorded URI: a store that moved still has its objects.
        path = self.root / object_name(artifact.sha256, suffix_of(artifact.uri))
        with named_failures(f"fetch {artifact.kind} {path}", missing="input_missing"):
            size = path.stat().st_size
        if size != artifact.bytes:
            raise StageError(
                "input_corrupt", f"{path}: {size} bytes where {artifact.bytes} were published"
            )
        return path

    def cached(self, key: str, into: Path) -> Path | None:
        del into
        path = self.root / cache_name(key)
        return path if path.is_file() else None

    def remember(self, key: str, path: Path, into: Path) -> Path:
        del into
        target = self.root / cache_name(key)
        with named_failures(f"remember {path.name} in {self.uri}"):
            if target.is_file():
                return target
            temporary = self._temporary(path, target)
            try:
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, target)  # a rename would let the last one win
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(target.parent)
            return target

    def sweep(self, referenced: Referenced, *, older_than_seconds: float) -> Swept:
        before = time.time() - older_than_seconds
        total = self._sweep_temporary(before)
        for paths in _batches(self._old_objects(before), SWEEP_BATCH):
            by_digest = {path: object_digest(path.name) for path in paths}
            kept = set(referenced({digest for digest in by_digest.values() if digest}))
            for path, digest in by_digest.items():
                if digest in kept:
                    _stay(path)
                else:
                    total += self._remove(path, before, referenced)
        return total

    def _place(self, path: Path, target: Path) -> None:
        temporary = self._temporary(path, target)
        try:
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def _temporary(self, path: Path, target: Path) -> Path:
        """A durable copy of `path` (or link to it) in the folder of `target`."""
        make_folders(target.parent)
        temporary = temporary_beside(target)
        try:
            share_or_copy(path, temporary, may_link=self._own(path), alive=self._alive)
            os.utime(temporary)  # a link would bring its old age along and be swept at once
            sync_file(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _own(self, path: Path) -> bool:
        return self._scratch is not None and path.resolve().is_relative_to(self._scratch)

    def _old_objects(self, before: float) -> Iterator[Path]:
        for folder in sorted((self.root / OBJECTS).glob("[0-9a-f][0-9a-f]")):
            for entry in sorted(os.scandir(folder), key=lambda e: e.name):
                if object_digest(entry.name) and _older(entry, before):
                    yield Path(entry.path)

    def _sweep_temporary(self, before: float) -> Swept:
        removed = 0
        for part in (OBJECTS, CACHE):
            for path in (self.root / part).glob(f"*/{TEMPORARY}*"):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime <= before:
                        path.unlink()
                        removed += 1
        return Swept(temporary=removed)

    def _remove(self, path: Path, before: float, referenced: Referenced) -> Swept:
        """Take an object away in two steps: somebody may have published it again meanwhile."""
        leaving = path.with_name(LEAVING + path.name.removeprefix(LEAVING))
        try:
            path.rename(leaving)
            status = leaving.stat()
        except FileNotFoundError:
            return Swept()
        digest = object_digest(path.name)
        if status.st_mtime > before or (digest and digest in referenced({digest})):
            _stay(leaving)
            return Swept()
        leaving.unlink()
        return Swept(objects=1, bytes=status.st_size)


def _still_there(target: Path, size: int) -> bool:
    """Whether the object exists; it becomes young again, so that no sweep takes it now."""
    try:
        if target.stat().st_size != size:
            return False
        os.utime(target)
    except FileNotFoundError:
        return False
    return True


def _stay(path: Path) -> None:
    """Give an object that was on its way out its name back."""
    if path.name.startswith(LEAVING):
        path.rename(path.with_name(path.name.removeprefix(LEAVING)))


def _older(entry: os.DirEntry[str], before: float) -> bool:
    try:
        return entry.stat().st_mtime <= before
    except FileNotFoundError:
        return False


def _batches(paths: Iterator[Path], size: int) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for path in paths:
        batch.append(path)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
