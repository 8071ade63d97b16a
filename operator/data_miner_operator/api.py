"""The Kubernetes API as the operator uses it: plain dicts in and out, and errors by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from data_miner_operator.facts import GROUP, PLURAL, VERSION

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, and where the API server keeps it."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Address on the server. Without a namespace: of all namespaces."""
        root = f"/apis/{self.group}" if self.group else "/api"
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}/{self.version}{where}/{self.plural}{tail}"


PROJECTS: Final = Resource(GROUP, VERSION, PLURAL, "MiningProject")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
PODS: Final = Resource("", "v1", "pods", "Pod")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
CRON_JOBS: Final = Resource("batch", "v1", "cronjobs", "CronJob")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


class ApiError(Exception):
    """The API server has refused, or has not answered. The message is one line."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; 0 when there was no answer."""
        self.reason = reason
        """As in metav1.Status, e.g. "NotFound"."""
        self.message = message


class NotFound(ApiError):  # noqa: N818 - the names that Kubernetes gives its reasons
    """There is no such object, or no such resource."""


class Conflict(ApiError):  # noqa: N818
    """The object is another one by now: its resourceVersion or its uid has changed."""


class AlreadyExists(ApiError):  # noqa: N818
    """An object of this name is there."""


class Forbidden(ApiError):  # noqa: N818
    """The account may not do this (401 and 403)."""


class Throttled(ApiError):  # noqa: N818
    """The server asks for patience, also after the retries."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(429, "TooManyRequests", message)
        self.retry_after = retry_after
        """Seconds."""


class Away(ApiError):  # noqa: N818
    """The server cannot be reached, or answers with 5xx, also after the retries."""


class Api(Protocol):
    """What the operator asks of an API server. Every method raises ApiError."""

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = ""
    ) -> list[dict[str, Any]]:
        """All objects that match the label selector; read in pages."""
        ...

    async def get(
        self, resource: Resource, namespace: str | None, name: str
    ) -> dict[str, Any] | None:
        """None when there is none."""
        ...

    async def create(
        self, resource: Resource, namespace: str | None, body: Body
    ) -> dict[str, Any]: ...

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Body
    ) -> dict[str, Any]:
        """Conflict when the object is not at the body's resourceVersion any more."""
        ...

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None,
        version: str | None = None,
    ) -> bool:
        """Delete in the background; False when there was none.

        Conflict when its uid, or its resourceVersion where one is given, is another.
        """
        ...

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Server-side apply with the operator's field manager; it takes over contested fields."""
        ...

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Conflict when the body names a resourceVersion and the object is at another."""
        ...
