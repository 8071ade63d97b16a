"""What the operator knows of the cluster: objects by resource, as new as anything has told.

Told by watches, by lists and by the answers to our own writes, in whatever order they come. An
event may be lost, come twice or come late; nothing older ever replaces what is newer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_miner_operator.api import Resource
from data_miner_operator.facts import Key

MAX_GONE: Final = 20_000
"""Deleted objects that are remembered, so that a late event does not bring them back."""


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    uid: str
    told: int
    """Number of the telling that brought it."""
    object: Mapping[str, Any]


class Cache:
    """Keys are namespace and name. Objects are shared: nobody may change one."""

    def __init__(self) -> None:
        self._entries: dict[Resource, dict[Key, _Entry]] = {}
        self._gone: dict[Resource, OrderedDict[Key, _Entry]] = {}
        self._told = 0
        self._listed: set[Resource] = set()

    def get(self, resource: Resource, key: Key) -> Mapping[str, Any] | None:
        entry = self._entries.get(resource, {}).get(key)
        return None if entry is None else entry.object

    def all(self, resource: Resource) -> Mapping[Key, Mapping[str, Any]]:
        return {key: entry.object for key, entry in self._entries.get(resource, {}).items()}

    def listed(self, resource: Resource) -> bool:
        """Whether all objects of the resource have been told once."""
        return resource in self._listed

    def put(self, resource: Resource, found: Mapping[str, Any]) -> bool:
        """Take over an object that is there. False when this is no news."""
        key, version, uid = _identity(found)
        entries = self._entries.setdefault(resource, {})
        known = entries.get(key)
        if known is not None and not _newer(version, uid, known):
            return False
        buried = self._gone.get(resource)
        gone = None if buried is None else buried.get(key)
        if gone is not None and (uid == gone.uid or not _newer(version, uid, gone)):
            return False
        self._told += 1
        entries[key] = _Entry(version, uid, self._told, _trimmed(found))
        return True

    def remove(self, resource: Resource, found: Mapping[str, Any]) -> bool:
        """Take note that an object has been deleted. False when this is no news."""
        key, version, uid = _identity(found)
        known = self._entries.get(resource, {}).get(key)
        if known is not None and known.uid != uid and not _newer(version, uid, known):
            return False  # of an earlier object of this name
        return self._bury(resource, key, version, uid)

    def mark(self) -> int:
        """A moment, to be taken before a list is asked for."""
        return self._told

    def replace(
        self,
        resource: Resource,
        namespace: str | None,
        found: Iterable[Mapping[str, Any]],
        since: int,
    ) -> set[Key]:
        """Take over a whole list (of one namespace, or of all), asked for after the `mark`.

        Returns the keys that had news in it, also of what has vanished. What was told after the
        mark is newer than the list and stays.
        """
        changed: set[Key] = set()
        present: set[Key] = set()
        for each in found:
            key = _identity(each)[0]
            present.add(key)
            if self.put(resource, each):
                changed.add(key)
        entries = self._entries.setdefault(resource, {})
        for key, entry in list(entries.items()):
            elsewhere = namespace is not None and key[0] != namespace
            if key in present or elsewhere or entry.told > since:
                continue
            self._bury(resource, key, entry.version, entry.uid)
            changed.add(key)
        self._listed.add(resource)
        return changed

    def _bury(self, resource: Resource, key: Key, version: int, uid: str) -> bool:
        known = self._entries.get(resource, {}).pop(key, None)
        gone = self._gone.setdefault(resource, OrderedDict())
        self._told += 1
        gone[key] = _Entry(version, uid, self._told, {})
        gone.move_to_end(key)
        if len(gone) > MAX_GONE:
            gone.popitem(last=False)
        return known is not None


def _newer(version: int, uid: str, known: _Entry) -> bool:
    """Versions of one resource count up over all its objects. One that is no number (no server
    does that today) can only be believed."""
    if version < 0 or known.version < 0:
        return True
    return version > known.version or (version == known.version and uid != known.uid)


def _identity(found: Mapping[str, Any]) -> tuple[Key, int, str]:
    metadata = found["metadata"]
    version = str(metadata.get("resourceVersion") or "")
    key = (str(metadata.get("namespace") or ""), str(metadata["name"]))
    return key, int(version) if version.isdecimal() else -1, str(metadata.get("uid") or "")


def _trimmed(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what nobody reads and which is half of every object."""
    metadata = {k: v for k, v in found["metadata"].items() if k != "managedFields"}
    return {**found, "metadata": metadata}
