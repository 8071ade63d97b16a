"""The Kubernetes API over HTTPS: accounts and TLS by the `kubernetes` package, JSON as it comes.

No generated models: a list of a thousand objects costs its JSON and nothing else. Blocking calls
run in threads of their own, so that a slow server never holds up the event loop.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

from data_miner.errors import SpecError
from data_miner.outside import printable, redact
from data_miner_operator import metrics
from data_miner_operator.api import (
    AlreadyExists,
    ApiError,
    Away,
    Body,
    Conflict,
    Forbidden,
    NotFound,
    Resource,
    Throttled,
)
from data_miner_operator.facts import FIELD_MANAGER

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE: Final = 500
"""Objects of one LIST answer."""
MAX_MESSAGE: Final = 500
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 30.0


def load_configuration() -> client.Configuration:
    """The pod's service account (its token is read again as it rotates), else KUBECONFIG.

    Raises SpecError when there is neither.
    """
    found = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        try:
            config.load_kube_config(client_configuration=found)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise SpecError(
                "no Kubernetes cluster: this is no pod with a service account, and "
                f"KUBECONFIG or ~/.kube/config cannot be used: {one_line(str(error))}"
            ) from error
    found.retries = False  # retries are ours: urllib3's would repeat what must not be repeated
    return found


def own_namespace() -> str | None:
    """Where this process runs: of its service account, else of the kubeconfig's context."""
    try:
        return (ACCOUNT / "namespace").read_text().strip() or None
    except OSError:
        pass
    try:
        _, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError):
        return None
    return str(active["context"].get("namespace") or "default") if active else None


def authorization(configuration: client.Configuration) -> str | None:
    """The header of that name, if the account has one, with its token as it is now: a rotated one
    is read again."""
    settings: Mapping[str, Any] = configuration.auth_settings()
    for setting in settings.values():
        if setting["in"] == "header" and setting["value"]:
            return str(setting["value"])
    if configuration.username:
        return str(configuration.get_basic_auth_token())
    return None


def one_line(text: str) -> str:
    return printable(redact(" ".join(text.split())))[:MAX_MESSAGE]


