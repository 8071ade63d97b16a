"""Putting a file in its place so that it is there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from data_miner.storage.names import TEMPORARY

_CHUNK_BYTES = 1 << 20
_FICLONE = 0x40049409
"""Linux: let two files share their blocks until one of them is written."""


def temporary_beside(path: Path) -> Path:
    """A new name in the same folder, for the file that shall become `path`."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}")


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the folder's names are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(path: Path) -> None:
    """Make a folder and those above it, each one durably."""
    if path.is_dir():
        return
    make_folders(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    sync_folder(path.parent)


def share_or_copy(
    source: Path, target: Path, *, may_link: bool, alive: Callable[[], None] = lambda: None
) -> None:
    """Make `target`, a new file with the source's content, as cheaply as that is safe.

    A hard link only when the caller says that nobody writes to `source` any more and no other
    name leads to it; else shared blocks where the filesystem knows them; else a copy, which calls
    `alive` on the way.
    """
    status = source.lstat()
    if may_link and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise
        else:
            return
    with source.open("rb") as reader, target.open("xb") as writer:
        if not _clone(reader.fileno(), writer.fileno()):
            while chunk := reader.read(_CHUNK_BYTES):
                writer.write(chunk)
                alive()


def _clone(reader: int, writer: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True
