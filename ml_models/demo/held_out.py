"""Scenes that training never saw, as video at 25 frames a second, through real codecs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from demo.codec import Frame, roundtrip
from demo.drawing import Painter, Seen
from demo.scenes import Scene, sample_scene

FRAMES_PER_SCENE = 50
JUDGED = (1, 13, 25, 37, 49)
SCENES_PER_CLIP = 10
HEIGHT, WIDTH = 180, 320
# Codecs with the same seed show the same scenes.
SETS = {"h264": (101, 28), "vp9": (101, 36), "av1": (202, 38), "hevc": (202, 28)}
"""Codec to content seed and constant rate factor."""


@dataclass(frozen=True)
class Judged:
    """One decoded frame with its truth."""

    pixels: Frame
    seen: tuple[Seen, ...]
    scene: int
    mains: int
    """How many main things the scene has: 0 is a dull scene, 2 a pair."""


def draw_sets(scenes: int) -> Iterator[tuple[str, list[Judged]]]:
    """The judged frames of each codec; scenes of one seed are drawn once."""
    for seed in sorted({seed for seed, _ in SETS.values()}):
        clips = list(_draw_clips(seed, scenes))
        for codec, (codec_seed, crf) in SETS.items():
            if codec_seed == seed:
                yield codec, [judged for clip in clips for judged in _judge(clip, codec, crf)]


@dataclass(frozen=True)
class _Clip:
    first_scene: int
    scenes: list[Scene]
    frames: list[Frame]
    truth: list[list[Seen]]


def _draw_clips(seed: int, scenes: int) -> Iterator[_Clip]:
    rng = np.random.default_rng([22, seed])
    painter = Painter(HEIGHT, WIDTH)
    background = None
    for first in range(0, scenes, SCENES_PER_CLIP):
        drawn, frames, truth = [], [], []
        for _ in range(SCENES_PER_CLIP):
            scene = sample_scene(rng, background=background if rng.random() < 0.15 else None)
            background = scene.background
            drawn.append(scene)
            for step in range(FRAMES_PER_SCENE):
                pixels, seen = painter.frame(scene, step / (FRAMES_PER_SCENE - 1))
                frames.append(pixels)
                truth.append(seen)
        yield _Clip(first, drawn, frames, truth)


def _judge(clip: _Clip, codec: str, crf: int) -> Iterator[Judged]:
    decoded = roundtrip(clip.frames, codec, crf)
    for number, scene in enumerate(clip.scenes):
        mains = sum(thing.main for thing in scene.things)
        for step in JUDGED:
            index = number * FRAMES_PER_SCENE + step
            yield Judged(decoded[index], tuple(clip.truth[index]), clip.first_scene + number, mains)
