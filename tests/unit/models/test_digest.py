"""The model digest: it changes with the numbers, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_miner_models.cards import ModelCard, ModelFile, Scoring, Tensor, load_card
from data_miner_models.preprocessing import Preprocessing

CARD = load_card("tiny-siglip")
assert CARD.scoring is not None
IMAGE = CARD.graphs["image"]
OTHER_FILE = ModelFile("tiny/image.onnx", "0" * 64, CARD.files["image"].bytes)
OTHER_OUTPUT = replace(IMAGE, outputs={"embeds": Tensor("dedup_embeds", "float32", ("batch", 64))})


@pytest.mark.parametrize(
    "changed",
    [
        replace(CARD, files={**CARD.files, "image": OTHER_FILE}),
        replace(CARD, family="open-vocabulary"),
        replace(CARD, preprocessing=Preprocessing("pad", 72, 128, "bilinear")),
        replace(CARD, preprocessing=Preprocessing("squash", 72, 128, "bicubic")),
        replace(CARD, graphs={**CARD.graphs, "image": OTHER_OUTPUT}),
        replace(CARD, dimension=64),
        replace(CARD, scoring=Scoring(CARD.scoring.scale, CARD.scoring.bias + 1e-6)),
        replace(CARD, scoring=None),
    ],
)
def test_what_decides_the_numbers_is_in_the_digest(changed: ModelCard) -> None:
    """Another file, preprocessing, output, dimension or scoring is another model."""
    assert changed.digest != CARD.digest


@pytest.mark.parametrize(
    "same",
    [
        replace(CARD, name="renamed"),
        replace(CARD, folder=Path("/elsewhere")),
        replace(CARD, summary="Better words."),
        replace(CARD, warning=None),
        replace(CARD, metrics={}),
        replace(CARD, files=dict(reversed(list(CARD.files.items())))),
    ],
)
def test_words_and_places_are_not_in_the_digest(same: ModelCard) -> None:
    """The same numbers under another name, in another folder, have the same digest."""
    assert same.digest == CARD.digest


def test_models_that_share_files_have_different_digests() -> None:
    """Two contracts over one ONNX file are two models."""
    digests = {load_card(n).digest for n in ("tiny-siglip", "tiny-dino", "tiny-detector")}
    assert len(digests) == 3
