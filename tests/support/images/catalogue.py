"""Which images there are, and what each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from support.go_programs import ROOT, Module

HERE: Final = ROOT / "tests" / "images"
PRODUCT: Final = (
    *("LICENSE", "NOTICE", "README.md", "pyproject.toml", "scripts/in-image"),
    *("src", "operator", "worker_image", "ml_models/data_miner_models"),
    "ml_models/export/data_miner_export",
    *("examples/demo", "examples/demo.yaml"),
)
"""What goes into every image of the product; .dockerignore names the same."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that can be built here."""

    name: str
    """How people call it, as "worker"."""
    title: str
    """Its repository, as "data-miner-worker"."""
    dockerfile: Path
    target: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)
    """Names of the images that it stands on, by the build argument that takes one."""
    sources: tuple[Path, ...] = ()
    """Files and folders that go into it, besides its Dockerfile."""
    module: Module | None = None
    """The programs that its Dockerfile copies; None: its context is the repository."""
    product: bool = False
    limit_mb: float | None = None
    """Most that it may weigh, compressed, in MB (10^6 bytes)."""
    heavy: bool = False
    """Gigabytes: left out where "all" are built."""

    @property
    def reference(self) -> str:
        """Its name in a container engine."""
        return f"localhost/{self.title}:test"


def _product(
    name: str, dockerfile: str, lock: str, limit_mb: float, *, heavy: bool = False
) -> Image:
    return Image(
        name=name,
        title=f"data-miner-{name}",
        dockerfile=ROOT / dockerfile,
        target=name,
        bases={"BASE_IMAGE": "base", "BUILD_IMAGE": "base-build"},
        sources=tuple(ROOT / p for p in (*PRODUCT, "locks/build.txt", f"locks/{lock}.txt")),
        product=True,
        limit_mb=limit_mb,
        heavy=heavy,
    )


def _on_debian(name: str, module: Module | None = None) -> Image:
    bases = {"DEBIAN": "debian"}
    return Image(name, name, HERE / name / "Dockerfile", bases=bases, module=module)


def _base(name: str, target: str) -> Image:
    bases = {"DEBIAN": "debian"}
    return Image(name, name, HERE / "base" / "Dockerfile", target=target, bases=bases)


_VERSITYGW: Final = Module(
    name="versitygw",
    source=HERE / "versitygw",
    programs={"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
)
_PAUSE: Final = Module(name="pause", source=HERE / "pause", programs={"pause": "."})

IMAGES: Final = {
    image.name: image
    for image in (
        _base("base", "base"),
        _base("base-build", "build"),
        _product("worker", "Dockerfile.worker", "worker", 500),
        _product("operator", "Dockerfile.operator", "operator", 120),
        _product("worker-gpu", "Dockerfile.worker", "worker-gpu", 2500, heavy=True),
        _product("export", "Dockerfile.worker", "export", 4500, heavy=True),
        _on_debian("postgres"),
        _on_debian("versitygw", _VERSITYGW),
        Image("pause", "pause", HERE / "pause" / "Dockerfile", module=_PAUSE),
    )
}
DEBIAN: Final = "debian"
"""The one that all but the smallest stand on; made by debootstrap, not from a Dockerfile."""
