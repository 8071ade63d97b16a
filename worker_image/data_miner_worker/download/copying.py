"""A file that is already somewhere: on this machine, or in a bucket."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

import fsspec
from botocore.exceptions import BotoCoreError

from data_miner.stage import StageError
from data_miner.storage.store import failure
from data_miner_worker.download.failures import too_large
from data_miner_worker.download.limits import Limits, Progress

_CHUNK_BYTES: Final = 8 << 20


def local_path(url: str) -> Path | None:
    """The path that a plain path or a file:// URI means; None for anything else."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    return None if "://" in url else Path(url)


def fetch(url: str, target: Path, limits: Limits, progress: Progress) -> int:
    """Copy the file at a path, file:// or other URI that fsspec knows; returns its size in bytes.

    It is a copy, or blocks that are shared until somebody writes: with a hard link, whoever
    changes the original would change what is stored here under the name of its content.

    Raises:
        StageError: ``not_found``, ``denied``, ``source_changed`` (while it was read),
            ``unreachable``, ``unsupported_scheme``, ``disk_full``, ``storage``.
        Instead: it is too large.
    """
    path = local_path(url)
    if path is None:
        return _from_elsewhere(url, target, limits, progress)
    try:
        with path.open("rb") as source, target.open("wb") as copy:
            before = os.fstat(source.fileno())
            _check_size(before.st_size, limits)
            _copy_local(source, copy, before.st_size, progress)
            after = path.stat()
    except FileNotFoundError as error:
        raise _not_found(str(path)) from error
    except PermissionError as error:
        raise _denied(str(path)) from error
    except OSError as error:
        raise failure(error, f"copy of {path}", "storage") from error
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise StageError("source_changed", f"{path}: it changed while it was copied")
    return before.st_size


def _copy_local(source: IO[bytes], copy: IO[bytes], size: int, progress: Progress) -> None:
    """Through the kernel where it can, which shares blocks on filesystems that know how."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source.fileno(), copy.fileno(), _CHUNK_BYTES)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}:
                raise
            os.lseek(source.fileno(), done, os.SEEK_SET)
            os.lseek(copy.fileno(), done, os.SEEK_SET)
            count = os.write(copy.fileno(), os.read(source.fileno(), _CHUNK_BYTES))
        if not count:
            return  # it became shorter; the caller sees that
        done += count
        progress(done / size)


def _from_elsewhere(url: str, target: Path, limits: Limits, progress: Progress) -> int:
    done = 0
    with remote_failures(url):
        filesystem, path = fsspec.core.url_to_fs(url)
        # What was listed once may have changed since.
        filesystem.invalidate_cache()
        limits.asked()
        size = int(filesystem.size(path) or 0)
        _check_size(size, limits)
        with filesystem.open(path, "rb") as source, target.open("wb") as copy:
            while chunk := _read(source):
                copy.write(chunk)
                done += len(chunk)
                progress(done / max(size, done))
    if done != size:
        raise StageError("source_changed", f"{url}: {done} bytes came, {size} were announced")
    return done


@contextmanager
def remote_failures(url: str) -> Iterator[None]:
    """Give the errors of a filesystem that fsspec knows their names."""
    try:
        yield
    except FileNotFoundError as error:
        raise _not_found(url) from error
    except PermissionError as error:
        raise _denied(url) from error
    except (ImportError, ValueError) as error:
        raise StageError("unsupported_scheme", f"{url}: {error}", permanent=True) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise failure(error, f"copy of {url}", "storage") from error
        raise StageError("unreachable", f"{url}: {error}") from error
    except BotoCoreError as error:
        raise StageError("unreachable", f"{url}: {error}") from error


def _read(source: Any) -> bytes:
    chunk: bytes = source.read(_CHUNK_BYTES)
    return chunk


def _check_size(size: int, limits: Limits) -> None:
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise too_large(size, limits.max_bytes)


def _not_found(what: str) -> StageError:
    return StageError(
        "not_found",
        f"{what}: there is no such file or folder; check the source's uri",
        permanent=True,
    )


def _denied(what: str) -> StageError:
    return StageError("denied", f"{what}: it may not be read; check who owns it", permanent=True)
