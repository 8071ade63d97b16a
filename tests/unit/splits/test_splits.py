"""Splits never leak, never change, and come close to the ratios."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_miner_worker.links import alike_videos
from data_miner_worker.near import Directions, cosines
from data_miner_worker.splits import SPLITS, Unit, divide

RATIOS = {"train": 0.8, "val": 0.1, "test": 0.1}


def video(name: str, images: int = 10, **more: str) -> Unit:
    return Unit(name, f"sha-{name}", images, **more)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Unit], list[tuple[str, str]]]:
    count = draw(st.integers(1, 14))
    names = [f"v{index}" for index in range(count)]
    units = [
        Unit(
            name,
            f"sha{draw(st.integers(0, 20))}",
            draw(st.integers(0, 9)),
            draw(st.none() | st.sampled_from(["g", "h"])),
        )
        for name in names
    ]
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    return units, [(a, b) for a, b in draw(st.lists(pairs, max_size=10)) if a != b]


def linked(one: Unit, other: Unit, links: list[tuple[str, str]]) -> bool:
    return (
        one.source_sha256 == other.source_sha256
        or (one.group is not None and one.group == other.group)
        or (one.video_id, other.video_id) in links
        or (other.video_id, one.video_id) in links
    )


def leaks(units: list[Unit], links: list[tuple[str, str]], splits: dict[str, str]) -> bool:
    placed = [unit for unit in units if unit.video_id in splits]
    return any(
        linked(one, other, links) and splits[one.video_id] != splits[other.video_id]
        for one in placed
        for other in placed
    )


@given(world=worlds(), seed=st.integers(0, 99))
def test_a_first_version_leaves_nobody_out_and_never_leaks(
    world: tuple[list[Unit], list[tuple[str, str]]], seed: int
) -> None:
    """Without an earlier version every video with images has a split, whatever their order."""
    units, links = world
    division = divide(units, links, RATIOS)

    assert division.bridging == ()
    assert {u.video_id for u in units if u.images} <= set(division.splits)
    assert not leaks(units, links, dict(division.splits))
    shuffled = random.Random(seed).sample(units, len(units))
    backwards = [(b, a) for a, b in reversed(links)]
    assert division == divide(shuffled, backwards, RATIOS)


@given(world=worlds(), earlier=st.integers(1, 13))
def test_a_video_keeps_its_split_and_newcomers_never_leak(
    world: tuple[list[Unit], list[tuple[str, str]]], earlier: int
) -> None:
    """A second version moves no video; who has images is placed, or left out as a bridge."""
    units, links = world
    old = units[:earlier]
    names = {unit.video_id for unit in old}
    first = divide(old, [(a, b) for a, b in links if a in names and b in names], RATIOS)
    again = [
        Unit(u.video_id, u.source_sha256, u.images, u.group, first.splits.get(u.video_id))
        for u in units
    ]

    second = divide(again, links, RATIOS)

    assert first.splits.items() <= second.splits.items()
    assert not leaks(units, links, dict(second.splits))
    with_images = {u.video_id for u in units if u.images}
    assert with_images <= set(second.splits) | set(second.bridging)
    assert not set(second.splits) & set(second.bridging)


def test_a_newcomer_that_bridges_two_splits_is_left_out() -> None:
    """A video linked to training and to test goes nowhere."""
    units = [video("a", earlier="train"), video("b", earlier="test"), video("c")]

    division = divide(units, [("a", "c"), ("c", "b")], RATIOS)

    assert division.splits == {"a": "train", "b": "test"}
    assert division.bridging == ("c",)


def test_a_dropped_frame_links_as_well() -> None:
    """A video without images still carries a link between two others of the first version."""
    units = [video("a"), video("b"), video("c", images=0)]

    splits = divide(units, [("a", "c"), ("c", "b")], RATIOS).splits

    assert len(set(splits.values())) == 1
    assert {"a", "b", "c"} == set(splits)


def test_groups_and_equal_content_go_together() -> None:
    """Videos of one upload group, and copies of one file, share a split."""
    units = [
        Unit("a", "1", 5, "shop"),
        Unit("b", "2", 5, "shop"),
        Unit("c", "3", 5),
        Unit("d", "3", 5),
    ]

    splits = divide(units, [], RATIOS).splits

    assert splits["a"] == splits["b"]
    assert splits["c"] == splits["d"]


def test_ratios_are_approached() -> None:
    """With many small videos each split is within one video of its share."""
    units = [video(f"{index:03}", images=5) for index in range(100)]

    splits = divide(units, [], RATIOS).splits

    assert [list(splits.values()).count(split) for split in SPLITS] == [80, 10, 10]


def test_a_split_with_ratio_zero_stays_empty() -> None:
    """A share of nothing gets nothing."""
    splits = divide(
        [video(f"{i}") for i in range(20)], [], {"train": 0.5, "val": 0.5, "test": 0.0}
    ).splits

    assert {"train", "val"} == set(splits.values())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999), threshold=st.sampled_from([0.2, 0.5, 0.8]))
def test_links_equal_comparing_every_pair(seed: int, threshold: float) -> None:
    """Two videos are linked exactly when some pair of their frames reaches the threshold."""
    rng = np.random.default_rng(seed)
    vectors = {}
    for name in "dacb":
        rows = rng.normal(size=(int(rng.integers(0, 4)), 6))
        vectors[name] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    expected = {
        (one, other)
        for one in "abcd"
        for other in "abcd"
        if one < other and len(vectors[one]) and len(vectors[other])
        if cosines(Directions.of(vectors[one]), Directions.of(vectors[other])).max() >= threshold
    }

    assert tuple(sorted(expected)) == alike_videos(vectors, threshold)
