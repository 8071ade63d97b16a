"""Programs of the distribution that tests need: looked for, and installed where that may be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

INSTALL: Final = ("apt-get", "install", "-y", "--no-install-recommends")
QUIET: Final = {"DEBIAN_FRONTEND": "noninteractive"}


def provide(packages: Mapping[str, str]) -> str | None:
    """Have every program, by name or path, each with its package; None when all are there.

    What is missing is installed where this is root and has apt-get; else, or if that fails, the
    answer is one line with what to type.
    """
    missing = sorted({package for program, package in packages.items() if not _found(program)})
    if not missing:
        return None
    command = [*INSTALL, *missing]
    if os.geteuid() != 0 or not _found("apt-get"):
        return f"missing on this host; on Debian, as root: {' '.join(command)}"
    problem = _run(command)
    if problem:  # a fresh machine has no lists of packages
        problem = _run(["apt-get", "update"]) or _run(command)
    return f"{' '.join(command)}: {problem}" if problem else None


def _run(command: Sequence[str]) -> str:
    """The end of what it said when it failed, on one line; else nothing."""
    done = subprocess.run(command, env={**os.environ, **QUIET}, capture_output=True, text=True)
    return " ".join(done.stderr.split())[-300:] if done.returncode else ""


def _found(program: str) -> bool:
    return shutil.which(program) is not None
