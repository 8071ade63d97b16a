"""Small checkpoints of every architecture, and the models that they become; made once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

try:
    import torch
except ModuleNotFoundError as error:
    pytest.exit(
        f"{error.name} is not here: `make test-export` installs it and runs these tests",
        returncode=4,
    )

from data_miner_export.make import Wanted, make
from data_miner_export.source import Source
from data_miner_models.cards import ModelCard
from support.checkpoints import BUILDERS

torch.set_num_threads(1)


class Exported:
    """Makes what is asked for, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self._cards: dict[str, tuple[ModelCard, ...]] = {}

    def checkpoint(self, kind: str) -> Path:
        """A folder in the layout of the hub."""
        folder = self.folder / kind
        if not folder.exists():
            folder.mkdir()
            BUILDERS[kind](folder)
        return folder

    def model(self, kind: str) -> ModelCard:
        """The model, in single and half precision."""
        return self._made(kind)[0]

    def int8(self, kind: str) -> ModelCard:
        """Its counterpart in 8 bits."""
        return self._made(kind)[1]

    def _made(self, kind: str) -> tuple[ModelCard, ...]:
        if kind not in self._cards:
            eight = not kind.endswith("grounding_dino")
            name = kind.replace("_", "-")
            wanted = Wanted(
                name,
                frozenset({"fp32", "fp16", "int8"} if eight else {"fp32", "fp16"}),
                str(self.store),
                self.folder / "work",
            )
            source = Source(self.checkpoint(kind), kind, "", "apache-2.0")
            made = make(source, wanted, print, lambda *_: None)
            self._cards[kind] = tuple(self._placed(card) for card in made)
        return self._cards[kind]

    def _placed(self, card: ModelCard) -> ModelCard:
        from data_miner_models.cards import load_card

        return load_card(card.name, [self.store])


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One for all tests of this process."""
    return Exported(tmp_path_factory.mktemp("export"))
