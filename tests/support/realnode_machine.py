"""The first process of a machine of the real cluster, in namespaces of its own.

Mounts what the machine has for itself, then keeps its programs running. When this process dies the
kernel kills everything in the machine, containers too, and takes its mounts and its network away.

Run as `python realnode_machine.py SPEC`; knows the standard library only. SPEC is JSON:
`binds` [[folder, mount point]], `temporary` [mount point], `wired` a file that appears when the
network is there, `hold` a folder, `programs` [{name, command, environment, log}]. A program that
ends is started again, unless a file of its name lies in `hold`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.05


def main() -> None:
    """Never returns."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    _mount(spec)
    while not Path(spec["wired"]).exists():
        time.sleep(LOOK_SECONDS)
    running: dict[str, int] = {}
    due = {program["name"]: 0.0 for program in spec["programs"]}
    while True:
        _reap(running, due)
        for program in spec["programs"]:
            name = program["name"]
            held = (Path(spec["hold"]) / name).exists()
            if name not in running and not held and time.monotonic() >= due[name]:
                running[name] = _start(program)
        time.sleep(LOOK_SECONDS)


def _mount(spec: dict[str, Any]) -> None:
    # What a container mounts with Bidirectional propagation has to reach the machine.
    _run("mount", "--make-rshared", "/")
    for folder, point in spec["binds"]:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", folder, point)
        # Out of the group of the machine's root: a mount below would appear in `folder` too.
        _run("mount", "--make-private", point)
        _run("mount", "--make-rshared", point)
    for point in spec["temporary"]:
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", point)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _start(program: dict[str, Any]) -> int:
    """Process id of a program that was just started; its output is appended to its log."""
    pid = os.fork()
    if pid:
        return pid
    try:
        log = os.open(program["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execvpe(program["command"][0], program["command"], program["environment"])
    except OSError as error:
        os.write(2, f"{program['command'][0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _reap(running: dict[str, int], due: dict[str, float]) -> None:
    """Collect whoever has ended: programs, and what a dead shim or runc left to this process."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for name in [name for name, its in running.items() if its == pid]:
            del running[name]
            due[name] = time.monotonic() + AGAIN_SECONDS


if __name__ == "__main__":
    main()
