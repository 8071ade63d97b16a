"""Starts the real cluster and takes it away, whole or half."""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import urllib3

from support import realnode_host as host
from support import realnode_state
from support.go_programs import cache
from support.kube_client import KubeClient, KubeError, access_of
from support.kubectl import Kubectl
from support.realnode_build import Programs, programs
from support.realnode_config import CONTROL, NODES, Machine, dns_objects, machine
from support.waiting import eventually

READY_SECONDS = 180.0
LOOK_SECONDS = 0.1
GPU = "nvidia.com/gpu"
STORAGE = Path(__file__).parents[1] / "realnode" / "storage.yaml"


def state_folder() -> Path:
    """Where everything of the cluster lies while it is up; not there when it is down."""
    return cache() / "cluster"


def up(say: Callable[[str], None] = lambda _: None) -> Kubectl:
    """Start the cluster anew unless all of it runs; ready for pods when this returns.

    `say` is told of each step. Raises HostError or BuildError with one line; then nothing runs, and
    the logs are in the folder "cluster-failed" beside the state.
    """
    state = state_folder()
    host.prepare(state)
    made = programs()
    with _locked(state):
        if is_up(state):
            return kubectl_of(state)
        _take_down(state)
        try:
            return _make(state, made, say)
        except (AssertionError, host.HostError) as error:
            kept = state.with_name("cluster-failed")
            shutil.rmtree(kept, ignore_errors=True)
            _power_off(state)
            shutil.copytree(state, kept, ignore=_all_but_logs)
            _take_down(state)
            raise host.HostError(f"the cluster did not come up: {error}; see {kept}") from error


def down() -> None:
    """Take away all that `up` made, and put back what the host had; finished when it returns.

    Raises HostError.
    """
    host.require_root()
    state = state_folder()
    with _locked(state):
        _take_down(state)


def is_up(state: Path) -> bool:
    """Whether every machine is on and the API server answers."""
    if not all(host.pid_of(own) for own in host.machines(state)):
        return False
    return _api_is_ready(state)


def kubectl_of(state: Path) -> Kubectl:
    """The administrator of the cluster in this folder; raises HostError when it is down."""
    if not (state / "kubectl").is_dir():
        raise host.HostError("the cluster is down: scripts/cluster up")
    return Kubectl(state / "bin" / "kubectl", state / "kubeconfig", state / "kubectl")


def ctr(own: Machine, *arguments: str, stdin: Path | None = None) -> str:
    """containerd's own command line on a node; what it prints. Raises HostError."""
    program = str(own.folder.parent / "bin" / "ctr")
    return host.inside(own, program, "--namespace=k8s.io", *arguments, stdin=stdin)


def load(state: Path, archives: Sequence[Path]) -> list[str]:
    """Give images to every node; their names. An archive is what `docker save` writes.

    Raises HostError, also for a file that is no such archive.
    """
    names = [name for archive in archives for name in _names(archive)]
    machines = [machine(name, state) for name in NODES]
    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(lambda own: _load(own, archives), machines))
    return names


def offer_gpus(kubectl: Kubectl, node: str, count: int) -> None:
    """Let a node say that it has GPUs; pods are placed by them and find no device."""
    patch = json.dumps({"status": {"capacity": {GPU: str(count)}}})
    change = ("patch", "node", node, "--subresource=status", "--type=merge", f"--patch={patch}")
    kubectl(*change)
    path = "{.status.allocatable." + GPU.replace(".", r"\.") + "}"
    kubectl("wait", f"node/{node}", f"--for=jsonpath={path}={count}", "--timeout=60s", seconds=90)


def _make(state: Path, made: Programs, say: Callable[[str], None]) -> Kubectl:
    began = time.monotonic()

    def done(what: str) -> None:
        say(f"{time.monotonic() - began:5.1f} s  {what}")

    state.mkdir(mode=0o700, parents=True)
    host.save_settings(state / "settings")
    archives = realnode_state.write(state, made)
    kubectl = kubectl_of(state)
    for own in host.machines(state):
        host.power_on(own)
    done("three machines are on")
    _wait(partial(_api_is_ready, state), "the API server is ready")
    done("the API server is ready")
    for own in host.machines(state)[1:]:
        _wait(partial(_containerd_answers, own), f"containerd answers on {own.name}")
    load(state, archives)
    done("the nodes have the cluster's images")
    for objects in (dns_objects(), STORAGE.read_text()):
        kubectl("apply", "--filename=-", stdin=objects)
    for name in NODES:
        limit = f"--timeout={READY_SECONDS:.0f}s"
        kubectl("wait", f"node/{name}", "--for=create", limit, seconds=READY_SECONDS + 30)
        kubectl("wait", f"node/{name}", "--for=condition=Ready", limit, seconds=READY_SECONDS + 30)
        offer_gpus(kubectl, name, 1)
    done("the nodes are Ready")
    kubectl(
        *("rollout", "status", "deployment/coredns", "--namespace=kube-system"),
        f"--timeout={READY_SECONDS:.0f}s",
        seconds=READY_SECONDS + 30,
    )
    done("names are found")
    return kubectl


def _take_down(state: Path) -> None:
    """Each step looks for what is there: it does not matter how far `up` came."""
    _power_off(state)
    host.unplug()
    host.restore_settings(state / "settings")
    if state.exists():
        shutil.rmtree(state)


def _power_off(state: Path) -> None:
    for own in reversed(host.machines(state)):
        host.power_off(own)


def _all_but_logs(folder: str, names: list[str]) -> set[str]:
    here = Path(folder)
    return {
        name
        for name in names
        if (here / name).is_symlink()
        or ((here / name).is_dir() and name not in {CONTROL, *NODES, "logs"})
        or not ((here / name).is_dir() or name.endswith(".log"))
    }


def _wait(condition: Callable[[], bool], what: str) -> None:
    eventually(condition, seconds=READY_SECONDS, what=what, pause_seconds=LOOK_SECONDS)


def _api_is_ready(state: Path) -> bool:
    try:
        client = KubeClient(access_of(state / "kubeconfig"))
        return client.get("/api/v1/namespaces/default/serviceaccounts/default") is not None
    except (OSError, KubeError, urllib3.exceptions.HTTPError):
        return False


def _containerd_answers(own: Machine) -> bool:
    try:
        ctr(own, "version")
    except host.HostError:
        return False
    return True


def _load(own: Machine, archives: Sequence[Path]) -> None:
    for archive in archives:
        ctr(own, "images", "import", "--local", "-", stdin=archive)


def _names(archive: Path) -> list[str]:
    try:
        with tarfile.open(archive) as tar:
            listed = tar.extractfile("manifest.json")
            assert listed
            return [name for image in json.load(listed) for name in image["RepoTags"] or ()]
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise host.HostError(f"{archive} is no image as docker save writes it: {error}") from error


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One process at a time makes or breaks the cluster."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.with_name("cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
