"""Debian's smallest system as an image, made by debootstrap: needs no registry."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from support.go_programs import BuildError
from support.images import buildah, state

_LEFT_OUT: Final = (
    *("var/cache/apt", "var/cache/debconf", "var/cache/ldconfig", "var/lib/apt/lists", "var/log"),
    *("usr/share/man", "usr/share/info", "usr/share/locale", "etc/machine-id"),
)
"""Emptied: caches, logs with times in them, and what nobody reads in a container."""


def make(tag: str) -> None:
    """Build the image; half a minute. Raises BuildError.

    DEBIAN_MIRROR names where packages come from; without it, debootstrap knows.
    """
    buildah.needed()
    place = state.folder() / "debian.new"
    shutil.rmtree(place, ignore_errors=True)
    root = place / "root"
    root.mkdir(parents=True)
    mirror = os.environ.get("DEBIAN_MIRROR", "")
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", state.SUITE]
    log = place / "log"
    with log.open("w") as said:
        done = subprocess.run(
            [*command, str(root), *([mirror] if mirror else [])],
            stdout=said,
            stderr=said,
            check=False,
        )
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise BuildError(
            f"debootstrap: {' | '.join(lines[-3:])}; is a mirror within reach "
            "(DEBIAN_MIRROR names one)?"
        )
    _empty(root)
    (place / "Dockerfile").write_text(
        "FROM scratch\nCOPY root /\n"
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        'CMD ["bash"]\n'
    )
    buildah.build(place / "Dockerfile", place, tag)
    shutil.rmtree(place)


def _empty(root: Path) -> None:
    for name in _LEFT_OUT:
        path = root / name
        if path.is_dir():
            for child in path.iterdir():
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        elif path.exists():
            path.write_text("")
    for child in (root / "usr/share/doc").rglob("*"):
        if child.is_file() and child.name != "copyright":
            child.unlink()
