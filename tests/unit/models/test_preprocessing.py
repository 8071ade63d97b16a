"""Frames to renders, and boxes back."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_miner_models.preprocessing import Mode, Preprocessing, Resample

MODES = get_args(Mode)
sizes = st.integers(min_value=1, max_value=3000)


SIDES = st.integers(min_value=1, max_value=1000)


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    mode: Mode = draw(st.sampled_from(MODES))
    height, width = draw(SIDES), draw(SIDES)
    if mode == "shortest-side":
        height, width = min(height, width), max(height, width)
    short = None
    if mode == "shortest-side-crop":
        short = draw(st.none() | st.integers(max(height, width), 1200))
    return Preprocessing(mode, height, width, "bilinear", shortest_side=short)


def test_the_key_names_mode_size_and_filter() -> None:
    """The key is what the rest of the system stores: short and stable."""
    assert Preprocessing("squash", 72, 128, "bilinear").key == "squash-72x128-bilinear"
    assert (
        Preprocessing("shortest-side-crop", 224, 224, "bicubic").key
        == "shortest-side-crop-224x224-bicubic"
    )
    assert (
        Preprocessing("shortest-side-crop", 224, 224, "bicubic", shortest_side=256).key
        == "shortest-side-crop-224x224-of256-bicubic"
    )
    assert Preprocessing("pad", 640, 640, "bilinear", fill=114).key == (
        "pad-640x640-bilinear-fill114"
    )


@given(preprocessings())
def test_it_is_made_again_from_its_facts(preprocessing: Preprocessing) -> None:
    """Recipes hold them as plain data."""
    assert Preprocessing.of(preprocessing.facts) == preprocessing


def test_facts_of_a_simple_one_say_nothing_more() -> None:
    """They are part of fingerprints: a field that is absent must not change what was done."""
    assert set(Preprocessing("squash", 72, 128, "bilinear").facts) == {
        "key",
        "mode",
        "height",
        "width",
        "resample",
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mode": "squash", "height": 0}, "1 or more"),
        ({"mode": "shortest-side", "width": 5}, "below height"),
        ({"mode": "shortest-side-crop", "resample": "gaussian"}, "no crop"),
        ({"mode": "squash", "shortest_side": 9}, "for mode shortest-side-crop"),
        ({"mode": "shortest-side-crop", "shortest_side": 7}, "not be below"),
        ({"mode": "squash", "fill": 3}, "fill is for mode pad"),
        ({"mode": "pad", "fill": 256}, "fill is for mode pad"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(wrong: dict[str, Any], words: str) -> None:
    """A card is read long before a frame is rendered."""
    given = {"mode": "squash", "height": 8, "width": 8, "resample": "bilinear", **wrong}
    with pytest.raises(ValueError, match=words):
        Preprocessing(**given)


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


@pytest.mark.parametrize("resample", ["bilinear", "gaussian"])
@pytest.mark.parametrize("fill", [0, 114])
def test_pad_fills_the_bottom(resample: Resample, fill: int) -> None:
    """A wide frame keeps its aspect and lies at the top; its edge blends into the filling."""
    white = np.full((90, 160, 3), 255, np.uint8)
    render = Preprocessing("pad", 64, 64, resample, fill=fill).render(white)
    assert np.all(render[:35] == 255)
    assert np.all(render[38:] == fill)
    assert fill <= render[36].min() <= render[36].max() <= 255


def test_crop_of_a_scaled_frame_has_the_pixels_of_scaling_first() -> None:
    """DINOv2: the shorter side to 256, then the middle 224 x 224."""
    frame = np.random.default_rng(1).integers(0, 256, (360, 641, 3), dtype=np.uint8)
    how = Preprocessing("shortest-side-crop", 224, 224, "bicubic", shortest_side=256)
    whole = np.asarray(Image.fromarray(frame).resize((455, 256), Image.Resampling.BICUBIC))
    # Pillow keeps the box in single precision: now and then a pixel rounds to its neighbour.
    apart = np.abs(how.render(frame).astype(int) - whole[16:240, 115:339])
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 1e-3


@pytest.mark.parametrize(
    ("frame", "render"),
    [
        ((1080, 1920), (750, 1333)),
        ((1920, 1080), (1333, 750)),
        ((480, 640), (800, 1066)),
        ((800, 1000), (800, 1000)),
        ((100, 3000), (44, 1333)),
        ((720, 720), (800, 800)),
    ],
)
def test_the_shorter_side_decides_unless_the_longer_one_is_too_long(
    frame: tuple[int, int], render: tuple[int, int]
) -> None:
    """GroundingDINO's 800 and 1333, with its processor's roundings."""
    how = Preprocessing("shortest-side", 800, 1333, "bilinear")
    assert how.size(*frame) == render
    assert how.render(np.zeros((*frame, 3), np.uint8)).shape == (*render, 3)


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
    size = preprocessing.size(height, width)
    whole = np.array([[0, 0, size[1], size[0]]], np.float64)
    x0, y0, x1, y1 = placement.to_frame(whole)[0]
    slack = 1e-6 * max(height, width)
    match preprocessing.mode:
        case "squash" | "shortest-side":
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
    how = Preprocessing(mode, 72, 128, "bicubic")
    render = how.render(frame)
    assert render.shape == (*how.size(height, width), 3)
    assert mode == "shortest-side" or render.shape == (72, 128, 3)
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
