"""One pod on the process node: its containers as processes, from the first start to the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from support import processes
from support.kube_async import AsyncKube, insistently, missing_is_none
from support.node_environment import ConfigurationError, command, variables
from support.node_status import (
    Container,
    back_off_seconds,
    last_words,
    restarts,
    status,
    terminated,
    timestamp,
)

STABLE_SECONDS = 600.0
"""A container that ran for so long starts its back-off anew."""
BROKEN_SECONDS = 1.0
"""Pause before another look for a ConfigMap or a Secret that is not there."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses between the starts of a container that keeps ending: none, first, twice that …"""

    first_seconds: float = 10.0
    longest_seconds: float = 300.0


class Host(Protocol):
    """What a pod needs of its node."""

    kube: AsyncKube
    back_off: BackOff
    problems: list[BaseException]
    """What went wrong in the node itself; a test that ends with any has failed."""

    def base_environment(self, pod: Mapping[str, Any], folder: Path) -> dict[str, str]:
        """What the image would set."""

    def crash_code(self, pod_name: str) -> int | None:
        """Exit code that the next start of this pod shall end with at once; None: a real start."""


class Pod:
    """The life of one pod; `live` ends when the pod is gone from the API server or the node."""

    def __init__(self, host: Host, pod: dict[str, Any], ip: str, folder: Path) -> None:
        self._host = host
        self.object = pod
        self.name: str = pod["metadata"]["name"]
        self.namespace: str = pod["metadata"]["namespace"]
        self.uid: str = pod["metadata"]["uid"]
        self.folder = folder
        self._ip = ip
        self._policy = str(pod["spec"].get("restartPolicy", "Always"))
        self._init = [Container(c) for c in pod["spec"].get("initContainers", ())]
        self._containers = [Container(c) for c in pod["spec"]["containers"]]
        for container in self._containers:
            container.restarts, container.last = _history(pod, container.name)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._started_at = timestamp()
        self._status: dict[str, Any] = pod.get("status", {})
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._gone = asyncio.Event()
        self._finished = False
        self._end_reason: dict[str, str] = {}

    @property
    def key(self) -> str:
        """Namespace and name, as "namespace/name"."""
        return f"{self.namespace}/{self.name}"

    def pids(self) -> dict[str, int]:
        """Process id of each container that runs now."""
        return {name: p.pid for name, p in self._processes.items() if p.returncode is None}

    def seen(self, pod: dict[str, Any]) -> None:
        """Take note of what the API server says of it now."""
        self.object = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._ending.set()

    def vanished(self) -> None:
        """The API server has it no longer: its processes end at once."""
        self._gone.set()
        self._ending.set()

    def signal(self, number: signal.Signals, *, reason: str = "") -> None:
        """Send a signal to every process of the pod; `reason` is told of how they ended."""
        for name, pid in self.pids().items():
            self._end_reason[name] = reason
            processes.signal_tree(pid, number)

    async def live(self) -> None:
        """Run it: containers, status, and the end that somebody else or itself decides."""
        reporting = asyncio.create_task(self._report())
        running = asyncio.create_task(self._run())
        for task in (reporting, running):
            task.add_done_callback(self._note_problem)
        try:
            await self._ending.wait()
            while not running.done():  # a start may be under way
                await self._end_processes()
                await asyncio.wait([running], timeout=0.05)
            self._finished = True
            self._change()
            await reporting
            if not self._gone.is_set():
                await self._let_go()
        finally:
            for task in (running, reporting):
                task.cancel()
            self.signal(signal.SIGKILL)
            for process in list(self._processes.values()):
                await process.wait()

    async def _run(self) -> None:
        if self._status.get("phase") in {"Succeeded", "Failed"}:
            return
        for container in self._init:
            await self._keep(container, "Never" if self._policy == "Never" else "OnFailure")
            if container.exit_code != 0:
                return
        await asyncio.gather(*[self._keep(c, self._policy) for c in self._containers])

    async def _keep(self, container: Container, policy: str) -> None:
        """Start a container again and again, as the policy wants it."""
        ends = 0
        while not self._ending.is_set():
            argv, environment = await self._configured(container)
            if argv is None:
                break
            began = asyncio.get_running_loop().time()
            code = await self._run_once(container, argv, environment)
            if self._ending.is_set() or not restarts(policy, code):
                break
            lasted = asyncio.get_running_loop().time() - began
            ends = 1 if lasted > STABLE_SECONDS else ends + 1
            await self._back_off(container, ends)
            container.restarts += 1

    async def _configured(self, container: Container) -> tuple[list[str] | None, dict[str, str]]:
        """Command and environment; None when the pod ends before there is one."""
        while not self._ending.is_set():
            environment = self._host.base_environment(self._with_ip(), self.folder)
            try:
                environment |= await insistently(
                    lambda: variables(container.spec, self._with_ip(), self._fetch)
                )
                return command(container.spec, environment), environment
            except ConfigurationError as error:
                self._wait(container, "CreateContainerConfigError", str(error))
            await self._pause(BROKEN_SECONDS)
        return None, {}

    async def _run_once(
        self, container: Container, argv: list[str], environment: dict[str, str]
    ) -> int:
        code = self._host.crash_code(self.name)
        if code is not None:
            argv = ["/bin/sh", "-c", f"exit {code}"]
        started_at = timestamp()
        path = self.folder / f"{container.name}.log"
        with path.open("ab") as log:
            before = log.tell()
            # Started from the node's own thread, which lives as long as the node.
            process = await asyncio.create_subprocess_exec(
                *(*processes.launcher(), *argv),
                env=environment,
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[container.name] = process
        container.state = {"running": {"startedAt": started_at}}
        readiness = asyncio.create_task(self._watch_readiness(container))
        self._change()
        try:
            ended = await process.wait()
        finally:
            readiness.cancel()
        container.ready = False
        container.state = terminated(
            ended,
            started_at,
            reason=self._end_reason.pop(container.name, ""),
            message=last_words(container.spec, ended, path, before),
        )
        self._change()
        return container.exit_code or 0

    async def _back_off(self, container: Container, ends: int) -> None:
        """Wait before the next start, and say so as the kubelet does."""
        container.last = container.state
        limits = self._host.back_off
        seconds = back_off_seconds(ends, limits.first_seconds, limits.longest_seconds)
        if seconds:
            self._wait(
                container,
                "CrashLoopBackOff",
                f"back-off {seconds:g}s restarting failed container={container.name} "
                f"pod={self.name}_{self.namespace}({self.uid})",
            )
            await self._pause(seconds)

    async def _watch_readiness(self, container: Container) -> None:
        """Ready while the process is there or, with an HTTP probe, while that is answered well."""
        probe = container.spec.get("readinessProbe", {})
        if "httpGet" not in probe:
            self._set_ready(container, ready=True)
            return
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        url = _probe_url(container.spec, probe["httpGet"], self._ip)
        patience = aiohttp.ClientTimeout(total=probe.get("timeoutSeconds", 1))
        wrong = 0
        async with aiohttp.ClientSession(timeout=patience) as session:
            while True:
                well = await _answers(session, url)
                wrong = 0 if well else wrong + 1
                if well or wrong >= probe.get("failureThreshold", 3):
                    self._set_ready(container, ready=well)
                # Until it is ready, a test waits: look more often than a cluster would.
                await asyncio.sleep(probe.get("periodSeconds", 10) if container.ready else 0.2)

    def _set_ready(self, container: Container, *, ready: bool) -> None:
        if container.ready != ready:
            container.ready = ready
            self._change()

    async def _end_processes(self) -> None:
        grace = self.object["metadata"].get("deletionGracePeriodSeconds", 30)
        await asyncio.gather(
            *[self._end(p, grace) for p in self._processes.values() if p.returncode is None]
        )

    async def _end(self, process: asyncio.subprocess.Process, grace_seconds: float) -> None:
        ended = asyncio.create_task(process.wait())
        gone = asyncio.create_task(self._gone.wait())
        if not self._gone.is_set():
            with suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait(
                [ended, gone], timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        gone.cancel()
        if not ended.done():
            processes.signal_tree(process.pid, signal.SIGKILL)
        await ended

    async def _report(self) -> None:
        """Write the status after each change, the last one included."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._gone.is_set():
                return
            self._status = status(
                self._policy,
                self._init,
                self._containers,
                ip=self._ip,
                started_at=self._started_at,
                before=self._status,
            )
            written = await insistently(self._write_status)
            if written is None or (self._finished and not self._changed.is_set()):
                return

    async def _write_status(self) -> dict[str, Any] | None:
        body = {"metadata": {"uid": self.uid}, "status": self._status}
        return await self._host.kube.patch(self._path("/status"), body)

    async def _let_go(self) -> None:
        """Nothing runs any more: the API server may forget the pod."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        await insistently(
            lambda: missing_is_none(self._host.kube.request("DELETE", self._path(), body))
        )

    def _note_problem(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()):
            self._host.problems.append(problem)

    async def _fetch(self, plural: str, name: str) -> Mapping[str, Any] | None:
        return await self._host.kube.get(f"/api/v1/namespaces/{self.namespace}/{plural}/{name}")

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _wait(self, container: Container, reason: str, message: str) -> None:
        waiting = {"waiting": {"reason": reason, "message": message}}
        if container.state != waiting:
            container.state = waiting
            self._change()

    def _change(self) -> None:
        self._changed.set()

    def _with_ip(self) -> dict[str, Any]:
        known = {"podIP": self._ip, "hostIP": "127.0.0.1"}
        return {**self.object, "status": {**self.object.get("status", {}), **known}}

    def _path(self, subresource: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}{subresource}"


def _history(pod: Mapping[str, Any], name: str) -> tuple[int, dict[str, Any]]:
    """Restarts, and the last end, of a container that ran before its node lost power."""
    for known in pod.get("status", {}).get("containerStatuses", ()):
        if known["name"] == name and "waiting" not in known["state"]:
            began = known["state"].get("running", {}).get("startedAt", timestamp())
            return known["restartCount"] + 1, terminated(255, began, reason="Unknown")
    return 0, {}


def _probe_url(container: Mapping[str, Any], probe: Mapping[str, Any], ip: str) -> str:
    port = probe["port"]
    if isinstance(port, str):
        port = next(p["containerPort"] for p in container["ports"] if p.get("name") == port)
    return f"{probe.get('scheme', 'HTTP').lower()}://{ip}:{port}{probe.get('path', '/')}"


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, ssl=False) as answer:
            return 200 <= answer.status < 400
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
