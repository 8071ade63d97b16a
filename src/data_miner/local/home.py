"""The home folder of a laptop's installation, and who may run workers on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from data_miner.errors import ConflictError, StorageError


def prepare(home: Path) -> None:
    """Make the folder, its owner's alone. Raises StorageError in one line when that cannot be.

    One that is there keeps its permissions: whoever made it may share it. Root's can be passed
    through, but not listed: the account that runs the server for root has its data there.
    """
    try:
        home.mkdir(mode=0o700 if os.geteuid() else 0o711, parents=True, exist_ok=True)
        probe = home / f".writable-{os.getpid()}"
        try:
            probe.write_bytes(b"\n")  # a full disk still takes an empty file
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"home folder {home}: {error.strerror}; choose another one with --home"
        ) from None


@contextlib.contextmanager
def only_runner(home: Path) -> Iterator[None]:
    """Hold the folder's run lock. Raises ConflictError naming the process that holds it.

    The lock belongs to the open file, so a killed holder leaves nothing behind.
    """
    path = home / "run.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ConflictError(
                f"another run (process {holder}) is mining in {home}; it picks up what you"
                " `data-miner apply` there, and `data-miner status --watch` shows it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)
