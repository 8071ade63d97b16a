"""A disk that is full: a real one where one may be mounted, a limit on file sizes elsewhere."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[bool]:
    """Mount a disk of this size at `folder`; yields False where that is refused."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def grow(folder: Path, *, kilobytes: int) -> None:
    """Make room on a disk that `small_disk` mounted."""
    size = f"remount,size={kilobytes}k"
    subprocess.run(["mount", "-o", size, folder], check=True)


def limit_files(pid: int, *, kilobytes: int) -> None:
    """No file that this process, or one that it starts, writes may grow past this size."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (kilobytes << 10, kilobytes << 10))
