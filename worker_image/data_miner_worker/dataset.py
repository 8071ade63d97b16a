"""What a dataset version consists of, before any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_miner_worker.splits import SPLITS


@dataclass(frozen=True, slots=True)
class Label:
    """A box around an object.

    Attributes:
        class_index: index into the dataset's classes.
        box_xyxy: pixels of the image, two decimals.
        score: 0..1, six decimals.
        agreement: how many detectors found it.
    """

    class_index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    agreement: int


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """One image of the dataset and why it is there.

    Attributes:
        name: file name, ``{video_id}_{frame:06d}.jpg``.
        scores: ``positive``, ``negative``, ``junk``: the best score in each list of prompts; only
            those that the project has.
        best_prompt: the positive prompt that fits best; None without a filter.
        duplicates: how many near-duplicates it stands for.
        labels: boxes; None when nobody looked for objects, which is not the same as none found.
    """

    name: str
    split: str
    video_id: str
    source_sha256: str
    frame: int
    pts_seconds: float
    width: int
    height: int
    bytes: int
    sha256: str
    sharpness: float
    scores: Mapping[str, float]
    best_prompt: str | None
    duplicates: int
    labels: tuple[Label, ...] | None

    @property
    def path(self) -> str:
        """Where it lies in the dataset."""
        return f"images/{self.split}/{self.name}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A kept frame that is not in the dataset, and why: ``cut_failed``, ``detect_failed`` or
    ``bridges_splits``."""

    video_id: str
    frame: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version.

    Attributes:
        classes: names in label order; empty when nothing is labelled.
        images: sorted by name.
        video_splits: by video_id, also of videos that bring no image but link others.
        left_out: sorted by video and frame.
        spec: the parts of the project that decided the content, model digests included.
    """

    classes: tuple[str, ...]
    images: tuple[DatasetImage, ...]
    video_splits: Mapping[str, str]
    left_out: tuple[LeftOut, ...]
    spec: Mapping[str, Any]

    @property
    def is_labelled(self) -> bool:
        """Whether detectors looked at the images."""
        return bool(self.classes)

    def of_split(self, split: str) -> tuple[DatasetImage, ...]:
        """The images of one split, sorted by name."""
        return tuple(image for image in self.images if image.split == split)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Images by split."""
        return {split: len(self.of_split(split)) for split in SPLITS}

    @property
    def empty_splits(self) -> tuple[str, ...]:
        """Splits that were to have a share and have no image: too few videos are unlike."""
        sizes, shares = self.split_sizes, self.spec.get("splits", {})
        return tuple(split for split in SPLITS if shares.get(split) and not sizes[split])

    @property
    def boxes(self) -> int:
        """All boxes."""
        return sum(len(image.labels or ()) for image in self.images)
