"""Build an image, and what it stands on, when it is not there in its present state."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.go_programs import ROOT, programs_of
from support.images import buildah, debian, state
from support.images.catalogue import DEBIAN, IMAGES, Image

_VERSION: Final = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


def archive(name: str) -> Path:
    """A docker-archive that a container runtime can import, under `Image.reference`.

    Builds the image when there is none of its present sources. Raises BuildError.
    """
    path = state.archive(name)
    if path.exists():
        path.touch()
        return path
    ensure(name)
    with state.locked():
        if not path.exists():
            image = IMAGES[name]
            new = path.with_suffix(".new")
            new.unlink(missing_ok=True)
            buildah.push(state.stored(image), f"docker-archive:{new}:{image.reference}")
            new.rename(path)
            _forget_older(image, path)
    return path


def ensure(name: str) -> str:
    """The name of an image in buildah's store, built when it is not there. Raises BuildError."""
    buildah.needed()
    if name in IMAGES and buildah.has(state.stored(IMAGES[name])):
        return state.stored(IMAGES[name])
    with state.locked():
        buildah.forget_unfinished()
        return _ensure(name)


def rebuilt(name: str) -> str:
    """Build an image again with no layer of an earlier build, under a name of its own.

    Its bases are those that are there. Raises BuildError.
    """
    ensure(name)
    with state.locked():
        return _build(IMAGES[name], f"localhost/{IMAGES[name].title}:again", fresh=True)


def compressed_bytes(name: str) -> int:
    """What a node downloads for an image: its layers, gzipped. Raises BuildError."""
    tag = ensure(name)
    known = state.folder() / f"{name}-{state.key(name)}.bytes"
    if not known.exists():
        with tempfile.TemporaryDirectory(dir=state.folder()) as place:
            buildah.push(tag, f"oci:{place}/image:size")
            index = json.loads(Path(place, "image/index.json").read_text())
            digest = index["manifests"][0]["digest"].removeprefix("sha256:")
            manifest = json.loads(Path(place, "image/blobs/sha256", digest).read_text())
            known.write_text(str(sum(layer["size"] for layer in manifest["layers"])))
    return int(known.read_text())


def product_version() -> str:
    """Of data-miner, out of its source."""
    found = _VERSION.search((ROOT / "src/data_miner/__init__.py").read_text())
    assert found, "src/data_miner/__init__.py names no version"
    return found[1]


def _ensure(name: str) -> str:
    if name == DEBIAN:
        tag = f"localhost/debian:{state.key(name)}"
        if not buildah.has(tag):
            _say("debian: debootstrap", lambda: debian.make(tag))
        return tag
    image = IMAGES[name]
    tag = state.stored(image)
    if not buildah.has(tag):
        _build(image, tag)
    return tag


def _build(image: Image, tag: str, *, fresh: bool = False) -> str:
    arguments = {argument: _ensure(base) for argument, base in image.bases.items()}
    context = ROOT
    if image.product:
        arguments["VERSION"] = product_version()
        mirror = os.environ.get("PIP_INDEX_URL")
        if mirror:  # as for the set-up; what is installed is held by its hashes
            arguments["PIP_INDEX_URL"] = mirror
    elif image.module:
        context = programs_of(image.module)
    else:
        context = image.dockerfile.parent
    _say(
        f"{image.name}: {image.dockerfile.relative_to(ROOT)}",
        lambda: buildah.build(
            image.dockerfile, context, tag, target=image.target, arguments=arguments, fresh=fresh
        ),
    )
    return tag


def _forget_older(image: Image, current: Path) -> None:
    """Archives and images of earlier sources; the layers of what stays are shared."""
    others = [
        path
        for path in state.folder().glob(f"{image.name}-*.tar")
        if path != current and re.fullmatch(rf"{image.name}-[0-9a-f]{{16}}", path.stem)
    ]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[state.KEPT - 1 :]:
        path.unlink()
        path.with_suffix(".bytes").unlink(missing_ok=True)
        buildah.remove(f"localhost/{image.title}:{path.stem.removeprefix(f'{image.name}-')}")


def _say(what: str, work: Callable[[], None]) -> None:
    """Do something that takes a while, between two lines for a person."""
    print(f"images: {what}", file=sys.stderr, flush=True)  # noqa: T201  # for a person
    started = time.monotonic()
    work()
    took = time.monotonic() - started
    print(f"images: {what}: {took:.0f} s", file=sys.stderr, flush=True)  # noqa: T201  # as above
