"""`scripts/images`: build the images, say what they weigh, and where they are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from support.go_programs import BuildError
from support.images import buildah, building, state
from support.images.catalogue import IMAGES

USAGE = """usage: scripts/images COMMAND
  build NAME...   build images of the present sources, unless they are there
  all             build all but the heavy ones ({heavy})
  tar NAME...     build, and print the path of an archive for `ctr images import`, `docker load`
  sizes [NAME...] what a node downloads for each, and the limit; exit 1 when one is above it
  list            the images: name, name in a container engine, whether it is built
  clean           remove everything that was built
names: {names}
"""


def main(arguments: Sequence[str]) -> int:
    """Exit status: 2 for wrong usage."""
    command, *names = arguments or ["help"]
    unknown = [name for name in names if name not in IMAGES]
    if unknown:
        sys.stderr.write(f"images: no image {unknown[0]!r}; there are {', '.join(IMAGES)}\n")
        return 2
    everyday = [image.name for image in IMAGES.values() if not image.heavy]
    match command, names:
        case "build", [_, *_]:
            _build(names)
        case "all", []:
            _build(everyday)
        case "tar", [_, *_]:
            for name in names:
                _print(str(building.archive(name)))
        case "sizes", _:
            return _sizes(names or everyday)
        case "list", []:
            _list()
        case "clean", []:
            buildah.needed()
            with state.locked():
                buildah.run("rm", "--all")
                buildah.run("rmi", "--all", "--force")
            shutil.rmtree(state.folder())
        case _:
            heavy = ", ".join(image.name for image in IMAGES.values() if image.heavy)
            sys.stderr.write(USAGE.format(heavy=heavy, names=", ".join(IMAGES)))
            return 0 if command in {"help", "--help", "-h"} else 2
    return 0


def _build(names: Sequence[str]) -> None:
    for name in names:
        _print(f"{IMAGES[name].reference}  {building.ensure(name)}")


def _sizes(names: Sequence[str]) -> int:
    above = False
    for name in names:
        size, limit = building.compressed_bytes(name) / 1e6, IMAGES[name].limit_mb
        bound = f"of {limit:.0f} MB" if limit else ""
        _print(f"{name:12} {size:7.1f} MB {bound}")
        above = above or (limit is not None and size > limit)
    return 1 if above else 0


def _list() -> None:
    for image in IMAGES.values():
        built = "built" if buildah.has(state.stored(image)) else "-"
        _print(f"{image.name:12} {image.reference:34} {built}")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BuildError as error:
        sys.exit(f"images: {error}")
