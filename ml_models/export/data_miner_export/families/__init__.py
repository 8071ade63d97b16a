"""The architectures that can be made into models, by what their config calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from data_miner_export.checkpoint import Checkpoint, Parts
from data_miner_export.families import dino, grounding_dino, owlv2, siglip
from data_miner_models.errors import ModelError


@dataclass(frozen=True)
class Architecture:
    """How one is taken apart, and what is said of it."""

    title: str
    parts: Callable[[Checkpoint], Parts]


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "siglip": Architecture("SigLIP, SigLIP 2 of fixed resolution", siglip.parts),
    "dinov2": Architecture("DINOv2", dino.parts),
    "dinov3_vit": Architecture("DINOv3", dino.parts),
    "owlv2": Architecture("OWLv2", owlv2.parts),
    "grounding-dino": Architecture("GroundingDINO", grounding_dino.parts),
    "mm-grounding-dino": Architecture("MM-GroundingDINO, LLMDet", grounding_dino.parts),
}

_WHY_NOT: Final[Mapping[str, str]] = {
    "siglip2": "SigLIP 2 of variable resolution (NaFlex) cannot be traced for more than one size: "
    "use a checkpoint of fixed resolution, such as siglip2-base-patch16-256",
}


def take_apart(checkpoint: Checkpoint) -> Parts:
    """The graphs of a checkpoint. Raises ModelError where its architecture is not known."""
    kind = checkpoint.model_type
    if kind in _WHY_NOT:
        raise ModelError(f"{checkpoint.folder}: {_WHY_NOT[kind]}")
    if kind not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelError(
            f"{checkpoint.folder}: model_type {kind!r} is not supported; supported are {known}"
        )
    return ARCHITECTURES[kind].parts(checkpoint)
