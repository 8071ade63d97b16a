"""A checkpoint in Hugging Face's layout: a folder with config.json, weights and processors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from data_miner_export.failing import said, step
from data_miner_export.graph import GraphSpec, described
from data_miner_export.tokenizing import Words, read_words
from data_miner_models.cards import Family, Graph, Scoring
from data_miner_models.errors import ModelError
from data_miner_models.preprocessing import Preprocessing, Resample

_RESAMPLE: Final[Mapping[int, Resample]] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which processors are stored with."""


@dataclass(frozen=True)
class Parts:
    """What a family makes of a checkpoint; precision and files are added later.

    Attributes:
        halves: whether half precision keeps what it finds.
    """

    family: Family
    graphs: tuple[GraphSpec, ...]
    preprocessing: Preprocessing
    dimension: int
    scoring: Scoring | None = None
    tokenizer: Words | None = None
    halves: bool = True


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a checkpoint in it.

    Attributes:
        folder: with config.json, weights, and processors in the layout of the hub.
    """

    folder: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json. Raises ModelError where it is missing or no object."""
        return self._json("config.json")

    @property
    def model_type(self) -> str:
        """What the config calls the architecture; empty where it does not say."""
        return str(self.config.get("model_type", ""))

    def load(self, kind: Any) -> Any:
        """The model in single precision, for reading only.

        Raises ModelError where weights are missing or do not fit the config.
        """
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415  # seconds

        # Reading takes seconds; what takes minutes is said in words.
        disable_progress_bar()
        with step(str(self.folder)):
            model, report = kind.from_pretrained(
                self.folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        missing = sorted(report["missing_keys"])
        if missing:
            # A model with made-up weights gives numbers, and they mean nothing.
            raise ModelError(
                f"{self.folder}: {len(missing)} weights are missing, {missing[0]} is one of them"
            )
        return model.eval().requires_grad_(False)

    def preprocessing(self) -> tuple[Preprocessing, Sequence[float], Sequence[float]]:
        """How frames become the model's pixels, and the mean and deviation to normalise them by.

        Raises ModelError for a processor that is not known here.
        """
        found = self._processor()
        try:
            return _preprocessing(found), found["image_mean"], found["image_std"]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.folder}: the image processor {found.get('image_processor_type', '')} "
                f"cannot be followed: {said(error)}"
            ) from error

    def tokenizer(self) -> Words:
        """The tokenizer of the checkpoint. Raises ModelError where there is none."""
        return read_words(self.folder)

    @staticmethod
    def frames(count: int, height: int, width: int, seed: int) -> Tensor:
        """uint8 (count, height, width, 3), noise upon colours that differ from frame to frame."""
        noise = torch.Generator().manual_seed(seed)
        colours = torch.randint(0, 200, (count, 1, 1, 3), generator=noise)
        grain = torch.randint(0, 56, (count, height, width, 3), generator=noise)
        return (colours + grain).to(torch.uint8)

    @staticmethod
    def ids(count: int, length: int, vocabulary: int, seed: int) -> Tensor:
        """int64 (count, length), any ids of the vocabulary."""
        noise = torch.Generator().manual_seed(seed)
        return torch.randint(0, vocabulary, (count, length), generator=noise)

    def _processor(self) -> Mapping[str, Any]:
        if (self.folder / "preprocessor_config.json").exists():
            return self._json("preprocessor_config.json")
        inner = self._json("processor_config.json").get("image_processor")
        if not isinstance(inner, dict):
            raise ModelError(f"{self.folder}: processor_config.json says nothing of images")
        return inner

    def _json(self, name: str) -> Mapping[str, Any]:
        try:
            content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(f"{self.folder}: {name}: {error.strerror}") from None
        except ValueError as error:
            raise ModelError(f"{self.folder}: {name} is no JSON: {error}") from None
        if not isinstance(content, dict):
            raise ModelError(f"{self.folder}: {name} is no JSON object")
        return content


def image_encoder(
    module: nn.Module,
    reference: Callable[[Tensor], Tensor],
    preprocessing: Preprocessing,
    dimension: int,
) -> GraphSpec:
    """The graph of an encoder of pictures: uint8 renders in, a unit vector each.

    `reference` gives the published vectors, of any length, for renders.
    """
    height, width = preprocessing.height, preprocessing.width
    return GraphSpec(
        role="image",
        module=module,
        reference=lambda frames: {"embeds": nn.functional.normalize(reference(frames), dim=-1)},
        example=lambda count, seed: (Checkpoint.frames(count, height, width, seed),),
        graph=Graph(
            {"frames": described("frames", "uint8", "batch", height, width, 3)},
            {"embeds": described("image_embeds", "float32", "batch", dimension)},
        ),
        batches=(1, 2, 3, 16),
    )


def _preprocessing(found: Mapping[str, Any]) -> Preprocessing:
    if not found.get("do_rescale", True) or not found.get("do_normalize", True):
        raise ValueError("it does not normalise")
    if abs(found.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise ValueError("it scales by another factor than 1/255")
    kind = str(found.get("image_processor_type", "")).removesuffix("Fast").removesuffix("Pil")
    size = found["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size}
    if kind == "Owlv2ImageProcessor":
        return Preprocessing("pad", size["height"], size["width"], "gaussian")
    resample = _RESAMPLE[int(found["resample"])]
    if "longest_edge" in size:
        return Preprocessing("shortest-side", size["shortest_edge"], size["longest_edge"], resample)
    if found.get("do_center_crop"):
        crop = found["crop_size"]
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        if "shortest_edge" not in size:
            raise ValueError("it crops what it has squashed")
        return Preprocessing(
            "shortest-side-crop",
            crop["height"],
            crop["width"],
            resample,
            shortest_side=size["shortest_edge"],
        )

    return Preprocessing("squash", size["height"], size["width"], resample)
