"""Cards that a program writes are read as what they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_miner_models.card_text import card_text
from data_miner_models.cards import Graph, ModelCard, Tensor, list_cards, parse_card
from data_miner_models.preprocessing import Preprocessing


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: str(card.name))
def test_a_card_is_read_as_it_was_written(card: ModelCard) -> None:
    """Every bundled one, with all that is in it."""
    read = parse_card(card_text(card), card.folder / f"{card.name}.toml")
    assert read == card
    assert read.digest == card.digest


def test_any_text_survives() -> None:
    """Quotes, line ends, control characters and other scripts come from strangers' READMEs."""
    words = 'a "quoted" \\ thing\n\t\x7f\x00 é 漢字 🚒'
    card = replace(
        list_cards()[0],
        summary=words,
        source=words,
        preprocessing=Preprocessing("pad", 64, 64, "gaussian", fill=7),
        max_batch=1,
        parity={"image_cosine": 1.5e-07},
    )
    assert parse_card(card_text(card), Path("/x") / f"{card.name}.toml") == replace(
        card, folder=Path("/x")
    )


def test_tensors_may_be_called_anything() -> None:
    """The names are those of whoever wrote the graph."""
    card = next(card for card in list_cards() if card.name == "tiny-dino")
    name = 'head/"out":0\\ \x7f 漢'
    graph = Graph(
        {"frames": replace(card.graphs["image"].inputs["frames"], name=name)},
        {"embeds": Tensor(name, "float32", ('a "free" axis', 64))},
    )
    card = replace(card, graphs={"image": graph})
    assert parse_card(card_text(card), card.folder / "tiny-dino.toml") == card
