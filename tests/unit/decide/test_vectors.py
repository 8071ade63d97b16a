"""Stored vectors and their exact dot products."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data_miner_worker import vectors


def directions(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


@pytest.mark.parametrize("dimension", [7, 64, 768])
def test_dot_products_have_no_rounding(dimension: int) -> None:
    """The float64 dot product of stored vectors equals the one of rational numbers."""
    a = vectors.to_half(directions(3, dimension))
    b = vectors.to_half(directions(2, dimension, seed=1))
    expected = [
        [sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(p, q, strict=True)) for q in b]
        for p in a
    ]

    dots = vectors.exact_dots(a, b)

    assert expected == [[Fraction(value) for value in row] for row in dots.tolist()]


def test_dot_products_do_not_depend_on_the_order_of_elements() -> None:
    """Summing in another order gives the same bits."""
    a, b = vectors.to_half(directions(40, 512)), vectors.to_half(directions(30, 512, seed=2))
    order = np.random.default_rng(3).permutation(512)

    expected = vectors.exact_dots(a, b)

    assert expected.tobytes() == vectors.exact_dots(a[:, order], b[:, order]).tobytes()
    assert expected[5, 7] == vectors.exact_dots(a[5:6], b[7:8])[0, 0]


def test_the_same_vectors_are_the_same_file(tmp_path: Path) -> None:
    """Writing twice gives equal bytes, and reading gives back what was written."""
    one = vectors.Vectors(np.array([3, 9], np.int32), vectors.to_half(directions(2, 8)))
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    vectors.save(first, one)
    vectors.save(second, one)

    assert first.read_bytes() == second.read_bytes()
    again = vectors.load(first)
    assert again.frames.tolist() == [3, 9]
    assert one.values.tobytes() == again.values.tobytes()


@pytest.mark.parametrize("scale", [0.0, 0.5, np.nan])
def test_a_vector_without_length_one_is_refused(scale: float) -> None:
    """A zero vector is never stored: it would be unlike everything, and so kept."""
    with pytest.raises(ValueError, match="length 1"):
        vectors.to_half(directions(2, 8) * np.float32(scale))


def test_a_missing_frame_is_named() -> None:
    """Asking for a frame without a vector names it."""
    one = vectors.Vectors(np.array([3, 9], np.int32), vectors.to_half(directions(2, 8)))

    with pytest.raises(LookupError, match="frame 4"):
        one.rows(np.array([3, 4], np.int32))
