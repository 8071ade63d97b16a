"""Finds models for the compiler without importing the package that runs them.

The models package registers a plain-data lookup under the entry point group
``data_miner.models``; the core only knows names, digests and preprocessing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from data_miner.compiler import ModelInfo, ModelLookup
from data_miner.errors import DataMinerError

GROUP = "data_miner.models"


class ModelNotFoundError(DataMinerError):
    """The spec names a model that no store has, or one whose files are not what its card says."""

    exit_code = 6


def model_lookup(stores: Sequence[Path]) -> ModelLookup:
    """A lookup over the given stores and the bundled models; answers are kept for its lifetime."""
    providers = [point.load() for point in entry_points(group=GROUP)]

    @functools.cache
    def find(name: str) -> ModelInfo:
        problems = []
        for provider in providers:
            try:
                return ModelInfo(**provider(name, stores))
            except LookupError as error:
                problems.append(str(error.args[0]))
        raise ModelNotFoundError("; ".join(problems) or f"model {name!r}: no models are installed")

    return find
