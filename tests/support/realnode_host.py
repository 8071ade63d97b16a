"""What the real cluster does to the host that it stands on, and how that is taken back.

A machine is a process with mount, network, process and host name namespaces of its own: what
happens in it ends with that process. Outside of them there are a folder, a network link, the
nodes' cgroups, and a few kernel settings that a kubelet changes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from support import debian_packages, realnode_machine
from support.processes import tree
from support.realnode_config import (
    CONTROL,
    HOST_ADDRESS,
    NETWORK,
    NODES,
    PODS,
    SERVICES,
    Machine,
    machine,
)
from support.waiting import eventually

LINK = "dm-cluster"
INIT = Path(realnode_machine.__file__)
CGROUPS = Path("/sys/fs/cgroup")
KUBELETS_SETTINGS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
"""Kernel settings of the whole host that a kubelet writes."""
PACKAGES = {
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
"""Debian's package of each program that is needed."""


class HostError(Exception):
    """One line: why this host cannot carry the cluster, and what to do."""


def prepare(state: Path) -> None:
    """Look whether this host can carry the cluster; on Debian, install what is missing.

    Raises HostError.
    """
    require_root()
    for hidden in ("/run", "/var/lib", "/var/log"):
        if state.is_relative_to(hidden):
            raise HostError(f"{state}: nodes have their own {hidden}; set DATA_MINER_CACHE")
    problem = debian_packages.provide(PACKAGES)
    if problem:
        raise HostError(problem)
    taken = _run("ip", "route", "show", f"{NETWORK}.0/24").strip()
    if taken and LINK not in taken:
        raise HostError(f"this host already uses {NETWORK}.0/24: {taken}")


def require_root() -> None:
    """Raises HostError for any other user."""
    if os.geteuid() != 0:
        raise HostError("a real cluster needs root: run it with sudo")


def save_settings(file: Path) -> None:
    """Write down what a kubelet will change, unless that is written down already."""
    if file.exists():
        return
    values = {name: _setting(name).read_text().strip() for name in KUBELETS_SETTINGS}
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"boot": _boot(), "values": values}))
    new.replace(file)


def restore_settings(file: Path) -> None:
    """Put back what was written down, unless the host has been started anew since."""
    if not file.exists():
        return
    saved = json.loads(file.read_text())
    if saved["boot"] == _boot():
        for name, value in saved["values"].items():
            _setting(name).write_text(value)
    file.unlink()


