"""What the core asks of models without running one: names, digests and preprocessing.

Registered under the entry point group ``data_miner.models``; imports no ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_miner_models.cards import load_card, verify
from data_miner_models.errors import ModelError


def lookup(name: str, stores: Sequence[Path]) -> dict[str, object]:
    """Facts of a model as plain data. Raises LookupError with one line when it cannot be used."""
    try:
        card = load_card(name, stores)
        verify(card)
    except ModelError as error:
        raise LookupError(str(error)) from None
    return {
        "name": card.name,
        "digest": card.digest,
        "family": card.family,
        "preprocessing": card.preprocessing.facts,
    }
