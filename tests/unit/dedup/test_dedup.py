"""Near-duplicates: complete, independent of order and blocks, incremental."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_miner_worker.dedup import Candidate, Status, canonical_order, choose
from data_miner_worker.near import Directions, are_near, cosines, margin, near_pairs

Half = NDArray[np.float16]
NOTHING = np.empty((0, 16), np.float16)


def unit(rows: NDArray[np.float64]) -> Half:
    half: Half = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return half


def scenes(rng: np.random.Generator, count: int, dimension: int = 16, spread: float = 0.35) -> Half:
    """Vectors around a few centres, so that many pairs lie near the threshold."""
    centres = rng.normal(size=(max(1, count // 6), dimension))
    around = centres[rng.integers(len(centres), size=count)]
    return unit(around + spread * rng.normal(size=around.shape))


def brute_force(
    fixed: Half, ordered: Half, threshold: float, room: int | None
) -> list[tuple[Status, int]]:
    """The definition, pair by pair."""
    rows = [*fixed, *ordered]
    kept = list(range(len(fixed)))
    answer = []
    for index in range(len(fixed), len(rows)):
        values = [_cosine(rows[index], rows[other]) for other in kept]
        if values and max(values) >= threshold:
            answer.append((Status.DUPLICATE, kept[values.index(max(values))]))
        elif room is not None and len(kept) - len(fixed) >= room:
            answer.append((Status.BEYOND_TARGET, -1))
        else:
            kept.append(index)
            answer.append((Status.KEPT, -1))
    return answer


def _cosine(a: Half, b: Half) -> float:
    return float(cosines(Directions.of(a[None]), Directions.of(b[None]))[0, 0])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    earlier=st.integers(0, 12),
    count=st.integers(0, 40),
    threshold=st.sampled_from([0.3, 0.8, 0.9, 0.97]),
    block=st.integers(1, 50),
    room=st.none() | st.integers(0, 20),
)
def test_choice_equals_the_definition(
    *, seed: int, earlier: int, count: int, threshold: float, block: int, room: int | None
) -> None:
    """Any block size gives the one independent set, and of each duplicate the nearest kept."""
    rows = scenes(np.random.default_rng(seed), earlier + count + 1)[: earlier + count]
    fixed, ordered = rows[:earlier], rows[earlier:]

    choice = choose(fixed, ordered, threshold, room=room, block=block)

    found = list(zip(choice.statuses, choice.representatives.tolist(), strict=True))
    assert brute_force(fixed, ordered, threshold, room) == found


@pytest.mark.parametrize("count", [5000, 1000, 200, 40])
def test_frames_within_0_003_sigma_of_one_vector_leave_one(count: int) -> None:
    """5000, 1000, 200 and 40 near-identical frames leave 1, however many neighbours each has."""
    rng = np.random.default_rng(7)
    rows = unit(rng.normal(size=64) + 0.003 * rng.normal(size=(count, 64)))

    choice = choose(np.empty((0, 64), np.float16), rows, 0.90)

    assert choice.statuses.count(Status.KEPT) == 1
    assert {0} == set(choice.representatives[1:].tolist())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40))
def test_arrival_order_does_not_matter(seed: int, count: int) -> None:
    """Frames that arrive in any order are kept or dropped alike."""
    rng = np.random.default_rng(seed)
    rows = scenes(rng, count)
    frames = [
        Candidate(f"{int(rng.integers(4))}", index, "v", float(rng.integers(5)))
        for index in range(count)
    ]

    def kept(arrival: list[int]) -> set[int]:
        arrived = [frames[index] for index in arrival]
        order = [arrival[at] for at in canonical_order(arrived, prefer_sharpest=True)]
        statuses = choose(NOTHING, rows[order], 0.9).statuses
        return {at for at, status in zip(order, statuses, strict=True) if status is Status.KEPT}

    assert kept(list(range(count))) == kept(rng.permutation(count).tolist())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), first=st.integers(1, 30), second=st.integers(0, 30))
def test_waves_build_on_what_was_kept(seed: int, first: int, second: int) -> None:
    """Two waves keep what one wave would, in the order of the waves; no kept frame goes later."""
    rows = scenes(np.random.default_rng(seed), first + second)
    whole = choose(NOTHING, rows, 0.9)

    one = choose(NOTHING, rows[:first], 0.9)
    kept = rows[:first][[status is Status.KEPT for status in one.statuses]]
    two = choose(kept, rows[first:], 0.9)

    assert whole.statuses == one.statuses + two.statuses


def test_no_chaining() -> None:
    """A frame that is near only a dropped one is kept: no chain joins unlike frames."""
    degrees = np.deg2rad([0, 20, 40, 60])
    rows = unit(np.stack([np.cos(degrees), np.sin(degrees)], axis=1))

    statuses = choose(np.empty((0, 2), np.float16), rows, np.cos(np.deg2rad(25))).statuses

    assert statuses == (Status.KEPT, Status.DUPLICATE, Status.KEPT, Status.DUPLICATE)


def test_equal_vectors_are_near_at_threshold_one() -> None:
    """The cosine of equal stored vectors is exactly 1, whatever their rounding."""
    rows = scenes(np.random.default_rng(5), 50)

    choice = choose(rows, rows, 1.0)

    assert {Status.DUPLICATE} == set(choice.statuses)
    assert {1.0} == set(choice.cosines.tolist())


def test_sharpest_first_then_content() -> None:
    """With Sharpest the sharper frame comes first; noise below a thousandth does not decide."""
    frames = [
        Candidate("b", 0, "x", 10.0),
        Candidate("a", 5, "y", 10.0001),
        Candidate("a", 4, "y", 12.0),
        Candidate("a", 5, "x", 10.0),
    ]

    assert canonical_order(frames, prefer_sharpest=True) == [2, 3, 1, 0]
    assert canonical_order(frames, prefer_sharpest=False) == [2, 3, 1, 0]
    sharper = [Candidate("a", 0, "x", 1.0), Candidate("b", 0, "y", 2.0)]
    assert canonical_order(sharper, prefer_sharpest=True) == [1, 0]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), dimension=st.sampled_from([3, 64, 384]))
def test_float32_never_hides_a_pair(seed: int, dimension: int) -> None:
    """With the threshold put exactly on a pair's cosine, the pair is found: the margin holds."""
    rng = np.random.default_rng(seed)
    a, b = (Directions.of(unit(rng.normal(size=(8, dimension)))) for _ in range(2))
    exact = cosines(a, b)
    quick = a.quick @ b.quick.T
    row, column = (int(value) for value in rng.integers(8, size=2))

    rows, columns, values = near_pairs(a, b, float(exact[row, column]))

    assert (row, column) in set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert np.abs(quick - exact).max() < margin(dimension) / 2
    assert (exact >= exact[row, column]).sum() == len(values)
    near = are_near(a, b, float(exact[row, column]))
    assert near.tolist() == (exact >= exact[row, column]).tolist()


def test_20000_distinct_frames_take_seconds() -> None:
    """20,000 x 64 vectors that are all kept, the dearest case, take less than 10 s of CPU."""
    rows = unit(np.random.default_rng(1).normal(size=(20_000, 64)))
    before = time.process_time()

    statuses = choose(np.empty((0, 64), np.float16), rows, 0.9).statuses

    assert {Status.KEPT} == set(statuses)
    assert time.process_time() - before < 10
