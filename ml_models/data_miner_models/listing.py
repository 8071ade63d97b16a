"""Which models there are: in folders, bundled, at the URI and in its cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data_miner_models import store
from data_miner_models.cache import ModelCache
from data_miner_models.cards import ModelCard, card_names, load_card
from data_miner_models.errors import ModelError, StoreError, UnknownModelError
from data_miner_models.store import Progress
from data_miner_models.stores import Stores


@dataclass(frozen=True, slots=True)
class Listed:
    """A model and where it is.

    Attributes:
        place: "folder" (bundled ones are in one, too), "store", or "cache" for a state of a model
            that the store has no more.
        cached: whether it is in the cache.
    """

    card: ModelCard
    place: str
    cached: bool


def list_models(stores: Stores, wrong: Callable[[ModelError], None]) -> Iterator[Listed]:
    """Every model that can be named here, and what else the cache has; of a store only cards are
    read. What cannot be read is told to `wrong`."""
    here = card_names(stores.folders)
    for name in here:
        try:
            yield Listed(load_card(name, stores.folders), "folder", cached=False)
        except ModelError as error:
            wrong(error)
    if not stores.uri:
        return
    cached = cached_models(stores)
    for card in _cards_there(stores.uri, set(here), wrong):
        yield Listed(card, "store", cached=cached.pop((card.name, card.digest), None) is not None)
    yield from (Listed(card, "cache", cached=True) for card in cached.values())


def cached_models(stores: Stores) -> dict[tuple[str, str], ModelCard]:
    """Models that are whole in the cache, by name and digest."""
    if not stores.uri:
        return {}
    cache = ModelCache(stores.cache, stores.cache_bytes)
    found = {(one.name, one.digest): cache.look(one) for one in cache.models() if one.whole}
    return {key: card for key, card in found.items() if card is not None}


def bring_card(name: str, stores: Stores, progress: Progress) -> ModelCard:
    """A model by its name, with its files on this machine: brought from the store if need be.

    Raises ModelError.
    """
    try:
        return load_card(name, stores.folders)
    except UnknownModelError:
        if not stores.uri:
            raise
    card, text = store.card_at(name, stores.uri)
    cache = ModelCache(stores.cache, stores.cache_bytes)
    found = cache.find(name, card.digest)
    return found or cache.bring(card, text, stores.uri, progress, lambda: None)


def _cards_there(
    uri: str, hidden: set[str], wrong: Callable[[ModelError], None]
) -> Iterator[ModelCard]:
    try:
        names = [name for name in store.published(uri) if name not in hidden]
        for name in names:
            try:
                yield store.card_at(name, uri)[0]
            except StoreError:
                raise
            except ModelError as error:
                wrong(error)
    except StoreError as error:
        wrong(error)  # it would be the same for each of them
