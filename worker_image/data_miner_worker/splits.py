"""Which images are for training, validation and test, without a leak between them.

What is alike goes together: videos are linked when they hold the same bytes, come from the same
upload group, or have frames that look alike; dropped near-duplicates link as well as kept frames.
A connected component goes to one split as a whole, and stays there in every later version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Unit:
    """One video as the split sees it.

    Attributes:
        video_id: its name.
        source_sha256: its content; gives the canonical order.
        images: how many images it brings to the dataset; 0 for one that only links others.
        group: its upload group; None for none.
        earlier: the split that an earlier version gave it; None for a newcomer.
    """

    video_id: str
    source_sha256: str
    images: int
    group: str | None = None
    earlier: str | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """Who goes where.

    Attributes:
        splits: by video_id; every video of a component that has images.
        bridging: videos that are left out because they are linked to two splits, sorted.
    """

    splits: Mapping[str, str]
    bridging: tuple[str, ...]


def divide(
    units: Sequence[Unit],
    links: Sequence[tuple[str, str]],
    ratios: Mapping[str, float],
) -> Division:
    """Assign every video.

    Videos that have a split come first, then newcomers, each in the order of their content. One
    that is linked to videos of two splits is left out: taking it in would leak. Components without
    a split get, in the order of their first member, the split that lacks most of its share.

    Args:
        units: the videos, in any order.
        links: pairs of video_ids that look alike, in any order.
        ratios: share of each split; those with 0 get nothing new.
    """
    alike = _neighbours(units, links)
    components = _Components()
    bridging = [
        unit.video_id
        for unit in sorted(units, key=_canonical)
        if not components.place(unit, alike[unit.video_id])
    ]
    images = dict.fromkeys(SPLITS, 0)
    for component in components.members:
        if component.split is not None:
            images[component.split] += component.images
    for component in components.members:
        if component.split is None and component.images:
            component.split = _most_lacking(images, component.images, ratios)
            images[component.split] += component.images
    return Division(
        {
            video_id: component.split
            for component in components.members
            if component.split is not None
            for video_id in component.video_ids
        },
        tuple(sorted(bridging)),
    )


def _canonical(unit: Unit) -> tuple[bool, str, str]:
    return unit.earlier is None, unit.source_sha256, unit.video_id


def _neighbours(
    units: Sequence[Unit], links: Sequence[tuple[str, str]]
) -> dict[str, frozenset[str]]:
    """Videos that each video is directly linked to, by appearance, content or group."""
    alike: dict[str, set[str]] = {unit.video_id: set() for unit in units}
    for one, other in links:
        alike[one].add(other)
        alike[other].add(one)
    kinds: dict[tuple[str, str], list[str]] = {}
    for unit in units:
        kinds.setdefault(("content", unit.source_sha256), []).append(unit.video_id)
        if unit.group is not None:
            kinds.setdefault(("group", unit.group), []).append(unit.video_id)
    for together in kinds.values():
        for video_id in together:
            alike[video_id].update(together)
    return {video_id: frozenset(others - {video_id}) for video_id, others in alike.items()}


@dataclass(slots=True, eq=False)
class _Component:
    video_ids: list[str]
    images: int
    split: str | None


class _Components:
    """Components so far, in the order of their first members."""

    def __init__(self) -> None:
        self._of: dict[str, _Component] = {}

    @property
    def members(self) -> list[_Component]:
        return list(dict.fromkeys(self._of.values()))

    def place(self, unit: Unit, alike: frozenset[str]) -> bool:
        """Take a video in and join what it links; False when that would join two splits."""
        touched = list({id(c): c for c in (self._of[v] for v in alike if v in self._of)}.values())
        splits = {c.split for c in touched} | {unit.earlier}
        splits.discard(None)
        if len(splits) > 1:
            return False
        joined = touched[0] if touched else _Component([], 0, None)
        joined.split = next(iter(splits), None)
        for other in touched[1:]:
            joined.video_ids += other.video_ids
            joined.images += other.images
            for video_id in other.video_ids:
                self._of[video_id] = joined
        joined.video_ids.append(unit.video_id)
        joined.images += unit.images
        self._of[unit.video_id] = joined
        return True


def _most_lacking(images: Mapping[str, int], more: int, ratios: Mapping[str, float]) -> str:
    """The split that lacks most images of its share of the total after `more`; of equals the first.

    Fractions of the ratios' decimal text, so that 0.1 * 10 lacks exactly 1.
    """
    total = sum(images.values()) + more
    open_splits = [split for split in SPLITS if ratios[split] > 0]
    return max(
        open_splits,
        key=lambda split: (
            Fraction(repr(ratios[split])) * total - images[split],
            -SPLITS.index(split),
        ),
    )
