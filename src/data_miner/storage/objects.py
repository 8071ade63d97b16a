"""A store in a bucket, through fsspec: puts are atomic, and a worker keeps a bounded cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from data_miner.stage import Artifact, StageError
from data_miner.storage.cache import FileCache
from data_miner.storage.names import (
    OBJECTS,
    cache_name,
    digest_of,
    object_digest,
    object_name,
    suffix_of,
)
from data_miner.storage.store import SWEEP_BATCH, Referenced, Swept, any_failure

YOUNG_SECONDS = 3600.0
"""An object older than this is put again instead of reused, so that no sweep takes it before it is
recorded: a bucket cannot be told that an object is young again."""


class _Moving(fsspec.Callback):  # type: ignore[misc]  # fsspec has no types
    """Passes on that bytes are moving; fsspec calls it for every part."""

    def __init__(self, alive: Callable[[], None]) -> None:
        super().__init__()
        self._alive = alive

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        self._alive()


class ObjectStore:
    """Objects under one prefix of a bucket (``s3://bucket/prefix``)."""

    def __init__(
        self,
        uri: str,
        *,
        cache: Path,
        cache_bytes: int,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`alive` is called while large files are read, sent or received."""
        self._alive = alive
        self._moving = _Moving(alive)
        self.uri = uri.rstrip("/")
        # Listings must be fresh: another worker's objects are ours too.
        self._fs, self._root = fsspec.core.url_to_fs(self.uri, use_listings_cache=False)
        self._cache = FileCache(cache, cache_bytes)

    def publish(self, path: Path, kind: str, media: Mapping[str, Any] | None = None) -> Artifact:
        with any_failure(f"publish {path.name} ({kind}) to {self.uri}"):
            digest, size = digest_of(path, self._alive)
            name = object_name(digest, suffix_of(path))
            known = self._info(name)
            if known is None or known["size"] != size or _age_seconds(known) > YOUNG_SECONDS:
                self._put(path, name, size)
            return Artifact(kind, f"{self.uri}/{name}", size, digest, dict(media or {}))

    def fetch(self, artifact: Artifact, into: Path) -> Path:
        name = object_name(artifact.sha256, suffix_of(artifact.uri))

        def bring(temporary: Path) -> None:
            self._bring(name)(temporary)
            digest, size = digest_of(temporary, self._alive)
            if (digest, size) != (artifact.sha256, artifact.bytes):
                raise StageError(
                    "input_corrupt",
                    f"{self.uri}/{name}: {size} bytes with another content than was published",
                )

        with any_failure(f"fetch {artifact.kind} {self.uri}/{name}", missing="input_missing"):
            return self._cache.take(name, into, bring)

    def cached(self, key: str, into: Path) -> Path | None:
        name = cache_name(key)
        with any_failure(f"look up {self.uri}/{name}"):
            try:
                return self._cache.take(name, into, self._bring(name))
            except FileNotFoundError:
                return None

    def remember(self, key: str, path: Path, into: Path) -> Path:
        name = cache_name(key)
        with any_failure(f"remember {path.name} in {self.uri}"):
            try:
                # Exclusive: the bucket itself decides who was first.
                self._fs.put_file(str(path), f"{self._root}/{name}", mode="create")
            except (FileExistsError, OSError):
                if self._info(name) is None:
                    raise
            return self._cache.take(name, into, self._bring(name))

    def sweep(self, referenced: Referenced, *, older_than_seconds: float) -> Swept:
        total = Swept()
        with any_failure(f"sweep {self.uri}"):
            for folder in self._listing(OBJECTS):
                old = [
                    info
                    for info in self._listing(f"{OBJECTS}/{Path(folder['name']).name}")
                    if object_digest(info["name"]) and _age_seconds(info) >= older_than_seconds
                ]
                for start in range(0, len(old), SWEEP_BATCH):
                    total += self._remove(old[start : start + SWEEP_BATCH], referenced)
        return total

    def _remove(self, old: list[Mapping[str, Any]], referenced: Referenced) -> Swept:
        digests = {info["name"]: object_digest(info["name"]) for info in old}
        kept = set(referenced({digest for digest in digests.values() if digest}))
        going = [info for info in old if digests[info["name"]] not in kept]
        for info in going:
            self._fs.rm_file(info["name"])
        return Swept(objects=len(going), bytes=sum(int(info["size"]) for info in going))

    def _put(self, path: Path, name: str, size: int) -> None:
        self._fs.put_file(str(path), f"{self._root}/{name}", callback=self._moving)
        stored = self._info(name)
        if stored is None or stored["size"] != size:
            raise StageError("storage", f"{self.uri}/{name}: not whole after it was put")

    def _bring(self, name: str) -> Callable[[Path], None]:
        source = f"{self._root}/{name}"
        return lambda temporary: self._fs.get_file(source, str(temporary), callback=self._moving)

    def _info(self, name: str) -> Mapping[str, Any] | None:
        try:
            info: Mapping[str, Any] = self._fs.info(f"{self._root}/{name}", refresh=True)
        except FileNotFoundError:
            return None
        return info

    def _listing(self, name: str) -> Iterable[Mapping[str, Any]]:
        try:
            return list(self._fs.ls(f"{self._root}/{name}", detail=True, refresh=True))
        except FileNotFoundError:
            return []


def _age_seconds(info: Mapping[str, Any]) -> float:
    modified = info.get("LastModified") or info.get("mtime") or info.get("created")
    if not isinstance(modified, datetime):
        raise StageError("storage", f"{info['name']}: this kind of store tells no times")
    return time.time() - modified.timestamp()
