"""An API server made of dictionaries, as strict as the real one where the operator counts on it.

resourceVersion, uid and generation, optimistic locks, preconditions of a delete, finalizers, field
ownership of a status, and a feed of events for each who watches. Everything takes effect at once;
whoever asks decides when, and whether he hears of it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from data_miner_operator.api import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    PROJECTS,
    AlreadyExists,
    Away,
    Conflict,
    NotFound,
    Resource,
)
from data_miner_operator.facts import Key

Object = dict[str, Any]
WATCHED = (PROJECTS, DEPLOYMENTS, PODS, JOBS)


@dataclass(slots=True)
class Happened:
    """An event of a watch."""

    resource: Resource
    kind: str
    object: Object


@dataclass(slots=True)
class Server:
    """`put` and `drop` are what users and other controllers do; the rest is what the API offers."""

    now: Callable[[], datetime]
    away: bool = False
    objects: dict[Resource, dict[Key, Object]] = field(default_factory=dict)
    feeds: list[list[Happened]] = field(default_factory=list)
    """Events that each watcher has not heard of yet."""
    writes: Counter[str] = field(default_factory=Counter)
    """Requests of the operator that would write, by verb and kind."""
    _version: int = 1
    _uids: int = 0
    _status_fields: dict[str, set[str]] = field(default_factory=dict)
    """By uid: the fields of the status that the operator owns."""

    def find(self, resource: Resource, key: Key) -> Object | None:
        """The live object."""
        return self.objects.get(resource, {}).get(key)

    def all(self, resource: Resource) -> dict[Key, Object]:
        return self.objects.setdefault(resource, {})

    # Users and other controllers

    def put(
        self,
        resource: Resource,
        key: Key,
        *,
        spec: Mapping[str, Any] | None = None,
        status: Mapping[str, Any] | None = None,
        **metadata: Any,
    ) -> Object:
        """Make an object, or change the parts of it that are given."""
        found = self.find(resource, key)
        if found is None:
            self._uids += 1
            found = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {
                    "namespace": key[0],
                    "name": key[1],
                    "uid": f"uid-{self._uids}",
                    "generation": 1,
                    "creationTimestamp": self.now().isoformat(timespec="seconds"),
                },
                "spec": {},
            }
        found = copy.deepcopy(found)
        if spec is not None and spec != found["spec"]:
            found["metadata"]["generation"] += bool(self.find(resource, key))
            found["spec"] = copy.deepcopy(dict(spec))
        if status is not None:
            found["status"] = {**found.get("status", {}), **copy.deepcopy(dict(status))}
        found["metadata"] |= copy.deepcopy(metadata)
        return self._keep(resource, key, found)

    def drop(self, resource: Resource, key: Key) -> None:
        """Delete an object; one that somebody's finalizer holds is only marked."""
        found = copy.deepcopy(self.find(resource, key))
        if found is None:
            return
        if found["metadata"].get("finalizers"):
            if "deletionTimestamp" not in found["metadata"]:
                found["metadata"]["deletionTimestamp"] = self.now().isoformat(timespec="seconds")
                self._keep(resource, key, found)
            return
        del self.objects[resource][key]
        found["metadata"]["resourceVersion"] = self._next()
        self._tell(resource, "DELETED", found)

    def let_go(self, resource: Resource, key: Key) -> None:
        """Take all finalizers away."""
        found = self.find(resource, key)
        if found is not None and found["metadata"].get("finalizers"):
            self.put(resource, key, finalizers=[])
            if "deletionTimestamp" in found["metadata"]:
                self.drop(resource, key)

    # What the API offers

    def list(self, resource: Resource, namespace: str | None, labels: str = "") -> list[Object]:
        self._answer()
        name, _, value = labels.partition("=")
        return [
            copy.deepcopy(found)
            for key, found in self.all(resource).items()
            if namespace in {None, key[0]} and _labelled(found, name, value)
        ]

    def get(self, resource: Resource, key: Key) -> Object | None:
        self._answer()
        return copy.deepcopy(self.find(resource, key))

    def create(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        self._write("create", resource)
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if self.find(resource, key) is not None:
            raise AlreadyExists(409, "AlreadyExists", f"{resource.plural} {key} exists")
        rest = {k: v for k, v in metadata.items() if k not in {"namespace", "name"}}
        return copy.deepcopy(self.put(resource, key, spec=body.get("spec", {}), **rest))

    def delete(self, resource: Resource, key: Key, uid: str | None, version: str | None) -> bool:
        self._write("delete", resource)
        found = self.find(resource, key)
        if found is None:
            return False
        metadata = found["metadata"]
        if uid not in {None, metadata["uid"]} or version not in {None, metadata["resourceVersion"]}:
            raise Conflict(409, "Conflict", "the object is another one by now")
        self.drop(resource, key)
        return True

    def apply_status(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Object:
        """Server-side apply of a status: what was ours and is not said any more goes."""
        self._write("status", resource)
        found = copy.deepcopy(self.find(resource, key))
        if found is None:
            raise NotFound(404, "NotFound", f"{resource.plural} {key} is gone")
        uid = found["metadata"]["uid"]
        if body["metadata"].get("uid", uid) != uid:
            raise Conflict(409, "Conflict", "the uid is another one")
        before = found.get("status", {})
        ours = self._status_fields.setdefault(uid, set())
        after = {name: value for name, value in before.items() if name not in ours}
        for name, value in body["status"].items():
            after[name] = _merged(before.get(name), value)
        ours.clear()
        ours.update(body["status"])
        found["status"] = copy.deepcopy(after)
        return copy.deepcopy(self._keep(resource, key, found))

    def patch(
        self, resource: Resource, key: Key, body: Mapping[str, Any], subresource: str
    ) -> Object:
        """Merge patch of annotations, or of the replicas of a scale."""
        self._write(subresource or "patch", resource)
        found = copy.deepcopy(self.find(resource, key))
        if found is None:
            raise NotFound(404, "NotFound", f"{resource.plural} {key} is gone")
        metadata = dict(body.get("metadata", {}))
        version = metadata.pop("resourceVersion", None)
        if version not in {None, found["metadata"]["resourceVersion"]}:
            raise Conflict(409, "Conflict", "the object has changed")
        annotations = metadata.pop("annotations", {})
        assert not metadata, "only annotations are patched"
        assert set(body.get("spec", {})) <= ({"replicas"} if subresource == "scale" else set())
        kept = found["metadata"].get("annotations", {})
        return copy.deepcopy(
            self.put(
                resource,
                key,
                spec={**found["spec"], **body.get("spec", {})},
                annotations={**kept, **annotations},
            )
        )

    # Within

    def _keep(self, resource: Resource, key: Key, found: Object) -> Object:
        before = self.find(resource, key)
        if before == found:
            return found  # nothing changes, so there is no event either
        found["metadata"]["resourceVersion"] = self._next()
        self.all(resource)[key] = found
        self._tell(resource, "MODIFIED" if before else "ADDED", found)
        return found

    def _tell(self, resource: Resource, kind: str, found: Object) -> None:
        if resource in WATCHED:
            for feed in self.feeds:
                feed.append(Happened(resource, kind, copy.deepcopy(found)))

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _answer(self) -> None:
        if self.away:
            raise Away(0, "Away", "the API server does not answer")

    def _write(self, verb: str, resource: Resource) -> None:
        self._answer()
        self.writes[f"{verb} {resource.kind}"] += 1


def _labelled(found: Mapping[str, Any], name: str, value: str) -> bool:
    labels = found["metadata"].get("labels") or {}
    return not name or (name in labels and value in {"", labels[name]})


def _merged(before: Any, value: Any) -> Any:
    """Lists of conditions and stages are maps by their key: items of others stay."""
    if not isinstance(value, list) or not isinstance(before, list):
        return value
    key = "type" if value and "type" in value[0] else "name"
    ours = {item[key] for item in value}
    return value + [b for b in before if b[key] not in ours and b.get("message") == FOREIGN]


FOREIGN = "somebody else's"
"""Message of conditions that others have put into a status."""
