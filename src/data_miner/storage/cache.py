"""A bounded folder of fetched objects, shared by the task processes of one worker."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from data_miner.storage.durable import temporary_beside
from data_miner.storage.names import TEMPORARY


class FileCache:
    """Files by name, the least recently used ones removed beyond `limit_bytes`.

    Who takes a file gets a hard link in a folder of their own: removal never takes it from them.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def take(self, name: str, into: Path, bring: Callable[[Path], None]) -> Path:
        """A link in `into` to the file `name`, which `bring` writes when it is not here yet."""
        kept = self.folder / PurePosixPath(name).name
        target = into / kept.name
        if target.is_file():
            return target
        into.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(2):  # once more when it was removed between the two lines
            if not kept.is_file():
                self._bring(kept, bring)
            with contextlib.suppress(FileNotFoundError):
                os.utime(kept)
                os.link(kept, target)
                return target
        temporary = temporary_beside(target)
        bring(temporary)
        return temporary.replace(target)

    def _bring(self, kept: Path, bring: Callable[[Path], None]) -> None:
        temporary = temporary_beside(kept)
        try:
            bring(temporary)
            self._shrink(temporary.stat().st_size)
            temporary.replace(kept)
        finally:
            temporary.unlink(missing_ok=True)

    def _shrink(self, coming_bytes: int) -> None:
        """Remove the least recently used files until `coming_bytes` more fit."""
        entries = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):
                if not entry.name.startswith(TEMPORARY):
                    entries.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        held = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if held + coming_bytes <= self.limit_bytes:
                return
            Path(path).unlink(missing_ok=True)
            held -= size
