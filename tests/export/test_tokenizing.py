"""Tokenizers without transformers give the ids that the published ones give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from data_miner_models.caption import captions, phrase_layout
from export.conftest import Exported
from support.checkpoints import CAPTIONS

LENGTHS = {"siglip": 64, "siglip2": 64, "owlv2": 16}
TEXTS = st.text(max_size=60) | st.lists(st.sampled_from(" ".join(CAPTIONS).split())).map(" ".join)
SETTINGS = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _both(exported: Exported, kind: str) -> tuple[Any, Tokenizer]:
    from transformers import AutoTokenizer

    card = exported.model(kind)
    published = AutoTokenizer.from_pretrained(exported.checkpoint(kind))
    return published, Tokenizer.from_file(str(card.path("tokenizer")))


@pytest.mark.parametrize("kind", LENGTHS)
def test_ids_are_the_published_ones(exported: Exported, kind: str) -> None:
    """Of any text: lower case, punctuation, padding and what is cut off included."""
    published, own = _both(exported, kind)
    length = LENGTHS[kind]

    @SETTINGS
    @given(TEXTS)
    def same(text: str) -> None:
        expected = published(text, padding="max_length", max_length=length, truncation=True)
        assert own.encode(text).ids == expected["input_ids"]

    same()


def test_captions_are_the_published_ones(exported: Exported) -> None:
    """Ids, phrases and places of GroundingDINO's own code, for any prompts."""
    import torch
    from transformers.models.grounding_dino import modeling_grounding_dino as published_code

    published, own = _both(exported, "grounding_dino")
    words = st.lists(st.sampled_from(" ".join(CAPTIONS).split()), min_size=1, max_size=5)

    @SETTINGS
    @given(st.lists(words.map(" ".join), min_size=1, max_size=6))
    def same(prompts: list[str]) -> None:
        clean = [" ".join(p.replace(".", " ").replace("?", " ").split()) for p in prompts]
        if not all(clean):
            return
        (caption,) = captions(own, prompts)
        expected = published(". ".join(clean) + ".")["input_ids"]
        assert caption.ids[0].tolist() == expected
        sees, places = published_code.generate_masks_with_special_tokens_and_transfer_map(
            torch.tensor([expected]), torch.tensor([101, 102, 1012, 1029])
        )
        assert caption.positions.tolist() == places.tolist()
        together = caption.phrases[0][:, None] == caption.phrases[0][None]
        assert together.tolist() == sees[0].tolist()

    same()


@pytest.mark.parametrize("ids", [[101, 7, 8, 102], [101, 1012, 102], [101, 7, 1012, 8, 102], [7]])
def test_texts_that_nobody_closed_are_parted_as_published(ids: list[int]) -> None:
    """Such as one prompt without its full stop."""
    import torch
    from transformers.models.grounding_dino import modeling_grounding_dino as published_code

    special = [101, 102, 1012, 1029]
    row = torch.tensor([ids])
    sees, places = published_code.generate_masks_with_special_tokens_and_transfer_map(
        row, torch.tensor(special)
    )
    phrases, positions = phrase_layout(row.numpy(), special)
    assert positions.tolist() == places.tolist()
    assert (phrases[0][:, None] == phrases[0][None]).tolist() == sees[0].tolist()


def test_a_tokenizer_is_one_file(exported: Exported) -> None:
    """Which the tokenizers library reads alone."""
    assert Path(exported.model("siglip").path("tokenizer")).suffix == ".json"
