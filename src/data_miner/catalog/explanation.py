"""What is known of one image, and how it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from data_miner.outside import shown

MOST_NAMES: Final = 6
"""So many names stand in a line for people; all of them are in the data."""


@dataclass(frozen=True, slots=True)
class Box:
    """An object that was found in the image."""

    class_name: str
    detector: str
    """Name of a model, or ``merged``: what the detectors agreed on."""
    score: float
    agreement: int
    box_xyxy: tuple[float, float, float, float]
    """Corners in pixels of the image."""


@dataclass(frozen=True, slots=True)
class Version:
    """A dataset version that holds the image."""

    version: int
    digest: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one project did with the frame."""

    project: str
    """``namespace/name``."""
    wave: int
    source_sha256: str | None
    pts_seconds: float | None
    verdict: str
    """``kept``, ``duplicate``, ``beyond_target``, ``undecided``, or ``refused:`` and why."""
    scores: Mapping[str, float]
    """Best score in each list of prompts that the project has."""
    thresholds: Mapping[str, float]
    best_prompt: str | None
    sharpness: float | None
    representative: str | None
    """The image that was kept in its place; None when it stands for itself."""
    cosine: float | None
    stands_for: tuple[str, ...]
    """Frames that were left out because of this one."""
    boxes: tuple[Box, ...]
    split: str | None
    left_out: str | None
    """Why the newest version does not have it although it was kept; None otherwise."""
    versions: tuple[Version, ...]
    """Newest first."""
    recipes: Mapping[str, str]
    """Fingerprints by stage."""
    models: Mapping[str, str]
    """Digests by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where an image comes from, and what each project made of it."""

    image: str
    video_id: str
    frame: int
    """0-based, in the order of presentation."""
    pts_seconds: float | None
    url: str
    title: str | None
    licence: str | None
    uses: tuple[Use, ...]

    def text(self) -> str:
        """Lines for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        at = "" if self.pts_seconds is None else f" at {self.pts_seconds:.3f} s"
        yield f"{self.image}: frame {self.frame}{at} of {shown(self.title or self.video_id)}"
        yield f"  {shown(self.url)}"
        if self.licence:
            yield f"  licence: {shown(self.licence)}"
        for use in self.uses:
            yield from _use_lines(use)


def _use_lines(use: Use) -> Iterator[str]:
    yield f"{use.project}: {use.verdict} (wave {use.wave})"
    for name, score in use.scores.items():
        limit = use.thresholds.get(name)
        against = "" if limit is None else f" (threshold {limit:g})"
        prompt = f" for {use.best_prompt!r}" if name == "positive" and use.best_prompt else ""
        yield f"  {name}: {score:.4f}{against}{prompt}"
    if use.sharpness is not None:
        yield f"  sharpness: {use.sharpness:.1f}"
    if use.representative:
        how = "" if use.cosine is None else f", cosine {use.cosine:.4f}"
        yield f"  too much like {use.representative}{how}"
    if use.stands_for:
        yield f"  stands for {_some(use.stands_for)}"
    for box in use.boxes:
        corners = ", ".join(f"{corner:.1f}" for corner in box.box_xyxy)
        yield f"  {box.class_name} {box.score:.3f} by {box.detector} at ({corners})"
    if use.left_out:
        yield f"  not in the newest version: {use.left_out}"
    for version in use.versions:
        yield f"  in version {version.version} ({version.digest[:16]}), {use.split}: {version.uri}"
    models = ", ".join(f"{name} {digest[:12]}" for name, digest in use.models.items())
    if models:
        yield f"  models: {models}"


def _some(names: Sequence[str]) -> str:
    count = f"{len(names)} other" + ("" if len(names) == 1 else "s")
    more = "" if len(names) <= MOST_NAMES else f" and {len(names) - MOST_NAMES} more"
    return f"{count}: {', '.join(names[:MOST_NAMES])}{more}"
