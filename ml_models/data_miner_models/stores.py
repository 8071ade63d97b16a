"""Where models are looked for: folders, the bundled ones, then a store at a URI and its cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Stores(Protocol):
    """What the settings of a process say of models."""

    @property
    def folders(self) -> Sequence[Path]:
        """Folders with cards, the first one first; the bundled models come after them."""

    @property
    def uri(self) -> str:
        """A store that has what no folder has, at any URI of fsspec; empty: there is none."""

    @property
    def cache(self) -> Path:
        """Folder for what is brought from `uri`; the processes of a machine share it."""

    @property
    def cache_bytes(self) -> int:
        """So much may lie there."""
