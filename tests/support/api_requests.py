"""HTTP requests as Kubernetes names them: verb, resource, subresource."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

READS = frozenset({"get", "list", "watch"})
_PATH = re.compile(
    r"^/(?:api|apis/[^/]+)/v[^/]+(?:/namespaces/(?P<namespace>[^/]+)(?=/[a-z]))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?$"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as Kubernetes names it, and how it was answered."""

    at: float
    """Monotonic seconds when it came."""
    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection; GET off the API: get."""
    resource: str
    """Plural; the path itself for what is no resource (/version)."""
    subresource: str
    namespace: str
    name: str
    path: str
    """With its query."""
    agent: str
    code: int
    """HTTP status; 0: it got none."""


def named(method: str, path: str, headers: Mapping[str, str]) -> Request:
    """A request that came just now and has no answer yet."""
    parts = urlsplit(path)
    found = _PATH.match(parts.path)
    names = found.groupdict(default="") if found else {"resource": parts.path}
    watched = parse_qs(parts.query).get("watch", [""])[0].lower() in {"1", "true"}
    verb = _VERBS.get(method, method.lower())
    if found and not names["name"]:
        collection = {"get": "watch" if watched else "list", "delete": "deletecollection"}
        verb = collection.get(verb, verb)
    return Request(
        at=time.monotonic(),
        verb=verb,
        resource=names["resource"],
        subresource=names.get("subresource", ""),
        namespace=unquote(names.get("namespace", "")),
        name=unquote(names.get("name", "")),
        path=path,
        agent=headers.get("User-Agent", ""),
        code=0,
    )
