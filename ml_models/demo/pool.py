"""The training pool: random scenes, each seen through two codecs, at the models' input size."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.codec import Frame, roundtrip
from demo.drawing import Painter, Seen
from demo.scenes import sample_scene

INPUT_HEIGHT, INPUT_WIDTH = 72, 128
SCENES_PER_CLIP, FRAMES_PER_SCENE, MOST_THINGS = 20, 3, 4
# Columns of the truth of one thing; ABSENT in the first marks an empty row.
COLOUR, SHAPE, TEXTURE, MAIN, CENTRE_X, CENTRE_Y, WIDTH, HEIGHT, VISIBLE = range(9)
ABSENT = -1


@dataclass(frozen=True)
class Pool:
    """All training frames with their truth.

    views: uint8 (scenes, 2 codecs, FRAMES_PER_SCENE, 72, 128, 3).
    things: float32 (scenes, FRAMES_PER_SCENE, MOST_THINGS, 9), boxes as shares of the frame.
    occupied: bool (scenes,), whether the scene has anything in it.
    """

    views: NDArray[np.uint8]
    things: NDArray[np.float32]
    occupied: NDArray[np.bool_]


def shrink(frame: Frame) -> Frame:
    """The pixels that the product gives the model: squashed by Pillow's antialiased filter."""
    size = (INPUT_WIDTH, INPUT_HEIGHT)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))


def load_pool(scenes: int, cache: Path | None = None, workers: int = 2) -> Pool:
    """Draw, encode and decode the pool, or read it from `cache` if that file exists."""
    if cache and cache.exists():
        with np.load(cache) as stored:
            return Pool(stored["views"], stored["things"], stored["occupied"])
    with get_context("spawn").Pool(workers) as processes:
        parts = processes.map(_make_clip, range(scenes // SCENES_PER_CLIP), chunksize=4)
    pool = Pool(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if cache:
        unfinished = cache.with_suffix(".part.npz")
        np.savez(unfinished, views=pool.views, things=pool.things, occupied=pool.occupied)
        unfinished.rename(cache)
    return pool


def _make_clip(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
    av.logging.set_level(av.logging.ERROR)
    rng = np.random.default_rng([11, seed])
    height = 360 if seed % 10 == 0 else 180
    painter = Painter(height, height * 16 // 9)
    frames, truth, occupied = [], [], []
    background = None
    for _ in range(SCENES_PER_CLIP):
        # Neighbours that share a background teach the dedup vector to look at the things.
        shared = background if rng.random() < 0.3 else None
        scene = sample_scene(rng, background=shared)
        background = scene.background
        occupied.append(bool(scene.things))
        for time in np.sort(rng.uniform(0, 1, FRAMES_PER_SCENE)):
            pixels, seen = painter.frame(scene, float(time))
            frames.append(pixels)
            truth.append(_tabulate(seen, painter))
    views = np.stack([_view(frames, str(codec), rng) for codec in _two_codecs(rng)], axis=1)
    things = np.stack(truth).reshape(SCENES_PER_CLIP, FRAMES_PER_SCENE, MOST_THINGS, 9)
    return views, things, np.array(occupied)


def _two_codecs(rng: np.random.Generator) -> list[str]:
    """H.264 comes twice because most video on the web is H.264."""
    return [str(c) for c in rng.permutation(["h264", "h264", "vp9", "av1", "hevc"])[:2]]


def _view(frames: list[Frame], codec: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    crf = int(rng.integers(22, 33) if codec in ("h264", "hevc") else rng.integers(28, 44))
    small = np.stack([shrink(frame) for frame in roundtrip(frames, codec, crf)])
    return small.reshape(SCENES_PER_CLIP, FRAMES_PER_SCENE, INPUT_HEIGHT, INPUT_WIDTH, 3)


def _tabulate(seen: list[Seen], painter: Painter) -> NDArray[np.float32]:
    table = np.full((MOST_THINGS, 9), ABSENT, np.float32)
    for row, thing in zip(table, seen, strict=False):
        x0, y0, x1, y1 = thing.box_xyxy
        centre = ((x0 + x1) / 2 / painter.width, (y0 + y1) / 2 / painter.height)
        size = ((x1 - x0) / painter.width, (y1 - y0) / painter.height)
        row[:] = (*thing.look, thing.main, *centre, *size, thing.visible)
    return table
