"""Frames to renders, and boxes back."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_miner_models.preprocessing import Mode, Preprocessing

MODES = get_args(Mode)
sizes = st.integers(min_value=1, max_value=3000)


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    side = st.integers(min_value=1, max_value=1000)
    return Preprocessing(draw(st.sampled_from(MODES)), draw(side), draw(side), "bilinear")


def test_the_key_names_mode_size_and_filter() -> None:
    """The key is what the rest of the system stores: short and stable."""
    assert Preprocessing("squash", 72, 128, "bilinear").key == "squash-72x128-bilinear"
    assert (
        Preprocessing("shortest-side-crop", 224, 224, "bicubic").key
        == "shortest-side-crop-224x224-bicubic"
    )


def test_squash_is_pillows_own_resize() -> None:
    """Models are trained on Pillow's antialiased pixels, so renders are exactly those."""
    frame = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    render = Preprocessing("squash", 72, 128, "bilinear").render(frame)
    expected = Image.fromarray(frame).resize((128, 72), Image.Resampling.BILINEAR)
    assert np.array_equal(render, np.asarray(expected))


def test_scaling_down_is_antialiased() -> None:
    """A one-pixel chessboard becomes grey instead of a pattern of its own."""
    chessboard = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    render = Preprocessing("squash", 32, 32, "bilinear").render(np.dstack([chessboard] * 3))
    assert render.min() > 120
    assert render.max() < 136


def test_pad_fills_the_bottom_with_grey() -> None:
    """A wide frame keeps its aspect and lies at the top."""
    white = np.full((90, 160, 3), 255, np.uint8)
    render = Preprocessing("pad", 64, 64, "bilinear").render(white)
    assert np.all(render[:36] == 255)
    assert np.all(render[36:] == 128)


def test_crop_takes_the_middle() -> None:
    """Of a frame in three vertical thirds, a square render shows only the middle one."""
    frame = np.zeros((100, 300, 3), np.uint8)
    frame[:, 100:200] = 255
    render = Preprocessing("shortest-side-crop", 50, 50, "bilinear").render(frame)
    assert render[:, 1:-1].min() == 255


@pytest.mark.parametrize("mode", MODES)
def test_a_box_in_the_render_is_where_the_frame_has_it(mode: Mode) -> None:
    """A white rectangle found in the render's pixels maps back onto itself in the frame."""
    frame = np.zeros((360, 640, 3), np.uint8)
    frame[90:230, 200:420] = 255
    preprocessing = Preprocessing(mode, 96, 112, "bilinear")
    ys, xs = np.nonzero(preprocessing.render(frame)[..., 0] > 180)
    box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float64)
    back = preprocessing.place(360, 640).to_frame(box)
    assert np.abs(back - [[200, 90, 420, 230]]).max() < 640 / 96


@given(preprocessings(), sizes, sizes)
def test_placement_covers_as_the_mode_says(
    preprocessing: Preprocessing, height: int, width: int
) -> None:
    """A squash covers the render, a pad lies within it, a crop covers it from within the frame."""
    placement = preprocessing.place(height, width)
    whole = np.array([[0, 0, preprocessing.width, preprocessing.height]], np.float64)
    x0, y0, x1, y1 = placement.to_frame(whole)[0]
    slack = 1e-6 * max(height, width)
    match preprocessing.mode:
        case "squash":
            assert np.allclose([x0, y0, x1, y1], [0, 0, width, height])
        case "pad":
            assert (x0, y0) == (0, 0)
            assert x1 >= width - slack
            assert y1 >= height - slack
        case "shortest-side-crop":
            assert x0 >= -slack
            assert y0 >= -slack
            assert x1 <= width + slack
            assert y1 <= height + slack


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 700), (700, 3), (36, 64)])
def test_any_frame_gives_a_render_of_the_right_size(mode: Mode, height: int, width: int) -> None:
    """Tiny and extreme frames are no special case."""
    frame = np.full((height, width, 3), 200, np.uint8)
    render = Preprocessing(mode, 72, 128, "bicubic").render(frame)
    assert render.shape == (72, 128, 3)
    assert render.dtype == np.uint8


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_what_is_no_rgb_frame_is_refused(frame: np.ndarray) -> None:
    """Greyscale, transparency and floats are a caller's mistake."""
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        Preprocessing("squash", 8, 8, "bilinear").render(frame)
