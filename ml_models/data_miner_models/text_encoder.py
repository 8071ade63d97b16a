"""Prompts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data_miner_models.cards import ModelCard, verify
from data_miner_models.errors import ModelError
from data_miner_models.image_encoder import check_length, check_unit
from data_miner_models.providers import Choice, Provider
from data_miner_models.runtime import open_session


class TextEncoder:
    """Encodes the prompts of a siglip or open-vocabulary model.

    The tokenizer file lower-cases, truncates and pads as the model was trained. Prompts run one by
    one: there are few, they are cached by their callers, and so no prompt depends on another.

    Raises:
        ModelError: as `open_session`; also where the tokenizer does not fit the graph.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        threads: int = 1,
        provider: Provider = "auto",
        engines: Path | None = None,
    ) -> None:
        self.card = card
        self._session = open_session(
            card, "text", provider=provider, threads=threads, engines=engines
        )
        self._length = card.graphs["text"].inputs["ids"].shape[1]
        self._tokenizer = open_tokenizer(card)

    @property
    def choice(self) -> Choice:
        """Where it runs, after "auto" has chosen."""
        return self._session.choice

    def __call__(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (K, dimension), one row a prompt."""
        vectors = np.empty((len(prompts), self.card.dimension), np.float32)
        for row, prompt in zip(vectors, prompts, strict=True):
            found = self._session.run(ids=self._tokenise(prompt))["embeds"]
            check_length(found, self.card)
            row[:] = found[0]
        check_unit(vectors, self.card)
        return vectors

    def _tokenise(self, prompt: str) -> NDArray[np.int64]:
        ids = self._tokenizer.encode(prompt).ids
        if len(ids) != self._length:
            raise ModelError(
                f"model {self.card.name}: the tokenizer gives {len(ids)} ids, "
                f"the graph takes {self._length}"
            )
        return np.array([ids], np.int64)


def open_tokenizer(card: ModelCard) -> Tokenizer:
    """The model's tokenizer. Raises ModelError where the file is none, or not the card's."""
    path = card.path("tokenizer")
    verify(card, {"tokenizer"})
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises plain Exception for a file that it cannot read.
        raise ModelError(f"model {card.name}: {path} is no tokenizer: {error}") from error