class ClusterApi:
    """`Api` on a real server."""

    def __init__(
        self,
        configuration: client.Configuration,
        *,
        threads: int = 8,
        timeout_seconds: float = 30.0,
        attempts: int = 4,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_write` is asked before each request that changes something."""
        configuration.connection_pool_maxsize = threads
        self._configuration = configuration
        self._client = client.ApiClient(configuration)
        self._pool = self._client.rest_client.pool_manager
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._may_write = may_write
        self._not_before: dict[tuple[str, str], float] = {}
        """Until when the server has asked for patience with a method on a path; monotonic."""

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()  # type: ignore[no-untyped-call]

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = ""
    ) -> list[dict[str, Any]]:
        restarts = 0
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"limit": str(PAGE)}
            if labels:
                query["labelSelector"] = labels
            if token:
                query["continue"] = token
            path = resource.path(namespace)
            try:
                page = await self._ask("list", resource, "GET", path, query=query)
            except ApiError as error:
                # The snapshot that the pages come from is too old by now.
                if error.status != 410 or restarts == 3:
                    raise
                restarts += 1
                items, token = [], ""
                continue
            items.extend(page.get("items") or [])
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return items

    async def get(
        self, resource: Resource, namespace: str | None, name: str
    ) -> dict[str, Any] | None:
        try:
            return await self._ask("get", resource, "GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> dict[str, Any]:
        query = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace)
        return await self._ask(
            "create", resource, "POST", path, body=body, query=query, repeatable=False
        )

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Body
    ) -> dict[str, Any]:
        query = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name)
        return await self._ask("update", resource, "PUT", path, body=body, query=query)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None,
        version: str | None = None,
    ) -> bool:
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        conditions = {"uid": uid, "resourceVersion": version}
        if given := {name: value for name, value in conditions.items() if value is not None}:
            options["preconditions"] = given
        path = resource.path(namespace, name)
        try:
            await self._ask("delete", resource, "DELETE", path, body=options)
        except NotFound:
            return False
        return True

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        return await self._ask(
            "apply",
            resource,
            "PATCH",
            resource.path(namespace, name, subresource),
            body=body,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            kind="application/apply-patch+yaml",
        )

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        return await self._ask(
            "patch",
            resource,
            "PATCH",
            resource.path(namespace, name, subresource),
            body=body,
            query={"fieldManager": FIELD_MANAGER},
            kind="application/merge-patch+json",
        )

    async def _ask(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        kind: str = "application/json",
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Ask, and ask again where the server or the network had a bad moment.

        What is not repeatable is repeated only when the server has surely not done it. What the
        server wants to hear later is asked later, whoever asks for it.
        """
        address = path + (f"?{urlencode(query)}" if query else "")
        loop = asyncio.get_running_loop()
        failure: ApiError
        for attempt in range(1, self._attempts + 1):
            await self._have_patience(method, path)
            if method != "GET" and not self._may_write():
                raise Away(0, "NotLeading", "this replica leads no more: it writes nothing")
            try:
                answer = await loop.run_in_executor(
                    self._threads, self._once, method, address, body, kind
                )
            except (Away, Throttled) as error:
                failure = error
                code = str(error.status) if error.status else "none"
            except ApiError as error:
                metrics.API_REQUESTS.labels(verb, resource.plural, str(error.status)).inc()
                raise
            else:
                metrics.API_REQUESTS.labels(verb, resource.plural, "200").inc()
                return answer
            metrics.API_REQUESTS.labels(verb, resource.plural, code).inc()
            if isinstance(failure, Throttled):
                self._be_patient(method, path, failure.retry_after)
            never_done = isinstance(failure, Throttled) or failure.reason == "Unreachable"
            if attempt == self._attempts or not (repeatable or never_done):
                break
            await asyncio.sleep(random.uniform(0.1, 0.2 * 2**attempt))  # noqa: S311 - spreads the load
        raise failure

    async def _have_patience(self, method: str, path: str) -> None:
        """Wait for as long as the server has asked to. Raises Throttled when that is too long."""
        while (left := self._not_before.get((method, path), 0.0) - time.monotonic()) > 0:
            if left > _LONGEST_WAIT_SECONDS:
                raise Throttled(f"the API server wants to be asked in {left:.0f} s", left)
            await asyncio.sleep(left)

    def _be_patient(self, method: str, path: str, seconds: float) -> None:
        now = time.monotonic()
        self._not_before = {each: due for each, due in self._not_before.items() if due > now}
        self._not_before[method, path] = now + seconds

    def _once(self, method: str, address: str, body: Body | None, kind: str) -> dict[str, Any]:
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        if said := authorization(self._configuration):
            headers["Authorization"] = said
        if body is not None:
            headers["Content-Type"] = kind
        try:
            response = self._pool.request(
                method,
                self._configuration.host + address,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(
                    connect=min(5.0, self._timeout_seconds), read=self._timeout_seconds
                ),
                retries=False,
            )
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as e:
            raise Away(0, "Unreachable", f"the API server cannot be reached: {_of(e)}") from e
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise Away(0, "Broken", f"the API server gave no answer: {_of(e)}") from e
        if response.status < 300:
            try:
                answer: dict[str, Any] = json.loads(response.data or b"{}")
            except ValueError as e:
                raise Away(0, "Broken", "the API server's answer is not whole") from e
            return answer
        raise _refusal(response.status, response.data, response.headers)


def _of(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__)


def _refusal(status: int, data: bytes, headers: Mapping[str, str]) -> ApiError:
    try:
        told = json.loads(data)
        reason, message = str(told.get("reason") or ""), str(told.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", data[:200].decode(errors="replace")
    message = one_line(message) or f"HTTP {status}"
    if status == 429:
        return Throttled(message, _seconds(headers.get("Retry-After")))
    if status in _AGAIN:
        return Away(status, reason or "ServerError", message)
    kinds: Mapping[int, Callable[[int, str, str], ApiError]] = {
        401: Forbidden,
        403: Forbidden,
        404: NotFound,
        409: AlreadyExists if reason == "AlreadyExists" else Conflict,
    }
    return kinds.get(status, ApiError)(status, reason, message)


def _seconds(retry_after: str | None) -> float:
    if retry_after is None or not re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after.strip()):
        return 1.0
    return float(retry_after)
