"""The worker's folder for files in work, and the folders that dead workers left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data_miner.errors import StorageError
from data_miner.settings import Settings

LOCK = "owner.lock"


@dataclass(slots=True)
class Scratch:
    """A folder of one worker's own, for as long as it holds the lock file in it open."""

    folder: Path
    _lock: IO[str]

    def task(self, task_id: int, claim_seq: int) -> Path:
        """The folder of one run; not made here."""
        return self.folder / f"task-{task_id}-{claim_seq}"

    def remove(self) -> None:
        """Give the folder up and remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def base_folder(settings: Settings) -> Path:
    """Where workers have their scratch folders: below home, so that a local store can link.

    Where home cannot be written (a read-only root with a bucket as store), the system's own.
    Raises StorageError when somebody else has made that one: its name is no secret.
    """
    with contextlib.suppress(OSError):
        settings.home.mkdir(mode=0o700 if os.geteuid() else 0o711, parents=True, exist_ok=True)
        if os.access(settings.home, os.W_OK):
            return settings.home / "scratch"
    ours = Path(tempfile.gettempdir()) / f"data-miner-{os.getuid()}"
    ours.mkdir(mode=0o700, exist_ok=True)
    status = ours.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise StorageError(f"{ours} is not this user's alone; remove it, or set TMPDIR")
    return ours / "scratch"


def take_scratch(base: Path, worker_id: str) -> Scratch:
    """Make the worker's folder and clear away those of dead ones. Raises StorageError."""
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (base / LOCK).open("a") as turn:  # nobody clears while somebody makes
            fcntl.flock(turn, fcntl.LOCK_EX)
            _remove_dead(base)
            folder = Path(tempfile.mkdtemp(prefix=f"{worker_id}.", dir=base))
            lock = (folder / LOCK).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StorageError(
            f"scratch folder below {base}: {error.strerror}; set DATA_MINER_HOME to a folder"
            " that can be written"
        ) from None
    return Scratch(folder, lock)


def _remove_dead(base: Path) -> None:
    """Remove the folders whose lock nobody holds: the kernel lets go of a dead owner's locks."""
    for folder in [path for path in base.iterdir() if path.is_dir()]:
        with contextlib.suppress(BlockingIOError):
            with contextlib.suppress(FileNotFoundError), (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
