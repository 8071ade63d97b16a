"""Cosines to probabilities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_miner_models.scoring import probabilities


def test_known_values() -> None:
    """sigmoid(cosine * scale + bias), by hand."""
    found = probabilities(np.array([0.5, 1.0]), 10, -5)
    assert np.allclose(found, [0.5, 1 / (1 + np.exp(-5))], rtol=1e-15)


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=5), st.floats(1e-3, 1e6), st.floats(-1e6, 1e6)
)
def test_probabilities_rise_with_the_cosine(
    cosines: list[float], scale: float, bias: float
) -> None:
    """Any scale and bias, however extreme, give ordered values in 0..1 without a warning."""
    found = probabilities(np.sort(np.array(cosines)), scale, bias)
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) >= 0)
