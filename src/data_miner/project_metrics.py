"""The series of all projects, kept as the text that a scrape gets.

A thousand projects have tens of thousands of series. They change one project at a time, and are
asked for all at once: so the lines of a project are written when it changes, and a scrape joins
them. Safe for one thread that tells and others that scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from data_miner.catalog.progress import Progress
from data_miner.project_series import FAMILIES, Family, Samples, of_progress, of_status

Key = tuple[str, str]
"""Namespace and name of a project."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HEADS: Final = {f: f"# HELP {f.name} {f.help}\n# TYPE {f.name} gauge\n".encode() for f in FAMILIES}


@dataclass(slots=True)
class ProjectMetrics:
    """What is told of every project. `blocks` are a part of a scrape's answer."""

    _versions: dict[Key, str] = field(default_factory=dict)
    """The resourceVersion that each project's lines are of."""
    _status: dict[Family, dict[Key, bytes]] = field(default_factory=dict)
    _progress: dict[Family, dict[Key, bytes]] = field(default_factory=dict)

    def tell_objects(self, objects: Mapping[Key, Mapping[str, Any]]) -> None:
        """These are all the projects; those that are gone have no series any more."""
        for key in self._versions.keys() - objects.keys():
            del self._versions[key]
            _put(self._status, key, {})
            _put(self._progress, key, {})
        for key, found in objects.items():
            version = str(found["metadata"].get("resourceVersion", ""))
            if not version or self._versions.get(key) != version:
                _put(self._status, key, of_status(found.get("status") or {}))
                self._versions[key] = version

    def tell_progress(self, key: Key, progress: Progress | None) -> None:
        """What a pass has read; None when the project has no row."""
        if key in self._versions:
            _put(self._progress, key, of_progress(progress) if progress else {})

    def forget(self) -> None:
        """Tell of no project any more."""
        self._versions.clear()
        self._status.clear()
        self._progress.clear()

    def blocks(self) -> list[list[bytes]]:
        """All series, in the text format of Prometheus: a block for each family that has some.

        The pieces of a block are to be joined, one block after the other: all of them at once would
        be megabytes of fresh memory for each scrape, and finding that costs more than the rest.
        """
        found = []
        for family, head in _HEADS.items():
            lines = [
                *self._status.get(family, {}).copy().values(),
                *self._progress.get(family, {}).copy().values(),
            ]
            if lines:
                found.append([head, *lines])
        return found

    def text(self) -> str:
        """The same as one text."""
        return b"".join(piece for block in self.blocks() for piece in block).decode()


def _put(families: dict[Family, dict[Key, bytes]], key: Key, samples: Samples) -> None:
    """Replace the lines of a project in each family."""
    for family in families.keys() - samples.keys():
        families[family].pop(key, None)
    for family, values in samples.items():
        families.setdefault(family, {})[key] = _lines(family, key, values)


def _lines(family: Family, key: Key, values: Mapping[tuple[str, ...], float]) -> bytes:
    namespace, name = key
    begin = f'{family.name}{{namespace="{namespace}",project="{name}"'
    return "".join(
        f"{begin}{''.join(map(_label, family.labels, labels))}}} {value:.15g}\n"
        for labels, value in values.items()
    ).encode()


def _label(name: str, value: str) -> str:
    return f',{name}="{value.translate(_ESCAPES)}"'


PROJECT_METRICS: Final = ProjectMetrics()
"""Of this process."""
