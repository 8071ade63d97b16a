"""Models that this process holds. Loading costs seconds, and a process serves many tasks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar, cast, get_args

from data_miner.stage import StageError
from data_miner_models.cards import ModelCard, load_card
from data_miner_models.detector import Detector
from data_miner_models.errors import ModelError
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.providers import Provider
from data_miner_models.text_encoder import TextEncoder

Model = TypeVar("Model")


class LoadedModels:
    """The models used last, by what they are made of and where they run.

    Args:
        threads: CPU threads of one model.
        capacity: how many stay loaded.
    """

    def __init__(self, *, threads: int = 1, capacity: int = 4) -> None:
        self._threads = threads
        self._capacity = capacity
        self._held: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = Lock()

    def image_encoder(self, card: ModelCard, provider: str) -> ImageEncoder:
        """`provider` is ``auto``, ``cpu`` or ``cuda``. Raises StageError("model_unusable"), as do
        the others."""
        return self._get(ImageEncoder, card, provider)

    def text_encoder(self, card: ModelCard, provider: str) -> TextEncoder:
        """The side of a model that reads prompts."""
        return self._get(TextEncoder, card, provider)

    def detector(self, card: ModelCard, provider: str, nms_iou: float) -> Detector:
        """A detector that suppresses boxes of one prompt that overlap by more than `nms_iou`."""
        return self._get(open_detector, card, provider, nms_iou=nms_iou)

    def _get(
        self, kind: Callable[..., Model], card: ModelCard, provider: str, **options: Any
    ) -> Model:
        if provider not in get_args(Provider):
            raise StageError(
                "model_unusable",
                f"provider {provider!r}: expected {', '.join(get_args(Provider))}",
                permanent=True,
            )
        key = (kind, card.digest, provider, *sorted(options.items()))
        with self._lock:
            if key not in self._held:
                try:
                    self._held[key] = kind(
                        card, threads=self._threads, provider=provider, **options
                    )
                except ModelError as error:
                    raise StageError("model_unusable", str(error), permanent=True) from error
                if len(self._held) > self._capacity:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            return cast(Model, self._held[key])


MODELS: Final = LoadedModels()
"""The one of this process."""


def find_card(name: str, digest: str, stores: Sequence[Path]) -> ModelCard:
    """The card that a recipe names.

    Raises StageError("model_unusable") when there is none, and StageError("model_changed") when it
    has other numbers than the recipe was made for: results would carry the wrong name.
    """
    try:
        card = load_card(name, stores)
    except ModelError as error:
        raise StageError("model_unusable", str(error), permanent=True) from error
    if card.digest != digest:
        raise StageError(
            "model_changed",
            f"model {name}: the one in {card.folder} has digest {card.digest[:16]}, the project "
            f"was made for {digest[:16]}; apply the project again or put the old model back",
            permanent=True,
        )
    return card
