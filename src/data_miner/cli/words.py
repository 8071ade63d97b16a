"""Numbers as people write them."""

from __future__ import annotations

from pathlib import Path


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.0f} {name}" if unit < 3600 else f"{value:.1f} {name}"
    return f"{seconds / 86_400:.1f} d"


def size(count: float) -> str:
    """Bytes with a decimal unit: ``0 B``, ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def amount(count: int) -> str:
    """Thousands apart by a thin gap: ``12 345``."""
    return f"{count:,}".replace(",", " ")


def where(uri: str) -> str:
    """A local URI as a path, any other as it is."""
    return uri.removeprefix("file://")


def many(count: int, one: str, more: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{amount(count)} {one if count == 1 else more}"


def dataset_folder(uri: str) -> str:
    """Where people find a version: on disk the ``dataset`` link beside the versions, if it points
    at this one; otherwise the version itself.
    """
    folder = Path(where(uri))
    link = folder.parent.parent / "dataset"
    return str(link) if link.is_symlink() and link.resolve() == folder.resolve() else where(uri)
