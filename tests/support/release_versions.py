"""Images and charts of other versions of the product: one before this checkout's, one after it.

Both are made by this checkout's Dockerfiles and from its locks, over other sources. What is built
stays in the cache of `support.images`, under the hash of all that it is made of.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from support.chart import CHART
from support.go_programs import ROOT, BuildError
from support.images import buildah, building, state
from support.images.catalogue import IMAGES, PRODUCT

EARLIER_COMMIT: Final = "9811ad58296ccadfb50c06f6ab29ad6ecb32b943"
"""The last state before there was a chart; its schema is the first that says who may work on it."""
EXPANSION: Final = "0008"
"""Revision of the schema that the later version brings."""
CRD_FILE: Final = "data-miner.io_miningprojects.yaml"
NEW_FIELD: Final = "laterField"
"""Of `spec`, in the later version's definition alone."""
_TOOLS: Final = (
    "Dockerfile.operator", "Dockerfile.worker", ".dockerignore", "scripts/in-image",
    "locks/build.txt", "locks/operator.txt", "locks/worker.txt",
)  # fmt: skip
_SQL: Final = """\
-- Only adds: a column that is empty for who does not know it, a table, an index.
ALTER TABLE projects ADD COLUMN later_note text;
CREATE TABLE later_notes (
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    note text DEFAULT '' NOT NULL
);
CREATE INDEX later_notes_project_id_idx ON later_notes (project_id);
"""
_VERSION: Final = """\
from data_miner.db.migrations.script import run

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("0008_later", "up")


def downgrade() -> None:
    run("0008_later", "down")
"""


@dataclass(frozen=True, slots=True)
class Version:
    """A state of the product that can be installed."""

    tag: str
    """Of its images: ``localhost/data-miner-operator:<tag>`` and the worker's."""
    archives: tuple[Path, ...]
    """Its images, for `OwnCluster.load`."""
    chart: Path


def earlier(folder: Path) -> Version:
    """The product before this checkout: its code in its own images, its definition of projects.

    It had no chart: its definition stands in a copy of this one's, made in `folder`. Raises
    BuildError, also in a checkout without its history.
    """
    sources = state.folder() / f"sources-{EARLIER_COMMIT}"
    if not sources.is_dir():
        new = sources.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        packed = _git("archive", EARLIER_COMMIT, "--", *_of_product())
        subprocess.run(["tar", "-x", "-C", str(new)], input=packed, check=True)
        new.rename(sources)
    crd = _git("show", f"{EARLIER_COMMIT}:crds/{CRD_FILE}").decode()
    chart = _chart(folder / "earlier", crd)
    return Version("earlier", _images("earlier", sources), chart)


def later(folder: Path) -> Version:
    """This checkout, with one migration more and one field more in its definition of projects.

    Both only add, as those of a release do. Raises BuildError.
    """
    sources = folder / "later-sources"
    for name in _of_product():
        target = sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    database = sources / "src/data_miner/db"
    sql = database / "migrations/sql/0008_later"
    sql.mkdir()
    (sql / "1_later.sql").write_text(_SQL)
    (sql / "down.sql").write_text("DROP TABLE later_notes;\n")
    (database / "migrations/versions/v0008_later.py").write_text(_VERSION)
    known = database / "revision.py"
    text, times = re.subn(r'"0007"\)', '"0007", "0008")', known.read_text())
    assert times == 1, "the last revision is not where it was"
    known.write_text(text)
    return Version("later", _images("later", sources), _chart(folder / "later", _later_crd()))


def definition(chart: Path) -> Mapping[str, object]:
    """Properties of a project's spec, as a chart's definition has them."""
    crd = yaml.safe_load((chart / "files/crds" / CRD_FILE).read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: Mapping[str, object] = spec["properties"]
    return found


def _later_crd() -> str:
    crd = yaml.safe_load((CHART / "files/crds" / CRD_FILE).read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"][NEW_FIELD] = {"type": "string", "description": "Of a later release."}
    return yaml.safe_dump(crd)


def _chart(target: Path, crd: str) -> Path:
    shutil.copytree(CHART, target)
    (target / "files/crds" / CRD_FILE).write_text(crd)
    return target


def _of_product() -> tuple[str, ...]:
    return tuple(name for name in PRODUCT if name not in _TOOLS)


def _images(tag: str, sources: Path) -> tuple[Path, ...]:
    """Archives of the operator's and the workers' images over `sources`, built if need be."""
    for name in _TOOLS:
        target = sources / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return tuple(_image(name, tag, sources) for name in ("operator", "worker"))


def _image(name: str, tag: str, sources: Path) -> Path:
    image = IMAGES[name]
    whole = hashlib.sha256("\n".join(state.key(base) for base in image.bases.values()).encode())
    for file in sorted(sources.rglob("*")):
        if file.is_file():
            whole.update(f"{file.relative_to(sources)}\n".encode())
            whole.update(hashlib.sha256(file.read_bytes()).digest())
    path = state.folder() / f"{name}-{tag}-{whole.hexdigest()[:16]}.tar"
    if path.exists():
        path.touch()
        return path
    bases = {argument: building.ensure(base) for argument, base in image.bases.items()}
    stored = f"localhost/{image.title}:{tag}"
    with state.locked():
        buildah.build(sources / image.dockerfile.name, sources, stored, target=image.target,
                      arguments={**bases, "VERSION": tag})  # fmt: skip
        for older in state.folder().glob(f"{name}-{tag}-*.tar"):
            older.unlink()
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        buildah.push(stored, f"docker-archive:{new}:{stored}")
        new.rename(path)
    return path


def _git(*arguments: str) -> bytes:
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments], capture_output=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(
            f"git {arguments[0]}: {done.stderr.decode().strip()}; an upgrade needs the history:"
            " git fetch --unshallow"
        )
    return done.stdout
