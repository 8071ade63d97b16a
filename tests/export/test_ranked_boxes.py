"""Boxes of queries that stand in the order of a score."""

from __future__ import annotations

import numpy as np
import pytest

from data_miner_export.parity import LIMITS, matched


@pytest.mark.parametrize(("moved", "within"), [(0, True), (2, True), (3, False)])
def test_two_in_a_hundred_may_differ(moved: int, within: bool) -> None:
    """As where two scores that are equal but for the last bit have changed places; the order of all
    the others says nothing."""
    draw = np.random.default_rng(7)
    expected = {"boxes": draw.uniform(size=(1, 100, 4)), "logits": draw.normal(size=(1, 100, 3))}
    shuffled = draw.permutation(100)
    got = {name: value[:, shuffled] + 1e-6 for name, value in expected.items()}
    got["boxes"][0, :moved] += 0.3

    found = matched("image", 640.0, expected, got)

    assert (found["pixels"] <= LIMITS["fp32"]["pixels"]) is within
