"""Folders that hold a database: durable renames, and a place of root's own outside every home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from data_miner.errors import DatabaseError

ROOTS = (Path("/var/lib/data-miner"), Path("/var/tmp/data-miner"))  # noqa: S108  # checked below


def private_root() -> Path:
    """Root's folder for what another account must reach and no home folder lets it reach.

    Raises DatabaseError when none can be had that is root's alone to write: whoever else could
    write there could swap what root reads.
    """
    for folder in ROOTS:
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            status = folder.lstat()
        except OSError:
            continue
        mine = status.st_uid == os.geteuid() and not status.st_mode & 0o022
        if stat.S_ISDIR(status.st_mode) and mine and os.access(folder, os.W_OK):
            folder.chmod(0o755)
            return folder
    raise DatabaseError(
        f"the database needs a folder that only root can write: neither {ROOTS[0]} nor {ROOTS[1]}"
        " is one; mend its owner, or choose a --home that every user can enter"
    )


def new_folder(parent: Path, prefix: str) -> Path:
    """A folder under a name that nobody could have made before; only its owner enters it."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def durable_rename(source: Path, target: Path) -> None:
    """Rename, and return when the new name survives a loss of power."""
    source.rename(target)
    sync_folder(target.parent)


def durable_write(path: Path, text: str) -> None:
    """Replace a small file by one that is whole under every crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's list of names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
