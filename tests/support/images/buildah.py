"""Buildah as these images need it: a store of its own, chroot instead of containers."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from support import debian_packages
from support.go_programs import BuildError
from support.images import state

PACKAGES: Final = {"buildah": "buildah", "debootstrap": "debootstrap"}
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


def needed() -> None:
    """Have what images are built with. Raises BuildError, with what to type."""
    if os.geteuid() != 0:
        raise BuildError("images are built as root: run it again with sudo")
    problem = debian_packages.provide(PACKAGES)
    if problem:
        raise BuildError(problem)


def build(
    dockerfile: Path,
    context: Path,
    tag: str,
    *,
    target: str = "",
    arguments: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> None:
    """Build a Dockerfile; `fresh` takes no layer from an earlier build. Raises BuildError.

    The machine's certificate bundle stands in for the image's own while commands run, and is no
    part of the image.
    """
    options = ["--isolation", "chroot", "--format", "docker", "--pull-never", "--layers"]
    options += ["--identity-label=false", "--timestamp", str(state.epoch())]
    if fresh:
        options.append("--no-cache")
    if _CERTIFICATES.is_file():
        options += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
    if target:
        options += ["--target", target]
    for name, value in (arguments or {}).items():
        options += ["--build-arg", f"{name}={value}"]
    run("build", "--quiet", *options, "--tag", tag, "--file", str(dockerfile), str(context))


def has(tag: str) -> bool:
    """Whether the store holds an image."""
    return run("images", "--quiet", "--filter", f"reference={tag}").strip() != ""


def push(tag: str, destination: str) -> None:
    """Copy an image out of the store, as to "docker-archive:FILE:NAME"."""
    run("push", "--quiet", tag, destination)


def remove(tag: str) -> None:
    """Forget an image, if it is there."""
    if has(tag):
        run("rmi", tag)


def forget_unfinished() -> None:
    """Remove what killed builds have left, gigabytes each; to be called while nobody builds."""
    lines = run("containers", "--noheading", "--format", "{{.ContainerName}}").splitlines()
    left = [name for name in lines if name.endswith("-working-container")]
    if left:
        run("rm", *left)


def configuration(tag: str) -> dict[str, Any]:
    """What an image says of itself, with `config`, `rootfs` and `history`."""
    said = json.loads(run("inspect", "--type", "image", tag))
    found: dict[str, Any] = said["Docker"]
    return found


@contextmanager
def mounted(tag: str) -> Iterator[Path]:
    """The root file system of an image, as a folder; what is written there is forgotten."""
    container = run(
        "from", "--pull-never", "--name", f"looked-into-{uuid.uuid4().hex}", tag
    ).strip()
    try:
        yield Path(run("mount", container).strip())
    finally:
        run("rm", container)


def run(command: str, *arguments: str) -> str:
    """Its standard output. Raises BuildError with the end of what it said."""
    needed()
    store = state.folder() / "buildah"
    scratch = state.folder() / "tmp"
    scratch.mkdir(exist_ok=True)
    driver = os.environ.get("STORAGE_DRIVER") or "overlay"
    done = subprocess.run(
        [
            *("buildah", "--storage-driver", driver),
            *("--root", str(store), "--runroot", str(store.with_suffix(".run"))),
            *(command, *arguments),
        ],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise BuildError(f"buildah {command}: {' | '.join(lines[-6:])}")
    return done.stdout
