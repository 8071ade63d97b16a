"""Phrases for training, and the tokenizer that is learned from them."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from demo.vocabulary import ANY, COLOUR_NAMES, TEXTURE_NAMES, Look, phrase

TEXT_LENGTH = 16


def sample_wording(rng: random.Random, wanted: Look) -> str:
    """One of the ways in which people write a prompt for this look."""
    plain = phrase(wanted)
    bare = plain.split(" ", 1)[1]
    forms = [plain] * 3
    forms += [bare, f"a photo of {plain}", f"a picture of {plain}", f"this is {plain}"]
    if wanted.shape == ANY:
        word = (
            COLOUR_NAMES[wanted.colour] if wanted.colour != ANY else TEXTURE_NAMES[wanted.texture]
        )
        forms += [f"something {word}", word, plain.replace("shape", "object")]
    return rng.choice(forms)


def sample_looks(rng: random.Random, present: Sequence[Look], count: int) -> list[Look]:
    """Looks to ask for: what is present, near misses of it, and anything else."""
    return [_open_attributes(rng, _sample_full_look(rng, present)) for _ in range(count)]


def _sample_full_look(rng: random.Random, present: Sequence[Look]) -> Look:
    if not present or rng.random() >= 0.6:
        return Look(rng.randrange(8), rng.randrange(8), rng.randrange(3))
    chosen = rng.choice(present)
    if rng.random() >= 0.4:
        return chosen
    # Texture twice: it is the hardest attribute to see, so its near misses teach most.
    match rng.choice(("colour", "shape", "texture", "texture")):
        case "colour":
            return chosen._replace(colour=rng.randrange(8))
        case "shape":
            return chosen._replace(shape=rng.randrange(8))
    return chosen._replace(texture=rng.randrange(3))


def _open_attributes(rng: random.Random, full: Look) -> Look:
    forms = (
        full._replace(texture=ANY),
        full,
        full._replace(colour=ANY),
        Look(shape=full.shape),
        Look(colour=full.colour),
        Look(texture=full.texture),
    )
    return rng.choices(forms, weights=(34, 26, 20, 7, 6, 7))[0]


def train_tokenizer(path: Path) -> Tokenizer:
    """A byte-pair tokenizer of at most 384 pieces; ids are padded with 0 to TEXT_LENGTH."""
    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    corpus = [sample_wording(rng, wanted) for wanted in sample_looks(rng, [], 4000)]
    letters = string.ascii_lowercase + string.digits
    corpus += [letters, " ".join(letters)]
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<pad>", "<unk>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.enable_padding(length=TEXT_LENGTH)
    tokenizer.enable_truncation(TEXT_LENGTH)
    tokenizer.save(str(path))
    return tokenizer
