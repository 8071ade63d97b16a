"""From video's colours to RGB."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from data_miner_worker.media.pixels import to_rgb

UNSPECIFIED = 2
COLOURS = [(200, 30, 40), (20, 160, 60), (40, 50, 190), (240, 240, 240), (5, 5, 5)]


def _frame(colour: tuple[int, int, int], matrix: Colorspace, height: int) -> Any:
    rgb = np.full((height, 64, 3), colour, np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=ColorRange.MPEG)


def _off(frame: Any, colour: tuple[int, int, int]) -> int:
    return int(np.abs(to_rgb(frame).astype(int) - colour).max())


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("matrix", [Colorspace.ITU601, Colorspace.ITU709])
def test_a_frame_is_read_with_the_matrix_that_it_names(
    colour: tuple[int, int, int], matrix: Colorspace
) -> None:
    """Colours come back, whatever the size."""
    for height in (36, 720):
        assert _off(_frame(colour, matrix, height), colour) <= 3


@pytest.mark.parametrize(("height", "matrix"), [(36, Colorspace.ITU601), (720, Colorspace.ITU709)])
def test_without_a_name_the_size_decides(height: int, matrix: Colorspace) -> None:
    """Standard definition is 601, high definition 709: the other one would shift the colours."""
    colour = COLOURS[1]
    other = Colorspace.ITU709 if matrix is Colorspace.ITU601 else Colorspace.ITU601
    right, wrong = _frame(colour, matrix, height), _frame(colour, other, height)
    right.colorspace = wrong.colorspace = UNSPECIFIED
    assert _off(right, colour) <= 3
    assert _off(wrong, colour) > 8


def test_a_full_range_frame_is_read_as_such() -> None:
    """Black and white of a camera's full range are not stretched."""
    rgb = np.full((36, 64, 3), 250, np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
    )
    assert _off(frame, (250, 250, 250)) <= 2
