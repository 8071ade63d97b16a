"""What the report says, before it is a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_miner_worker.told import Trouble


@dataclass(frozen=True, slots=True)
class Picture:
    """A small JPEG as a data URI, and the shape in which it is to be seen.

    Attributes:
        aspect: width by height of the frame; the picture may be stretched.
    """

    uri: str
    aspect: float


@dataclass(frozen=True, slots=True)
class ShownBox:
    """A box in shares of the image's width and height."""

    class_index: int
    x: float
    y: float
    width: float
    height: float
    score: float
    agreement: int


@dataclass(frozen=True, slots=True)
class ShownImage:
    """One image of the contact sheet."""

    picture: Picture
    name: str
    split: str
    seconds: float
    scores: Mapping[str, float]
    best_prompt: str | None
    boxes: tuple[ShownBox, ...]
    duplicates: int


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of the funnel; steps of one `unit` are compared with each other."""

    label: str
    count: int
    unit: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """How scores are spread.

    Attributes:
        kind: positive, negative or junk.
        low, high: the range; bins are equally wide.
        kept, dropped: frames by bin.
        threshold: the line that the project draws.
        keeps_above: whether what lies above it is wanted.
    """

    kind: str
    low: float
    high: float
    kept: Sequence[int]
    dropped: Sequence[int]
    threshold: float
    keeps_above: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A frame of a cluster; without a picture where its pixels are gone."""

    picture: Picture | None
    video_id: str
    frame: int
    seconds: float
    cosine: float | None
    """With the kept frame; None for the kept frame itself."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Near-duplicates, the kept one first.

    Attributes:
        size: all frames, also those that are not among the members shown.
    """

    members: tuple[Member, ...]
    size: int


@dataclass(frozen=True, slots=True)
class VideoLine:
    """One row of the list of videos."""

    video_id: str
    title: str
    licence: str
    split: str
    images: int


@dataclass(frozen=True, slots=True)
class Content:
    """Everything on the page. Text in it may come from strangers."""

    project: str
    digest: str
    wave: int | None
    classes: tuple[str, ...]
    image_count: int
    box_count: int
    bytes: int
    splits: Mapping[str, int]
    empty_splits: tuple[str, ...]
    """Those that were to have images and have none."""
    boxes_by_class: Mapping[str, Mapping[str, int]]
    """By class, then split."""
    steps: tuple[Step, ...]
    rejected: Mapping[str, int]
    """Frames that the filter dropped, by reason."""
    shown: tuple[ShownImage, ...]
    histograms: tuple[Histogram, ...]
    clusters: tuple[Cluster, ...]
    cluster_count: int
    troubles: tuple[Trouble, ...]
    left_out: Mapping[str, int]
    """Kept frames that are no images, by reason."""
    costs: Mapping[str, float]
    """Totals by name."""
    videos: tuple[VideoLine, ...]
    video_count: int
    prompts: Mapping[str, Sequence[str]]
    models: Mapping[str, str]
    """Role to name."""
