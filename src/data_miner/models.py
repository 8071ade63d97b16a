"""Finds models for the compiler without importing the package that runs them.

The models package registers a plain-data lookup under the entry point group
``data_miner.models``; the core only knows names, digests and preprocessing.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from data_miner.compiler import ModelInfo, ModelLookup
from data_miner.errors import DataMinerError, StorageError
from data_miner.model_stores import ModelStores

GROUP = "data_miner.models"


class ModelNotFoundError(DataMinerError):
    """The spec names a model that no store has, or one whose files are not what its card says."""

    exit_code = 6


class ModelStoreError(StorageError):
    """The store at a URI cannot be asked: whether it has a model is not known."""


def model_lookup(stores: ModelStores) -> ModelLookup:
    """A lookup over the given stores and the bundled models; answers are kept for its lifetime.

    It raises ModelNotFoundError, and ModelStoreError where that cannot be told. Of a store at a
    URI it reads a card and asks for the files' sizes, never for the files.
    """
    providers = [point.load() for point in entry_points(group=GROUP)]

    @functools.cache
    def find(name: str) -> ModelInfo:
        problems = []
        for provider in providers:
            try:
                return ModelInfo(**provider(name, stores))
            except LookupError as error:
                problems.append(str(error.args[0]))
            except ConnectionError as error:
                raise ModelStoreError(str(error)) from None
        raise ModelNotFoundError("; ".join(problems) or f"model {name!r}: no models are installed")

    return find
