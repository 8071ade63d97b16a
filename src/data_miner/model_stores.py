"""Where models are looked for: one value from the settings to whoever looks one up or loads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelStores:
    """Folders, the first one first; then the bundled models; then a store at a URI.

    Without a URI there is no cache.
    """

    folders: tuple[Path, ...] = ()
    uri: str = ""
    """Any of fsspec's; empty: none."""
    cache: Path = Path()
    """Folder for what is brought from `uri`; the processes of a machine share it."""
    cache_bytes: int = 0
    """So much may lie there."""
