"""From a URI to the store behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from data_miner.errors import StorageError
from data_miner.storage.local import LocalStore
from data_miner.storage.store import Store

CACHE_BYTES = 20 * 1024**3
REMOTE = ("s3", "s3a", "gs", "gcs", "abfs", "az")


def open_store(
    uri: str,
    *,
    scratch: Path,
    cache_bytes: int = CACHE_BYTES,
    alive: Callable[[], None] = lambda: None,
) -> Store:
    """The store at a path, ``file://`` or ``s3://`` URI.

    `scratch` is the worker's own folder: files below it may be linked into a local store, and
    objects of a remote one are cached in its folder ``cache``, up to `cache_bytes`. `alive` is
    called while large files move, from any thread, and must not raise. Where a bucket is and who
    may use it comes from the usual AWS environment. Raises StorageError.
    """
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"}:
        if parts.scheme == "file" and parts.netloc not in {"", "localhost"}:
            raise StorageError(f"storage {uri}: a file URI has three slashes, file:///folder")
        path = Path(uri if not parts.scheme else uri[len("file://") + len(parts.netloc) :])
        return LocalStore(path.expanduser(), scratch=scratch, alive=alive)
    if parts.scheme not in REMOTE or not parts.netloc:
        raise StorageError(f"storage {uri}: expected a path, file:///folder or s3://bucket/prefix")
    # Only who uses a bucket pays for the import of its client.
    from data_miner.storage.objects import ObjectStore  # noqa: PLC0415

    try:
        return ObjectStore(uri, cache=scratch / "cache", cache_bytes=cache_bytes, alive=alive)
    except ImportError as error:
        raise StorageError(f"storage {uri}: {error}") from None