def _setting(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_of(own: Machine) -> int | None:
    """Process id of a machine's first process; None when the machine is off."""
    return next((pid for pid in _pids(own) if _is_first(pid)), None)


def _pids(own: Machine) -> list[int]:
    """The first process of a machine and what started it, by their command line."""
    # By its specification: another clone's programs may have started it.
    wanted = os.fsencode(own.spec)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")[-3:-1]
            if words[1:] == [wanted] and words[0].endswith(os.fsencode(f"/{INIT.name}")):
                found.append(int(folder.name))
    return found


def _is_first(pid: int) -> bool:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return line.split()[2:] == ["1"]
    return False


def power_on(own: Machine) -> None:
    """Start a machine whose files are written, and connect it; its programs start by themselves."""
    own.wired.unlink(missing_ok=True)
    for folder in (own.hold, own.logs):
        folder.mkdir(parents=True, exist_ok=True)
    if own.name != CONTROL:
        _make_cgroup(own)
    with (own.logs / "machine.log").open("ab") as log:
        subprocess.run(
            [
                *("setsid", "--fork", "unshare", "--pid", "--fork", "--mount-proc", "--mount"),
                *("--net", "--uts", "--ipc", "--propagation=slave"),
                *(sys.executable, "-I", "-S", str(INIT), str(own.spec)),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
        )
    eventually(lambda: pid_of(own) is not None, seconds=10, what=f"{own.name} starts")
    _connect(own)
    own.wired.touch()


def power_off(own: Machine) -> None:
    """End a machine and all that runs in it as a power cut would; its folder stays."""
    for pid in _pids(own):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not _pids(own), seconds=60, what=f"{own.name} ends")
    _remove_cgroup(own)


def inside(own: Machine, *command: str, stdin: Path | None = None) -> str:
    """Run a program in a machine; what it prints. Raises HostError when it fails."""
    with (stdin or Path(os.devnull)).open("rb") as source:
        return _run(*_enter(own), *command, stdin=source.fileno())


def _enter(own: Machine, *namespaces: str) -> list[str]:
    pid = pid_of(own)
    if pid is None:
        raise HostError(f"{own.name} is off")
    return ["nsenter", f"--target={pid}", *(namespaces or ("--mount", "--net", "--pid", "--uts"))]


def processes_of(own: Machine) -> dict[int, list[str]]:
    """Command line of each process in a machine, by process id as the host sees it."""
    first = pid_of(own)
    found = {}
    for pid in tree(first) if first else []:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
            found[pid] = [os.fsdecode(word) for word in words]
    return found


def pid_of_program(own: Machine, name: str) -> int | None:
    """Process id of one of a machine's own programs, as "kubelet"; None when it does not run."""
    for pid, command in processes_of(own).items():
        if command and Path(command[0]).name == name:
            return pid
    return None


def set_link(own: Machine, *, up: bool) -> None:
    """Pull a node's network cable, or put it back."""
    _run(*_enter(own, "--net"), "ip", "link", "set", "eth0", "up" if up else "down")
    if up:
        _route_from(own)


def _connect(own: Machine) -> None:
    state = own.folder.parent

    def here(*words: str) -> None:
        _run("ip", *words)

    def there(*words: str) -> None:
        _run(*_enter(own, "--net"), "ip", *words)

    there("link", "set", "lo", "up")
    if own.name == CONTROL:
        with suppress(HostError):
            here("link", "delete", LINK)
        here("link", "add", LINK, "type", "veth", "peer", "host", "netns", str(pid_of(own)))
        here("address", "add", f"{HOST_ADDRESS}/24", "dev", LINK)
        here("link", "set", LINK, "up")
        there("link", "add", "switch", "type", "bridge")
        there("address", "add", f"{own.address}/24", "dev", "switch")
        there("link", "set", "switch", "up")
        there("link", "set", "host", "master", "switch", "up")
        for name in NODES:
            node = machine(name, state)
            there("route", "add", node.pods, "via", node.address)
        return
    switch = machine(CONTROL, state)
    pids = str(pid_of(own)), str(pid_of(switch))
    here(
        "link", "add", "eth0", "netns", pids[0], "type", "veth", "peer", own.name, "netns", pids[1]
    )
    _run(*_enter(switch, "--net"), "ip", "link", "set", own.name, "master", "switch", "up")
    there("address", "add", f"{own.address}/24", "dev", "eth0")
    there("link", "set", "eth0", "up")
    _route_from(own)
    # A pod has no way out: there is no route, and the host itself is none of its business.
    filters = ["-A", "FORWARD", "-s", PODS, "-d", HOST_ADDRESS, "-j", "REJECT"]
    _run(*_enter(own, "--net"), "iptables", "-w", *filters)


def _route_from(own: Machine) -> None:
    """To the other nodes' pods; and somewhere for services, before their address is replaced."""
    for name in NODES:
        if name != own.name:
            other = Machine(name, own.folder.parent / name)
            _run(*_enter(own, "--net"), "ip", "route", "replace", other.pods, "via", other.address)
    _run(*_enter(own, "--net"), "ip", "route", "replace", SERVICES, "dev", "eth0")


def unplug() -> None:
    """Take the host's end of the machines' network away, if it is still there."""
    with suppress(HostError):
        _run("ip", "link", "delete", LINK)


def _hierarchies() -> list[Path]:
    """The roots of the cgroup hierarchies: one in version 2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [folder for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").exists()]


def _make_cgroup(own: Machine) -> None:
    for root in _hierarchies():
        if (root / "cgroup.subtree_control").exists():
            for controller in (root / "cgroup.controllers").read_text().split():
                with suppress(OSError):  # one that the host keeps to itself
                    (root / "cgroup.subtree_control").write_text(f"+{controller}")
        folder = root / own.cgroup
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 makes them empty
            if root != CGROUPS and (folder / name).exists():
                (folder / name).write_text((root / name).read_text())


def _remove_cgroup(own: Machine) -> None:
    def gone() -> bool:
        left = False
        for root in _hierarchies():
            for folder, _, _ in os.walk(root / own.cgroup, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    left = True
        return not left

    eventually(gone, seconds=60, what=f"the cgroups of {own.name} are empty")


def _run(*command: str, stdin: int = subprocess.DEVNULL) -> str:
    done = subprocess.run(command, stdin=stdin, capture_output=True, text=True)
    if done.returncode:
        raise HostError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def machines(state: Path) -> Sequence[Machine]:
    """All of them, the control plane first."""
    return [machine(name, state) for name in (CONTROL, *NODES)]
