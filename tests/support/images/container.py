"""Run an image's program as a restricted pod would: by number, on a root that nobody can write.

No network but its own loopback, no privilege to win, /tmp empty and the only place to write, and a
process table of its own.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_STAGE: Final = """
set -eu
root=$1; point=$2; user=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$point"
for pair in $BINDS; do
    at=$point${pair#*:}
    mkdir -p "$at"
    mount --bind "${pair%%:*}" "$at"
done
mount -t tmpfs -o mode=1777 tmpfs "$point/tmp"
mount -t tmpfs tmpfs "$point/dev"
for device in null zero full random urandom; do
    : >"$point/dev/$device"
    mount --bind "/dev/$device" "$point/dev/$device"
done
mkdir -m 1777 "$point/dev/shm"
mount -t proc proc "$point/proc"
mount -o remount,bind,ro "$point"
ip link set lo up
exec env -i "$@"
"""


@dataclass(frozen=True, slots=True)
class Container:
    """An image that is mounted somewhere, ready to run programs of."""

    root: Path
    """Its file system."""
    point: Path
    """An empty folder where it is shown to its programs."""
    config: Mapping[str, Any]
    """What the image says: Env, Entrypoint, Cmd, User, ..."""
    binds: Mapping[Path, str] = field(default_factory=dict)
    """Folders of this machine by where they are seen; they can be written."""

    def command(self, *arguments: str, entrypoint: Sequence[str] | None = None, **env: str) -> Any:
        """The command line and the environment for `subprocess`; without arguments, the image's."""
        given = list(self.config["Entrypoint"] or []) if entrypoint is None else list(entrypoint)
        given += list(arguments) or list(self.config["Cmd"] or [])
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in env.items())]
        folder = self.config["WorkingDir"] or "/"
        inside = f"cd {shlex.quote(folder)} && exec {shlex.join(given)}"
        user = self.config["User"] or "0:0"
        return [
            *("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork"),
            *("sh", "-c", _STAGE, "container", str(self.root), str(self.point), user),
            *(*variables, "setpriv", "--no-new-privs"),
            *("chroot", f"--userspec={user}", "--groups=", str(self.point)),
            *("/bin/sh", "-c", inside),
        ]

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """Start a program; the caller ends it with `end`."""
        return subprocess.Popen(
            self.command(*arguments, **more),
            env=self.surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, within two minutes."""
        return subprocess.run(
            self.command(*arguments, **more),
            env=self.surroundings(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def surroundings(self) -> dict[str, str]:
        """What `command` needs of its environment."""
        binds = " ".join(f"{outside}:{inside}" for outside, inside in self.binds.items())
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "BINDS": binds}


def end(process: subprocess.Popen[str]) -> None:
    """Kill what was started, and everything that it started, and wait for its end.

    The first process of the namespace takes the others with it; it has another user than who
    started it, so no signal follows it by itself.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if process.poll() is None:
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    process.communicate(timeout=30)


Open = Callable[..., Container]
"""Gives the image of a name; the second argument, if any, is `Container.binds`."""
