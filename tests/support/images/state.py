"""Where built images are kept, and the hash by which one is found again."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.go_programs import cache, programs_of
from support.images.catalogue import DEBIAN, IMAGES, Image

KEPT: Final = 2
"""So many archives of an image are kept, by their last use."""
SUITE: Final = "bookworm"
EPOCH: Final = 315532800
"""1980-01-01: with it, equal contents give equal layers whenever they are built."""


def folder() -> Path:
    """Of everything about images, made when it is not there."""
    place = cache() / "images"
    place.mkdir(parents=True, exist_ok=True)
    return place


def epoch() -> int:
    """The time that images and their files bear, in seconds since 1970."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH)


def archive(name: str) -> Path:
    """Where the archive of an image in its present state is, or will be."""
    return folder() / f"{name}-{key(name)}.tar"


def key(name: str) -> str:
    """Of all that decides what an image holds: 16 hexadecimal digits.

    Builds the programs that it is made of, whose sources count. Raises BuildError.
    """
    if name == DEBIAN:
        return _short(f"{SUITE} {epoch()}", (Path(__file__).with_name("debian.py"),))
    image = IMAGES[name]
    facts = [image.target, str(epoch()), repr(sorted(image.bases))]
    facts += [key(base) for base in image.bases.values()]
    if image.module:
        facts.append(programs_of(image.module).name)
    return _short("\n".join(facts), (image.dockerfile, *image.sources))


def _short(facts: str, files: tuple[Path, ...]) -> str:
    whole = hashlib.sha256(facts.encode())
    for root in files:
        for file in [root] if root.is_file() else sorted(root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                whole.update(f"{file.relative_to(root)} {file.stat().st_mode & 0o111}\n".encode())
                whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]


@contextmanager
def locked() -> Iterator[None]:
    """One builder at a time; others wait."""
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stored(image: Image) -> str:
    """The name of an image in buildah's store: one for each state of its sources."""
    return f"localhost/{image.title}:{key(image.name)}"
