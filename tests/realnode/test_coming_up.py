"""Bringing the cluster up and taking it away, whole and half, on a host that notices nothing.

These come first: where a cluster is up already, they would take it away, and fail instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import realnode_up
from support.go_programs import ROOT
from support.realnode_host import CGROUPS, KUBELETS_SETTINGS, machines, processes_of
from support.waiting import eventually

pytestmark = [pytest.mark.own_nodes, pytest.mark.timeout(600)]
COMMAND = ROOT / "scripts" / "cluster"


@pytest.fixture
def state() -> Iterator[Path]:
    """Where the cluster will be; it is down before and after."""
    folder = realnode_up.state_folder()
    if realnode_up.is_up(folder):
        pytest.fail("a cluster is up, and this brings one up and down: scripts/cluster down")
    realnode_up.down()
    yield folder
    realnode_up.down()


def _host() -> dict[str, str]:
    """What of this host a cluster could leave different; other mounts may come and go."""
    shown = {
        "links": ("ip", "-oneline", "-brief", "link"),
        "routes": ("ip", "route"),
        "filters": ("iptables-save",),
        "settings": ("sysctl", *KUBELETS_SETTINGS, "net.ipv4.ip_forward"),
    }
    said = {
        name: subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for name, command in shown.items()
    }
    ours = str(realnode_up.state_folder())
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if ours in line]
    return {
        **said,
        "filters": "\n".join(line for line in said["filters"].splitlines() if "#" not in line),
        "mounts": "\n".join(mounts),
        "cgroups": "\n".join(sorted(map(str, CGROUPS.glob("**/data-miner-*")))),
    }


def _nothing_runs(state: Path) -> bool:
    return not any(processes_of(own) for own in machines(state))


def test_the_host_is_as_before_and_a_second_up_changes_nothing(state: Path) -> None:
    before = _host()
    first = realnode_up.up()
    pids = [sorted(processes_of(own))[0] for own in machines(state)]
    second = realnode_up.up()
    assert first == second
    assert [sorted(processes_of(own))[0] for own in machines(state)] == pids
    assert _host() != before
    realnode_up.down()
    assert _host() == before
    assert not state.exists()
    assert _nothing_runs(state)


@pytest.mark.parametrize("moment", ["node-1/wired", "node-1/lib/kubelet/pods"])
def test_an_up_that_is_killed_half_way_is_cleaned_by_down(state: Path, moment: str) -> None:
    before = _host()
    starting = subprocess.Popen([str(COMMAND), "up"], start_new_session=True)
    eventually((state / moment).exists, seconds=120, what=moment)
    os.killpg(starting.pid, signal.SIGKILL)
    starting.wait()
    subprocess.run([str(COMMAND), "down"], check=True)
    assert _host() == before
    assert not state.exists()
    assert _nothing_runs(state)


def test_an_up_after_a_killed_one_starts_anew(state: Path) -> None:
    starting = subprocess.Popen([str(COMMAND), "up"], start_new_session=True)
    eventually((state / "control" / "wired").exists, seconds=120, what="a machine is on")
    os.killpg(starting.pid, signal.SIGKILL)
    starting.wait()
    kubectl = realnode_up.up()
    assert "node-2" in kubectl("get", "nodes")


def test_who_is_not_root_is_told_so_in_one_line() -> None:
    code = "import os, sys; from support.realnode_command import main\n"
    code += "os.setuid(65534); sys.exit(main(['down']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["cluster: a real cluster needs root: run it with sudo"]


def test_a_file_that_is_no_image_is_refused_in_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "image.tar"
    wrong.write_text("no archive")
    done = subprocess.run([str(COMMAND), "load", str(wrong)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cluster: {wrong} is no image as docker save writes it")
    assert "Traceback" not in done.stderr
