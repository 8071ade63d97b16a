"""One installation on which many small projects are tried, most of them with something wrong."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from data_miner.catalog.find import projects
from data_miner.db.engine import engine_for
from data_miner_models.cards import BUNDLED
from support import clips
from support.media_server import MediaServer
from support.product import Finished, Product, write_project

SECTIONS: Final = {
    "sampling": "{strategy: Time, every: 500ms}",
    "filter": "{model: tiny-siglip, positive: [a photo of a star], thresholds: {positive: 0.5}}",
    "dedup": "{model: tiny-dino}",
    "export": "{formats: [COCO]}",
}


@dataclass(slots=True)
class Bench:
    """The program, two good clips, a web server and a folder for what is wrong."""

    product: Product
    server: MediaServer
    folder: Path
    empty_database: str
    """URL of a database without tables."""
    new_product: Callable[[str], Product]
    """The program on an empty home and an empty database."""
    good: Path = field(init=False)
    """A folder with two clips that show stars."""
    own: Product | None = None
    """The program on a home and database of its own, where a row may not share them."""

    def __post_init__(self) -> None:
        self.good = self.folder / "good"
        self.good.mkdir(parents=True)
        clips.cut(clips.STAR, self.good / "star.mp4")
        clips.cut(clips.OTHER_STAR, self.good / "other.webm")

    def project(
        self,
        name: str,
        *sources: str,
        metadata: str | None = None,
        without: str = "",
        **sections: str,
    ) -> Path:
        """A project over `sources`, or the good clips; `sections` replace or join the usual."""
        wanted = {key: text for key, text in SECTIONS.items() if key != without} | sections
        lines = [
            "apiVersion: data-miner.io/v1alpha1",
            "kind: MiningProject",
            f"metadata: {metadata or f'{{name: {name}}}'}",
            "spec:",
            "  sources:",
            *(f"    - {source}" for source in sources or (self.files(self.good),)),
            *(f"  {key}: {text}" for key, text in wanted.items()),
        ]
        return write_project(self.folder, "\n".join(lines) + "\n", f"{name}.yaml")

    def files(self, uri: Path) -> str:
        """A source of files."""
        return f"files: {{uri: '{str(uri).replace(chr(39), chr(39) * 2)}'}}"

    def half(self, what: tuple[str, float, float]) -> bytes:
        """The first half of a piece of the demo's clips, as a broken copy leaves it."""
        content = clips.piece(what, self.folder)
        return content[: len(content) // 2]

    def with_files(self, name: str, **contents: bytes) -> str:
        """A source of files with these contents: ``notes_mp4`` is the name ``notes.mp4``."""
        folder = self.folder / name
        folder.mkdir()
        for key, content in contents.items():
            (folder / key.replace("_", ".")).write_bytes(content)
        return self.files(folder)

    def run(self, project: Path, **variables: str) -> Finished:
        """`run` a project to its end, whatever that is."""
        return self.product.do("run", project, timeout=240, **variables)

    def projects(self) -> set[str]:
        """Names of all projects of this installation."""
        engine = engine_for(self.product.environment["DATA_MINER_DATABASE_URL"])
        try:
            with engine.connect() as conn:
                return {project.name for project in projects(conn)}
        finally:
            engine.dispose()

    def status(self, name: str) -> Any:
        """What `status` says about a project."""
        finished = (self.own or self.product).do("status", name, "--json")
        assert finished.code == 0, finished.err
        return finished.json[0]

    def model(self, name: str, copy_of: str, changes: Mapping[str, str]) -> Path:
        """A store with a copy of a bundled model, words in its card changed; returns its folder."""
        store = self.folder / f"models-{name}"
        store.mkdir()
        card = (BUNDLED / f"{copy_of}.toml").read_text()
        for file in tomllib.loads(card)["files"].values():
            target = store / file["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(BUNDLED / file["path"], target)
        for old, new in changes.items():
            assert old in card
            card = card.replace(old, new)
        card = re.sub(r'name = "[^"]*"', f'name = "{name}"', card, count=1)
        (store / f"{name}.toml").write_text(card)
        return store
