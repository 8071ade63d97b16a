"""What the core asks of models without running one: names, digests and preprocessing.

Registered under the entry point group ``data_miner.models``; imports no ONNX Runtime.
"""

from __future__ import annotations

from data_miner_models.cards import ModelCard, load_card, verify
from data_miner_models.errors import ModelError, StoreError, UnknownModelError
from data_miner_models.stores import Stores


def lookup(name: str, stores: Stores) -> dict[str, object]:
    """Facts of a model as plain data, without its files where those are at a URI.

    Raises LookupError with one line when it cannot be used, and ConnectionError with one where
    that cannot be told because the store at the URI cannot be asked.
    """
    try:
        card = _card(name, stores)
    except StoreError as error:
        raise ConnectionError(str(error)) from error
    except ModelError as error:
        raise LookupError(str(error)) from None
    return {
        "name": card.name,
        "digest": card.digest,
        "family": card.family,
        "preprocessing": card.preprocessing.facts,
    }


def _card(name: str, stores: Stores) -> ModelCard:
    try:
        card = load_card(name, stores.folders)
    except UnknownModelError as unknown:
        if not stores.uri:
            raise
        return _card_there(name, stores.uri, unknown)
    verify(card)
    return card


def _card_there(name: str, uri: str, unknown: UnknownModelError) -> ModelCard:
    """The card at a URI whose files are all there, as far as their sizes tell."""
    from data_miner_models import store  # noqa: PLC0415  # brings fsspec

    try:
        card, _ = store.card_at(name, uri)
    except UnknownModelError as error:
        raise UnknownModelError(f"{unknown}; {error}") from None
    store.check_there(card, uri)
    return card
