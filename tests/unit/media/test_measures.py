"""What is said about a frame without a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_miner_worker.media.measures import laplacian_variance, measure, phash
from support.media import moving

FLAT = np.full((90, 160, 3), 77, np.uint8)


def _apart(a: int, b: int) -> int:
    return ((a ^ b) & (2**64 - 1)).bit_count()


def _scene(shift: int = 0) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:180, 0:320]
    disc = (x - 160 - shift) ** 2 + (y - 90) ** 2 < 3000
    frame = np.full((180, 320, 3), 60, np.uint8)
    frame[disc] = (220, 180, 40)
    return frame


def test_a_flat_frame_has_no_structure() -> None:
    """No sharpness, its own luma, and a hash of zeros, whatever the machine rounds."""
    measures = measure(FLAT)
    assert (measures.sharpness, measures.luma, measures.phash) == (0.0, 77.0, 0)


def test_blur_lowers_the_sharpness() -> None:
    """The same picture, averaged over 5 x 5 pixels, is less sharp."""
    frame = moving(1, 320, 180)
    wide = np.pad(frame.astype(float), ((2, 2), (2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (5, 5), axis=(0, 1))
    assert measure(windows.mean(axis=(3, 4)).astype(np.uint8)).sharpness < (
        measure(frame).sharpness / 4
    )


def test_the_variance_is_that_of_numpy() -> None:
    """The whole-number formula agrees with the textbook's."""
    luma = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.int64)
    inner = luma[1:-1, 1:-1]
    expected = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    assert laplacian_variance(luma) == float(np.var(expected))


def test_size_does_not_change_what_is_measured_much() -> None:
    """Half the size, the same picture: a hash that differs in few bits."""
    frame = _scene()
    assert _apart(measure(frame).phash, measure(frame[::2, ::2]).phash) <= 6


def test_the_hash_tells_pictures_apart() -> None:
    """A small change moves few bits, another picture moves many."""
    base = measure(_scene()).phash
    brighter = np.minimum(_scene().astype(int) + 12, 255).astype(np.uint8)
    assert _apart(base, measure(brighter).phash) <= 4
    assert _apart(base, measure(_scene()[::-1, :90].copy()).phash) >= 16


def test_the_hash_is_a_signed_64_bit_number() -> None:
    """It fits a column of int64."""
    rng = np.random.default_rng(3)
    hashes = [phash(rng.integers(0, 256, (32, 32)).astype(np.int64)) for _ in range(50)]
    assert all(-(2**63) <= value < 2**63 for value in hashes)
    assert min(hashes) == max(hashes) or len(set(hashes)) == 50
