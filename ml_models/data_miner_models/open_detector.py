"""The detector that a model needs."""

from __future__ import annotations

from pathlib import Path

from data_miner_models.cards import ModelCard
from data_miner_models.detector import Detector
from data_miner_models.grounded_detector import GroundedDetector
from data_miner_models.providers import Provider
from data_miner_models.split_detector import SplitDetector


def open_detector(
    card: ModelCard,
    *,
    threads: int = 1,
    provider: Provider = "auto",
    engines: Path | None = None,
    nms_iou: float = 0.5,
) -> Detector:
    """Load a model that finds boxes; boxes of one prompt overlap by at most `nms_iou`.

    Raises ModelError as `open_session`, and for a model that finds none.
    """
    kind = GroundedDetector if card.family == "grounded" else SplitDetector
    return kind(card, threads=threads, provider=provider, engines=engines, nms_iou=nms_iou)
