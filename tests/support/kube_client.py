"""The API server as tests talk to it: plain dicts over HTTP, every answer checked."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
READ_SECONDS = 30.0


class KubeError(Exception):
    """The API server's answer was no; `status` is the HTTP status, `reason` Kubernetes' word."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Access:
    """How to reach an API server with a bearer token: all that the tests' kubeconfigs hold."""

    server: str
    token: str
    trust: ssl.SSLContext

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def access_of(kubeconfig: Path) -> Access:
    """Read the current context of a kubeconfig; raises LookupError when it holds no token."""
    content = yaml.safe_load(kubeconfig.read_text())
    context = _named(content["contexts"], content["current-context"])["context"]
    cluster = _named(content["clusters"], context["cluster"])["cluster"]
    user = _named(content["users"], context["user"])["user"]
    if "token" not in user:
        raise LookupError(f"{kubeconfig} has no token")
    return Access(str(cluster["server"]).rstrip("/"), user["token"], trust_of(cluster))


def trust_of(cluster: Mapping[str, Any]) -> ssl.SSLContext:
    """What a kubeconfig's cluster says about certificates."""
    data = cluster.get("certificate-authority-data")
    trust = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(data).decode() if data else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    return trust


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


class KubeClient:
    """Requests to one API server; safe to share between threads."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._pool = urllib3.PoolManager(ssl_context=access.trust, maxsize=8)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        **query: str,
    ) -> dict[str, Any]:
        """The answer's object. Raises KubeError when it is an error, urllib3's when none comes."""
        answer = self._pool.request(
            method,
            self._url(path, query),
            body=None if body is None else json.dumps(body).encode(),
            headers={**self.access.headers, "Content-Type": kind},
            timeout=READ_SECONDS,
            retries=False,
        )
        if answer.status >= 400:
            raise _error(answer.status, answer.data)
        found = json.loads(answer.data) if answer.data else {}
        assert isinstance(found, dict)
        return found

    def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """An object, or None when there is none."""
        try:
            return self.request("GET", path, **query)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        found = self.request("GET", path, **query)["items"]
        assert isinstance(found, list)
        return found

    @contextmanager
    def watch(
        self, path: str, *, seconds: float = READ_SECONDS, **query: str
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch; silence for `seconds` raises urllib3's ReadTimeoutError.

        Without `resourceVersion` the objects that are there come first, as ADDED.
        """
        answer = self._pool.request(
            "GET",
            self._url(path, {"watch": "true", **query}),
            headers=self.access.headers,
            timeout=urllib3.Timeout(connect=READ_SECONDS, read=seconds),
            retries=False,
            preload_content=False,
        )
        try:
            if answer.status >= 400:
                raise _error(answer.status, answer.read())
            yield _events(answer)
        finally:
            answer.close()

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        return f"{self.access.server}{path}" + (f"?{urlencode(query)}" if query else "")


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    rest = b""
    for part in answer.stream(65536):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _error(status: int, said: bytes) -> KubeError:
    try:
        answer = json.loads(said)
        return KubeError(status, str(answer.get("reason")), str(answer.get("message")))
    except ValueError:
        return KubeError(status, "", said[:300].decode(errors="replace"))
