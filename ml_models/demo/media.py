"""The three demo clips and their truth: python -m demo.media FOLDER (numpy and av only).

truth.json holds, per clip: size, frame rate, frame count and scenes. A scene has its first and last
frame (both included), its kind, its group (frames of one group are near-duplicates of each other
and of no other frame), the things in it, and `boxes`: one list a frame of
[thing, x0, y0, x1, y1, visible percent] in pixels, for things at least 5 % visible.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from demo.codec import CODECS, Frame, encode
from demo.drawing import Painter
from demo.scenes import Scene, SceneKind, sample_background, sample_scene
from demo.vocabulary import COLOUR_NAMES, SHAPE_NAMES, TEXTURE_NAMES, look

FRAMES_PER_SECOND = 25
FRAMES_PER_SCENE = 50
DARKER = 0.94


@dataclass(frozen=True)
class Part:
    """A scene that clips can show any number of times."""

    kind: SceneKind
    background: str
    colour: str = ""
    shape: str = ""
    texture: str = ""


@dataclass(frozen=True)
class Clip:
    file: str
    codec: str
    crf: int
    height: int
    width: int
    scenes: tuple[str, ...]
    """Names of parts; "~name" is the same part 6 % darker."""


CAST = {
    "red-star": Part("one", "plain", "red", "star", "solid"),
    "striped-red-star": Part("one", "cloudy", "red", "star", "striped"),
    "white-star": Part("one", "checkered", "white", "star", "solid"),
    "blue-ring": Part("one", "gradient", "blue", "ring", "solid"),
    "green-ring": Part("one", "checkered", "green", "ring", "solid"),
    "dotted-orange-ring": Part("one", "plain", "orange", "ring", "dotted"),
    "striped-green-square": Part("one", "cloudy", "green", "square", "striped"),
    "blue-square": Part("one", "plain", "blue", "square", "striped"),
    "dotted-yellow-circle": Part("one", "striped", "yellow", "circle", "dotted"),
    "red-circle": Part("one", "gradient", "red", "circle", "solid"),
    "white-cross": Part("one", "noisy", "white", "cross", "solid"),
    "purple-diamond": Part("one", "noisy", "purple", "diamond", "solid"),
    "cyan-crescent": Part("one", "plain", "cyan", "crescent", "solid"),
    "orange-triangle": Part("one", "gradient", "orange", "triangle", "striped"),
    "dull-plain": Part("dull", "plain"),
    "dull-gradient": Part("dull", "gradient"),
    "dull-cloudy": Part("dull", "cloudy"),
    "dull-stripes": Part("dull", "striped"),
}
CLIPS = (
    Clip(
        "meadow.mp4", "h264", 28, 270, 480,
        ("red-star", "dull-plain", "blue-ring", "striped-green-square", "dull-gradient",
         "white-cross", "~red-star", "cyan-crescent", "green-ring", "blue-ring"),
    ),
    Clip(
        "harbour.webm", "vp9", 36, 360, 640,
        ("dull-cloudy", "purple-diamond", "~striped-green-square", "striped-red-star",
         "dull-plain", "orange-triangle", "blue-square", "dotted-orange-ring", "purple-diamond",
         "white-star", "~blue-ring"),
    ),
    Clip(
        "market.mkv", "av1", 38, 288, 512,
        ("green-ring", "~white-cross", "dull-stripes", "red-circle", "dotted-yellow-circle",
         "~green-ring", "dull-cloudy", "white-star", "cyan-crescent", "red-star"),
    ),
)  # fmt: skip


def build_scene(name: str) -> Scene:
    """The scene called `name`, always the same one; a leading ~ makes it darker."""
    part_name = name.removeprefix("~")
    part = CAST[part_name]
    rng = np.random.default_rng([33, list(CAST).index(part_name)])
    background = sample_background(rng, part.background)
    wanted = look(part.colour, part.shape, part.texture) if part.kind == "one" else None
    scene = sample_scene(rng, part.kind, background=background, wanted=wanted)
    # Half the movement: every frame of a group shall be a near-duplicate of every other.
    calm = tuple(
        replace(t, drift_x=t.drift_x / 2, drift_y=t.drift_y / 2, growth=t.growth / 2)
        for t in scene.things
    )
    post = scene.post and replace(scene.post, drift_x=scene.post.drift_x / 2)
    return replace(
        scene, things=calm, post=post, gain=scene.gain * (DARKER if name != part_name else 1)
    )


def draw_clip(clip: Clip, scenes: list[dict[str, object]]) -> Iterator[Frame]:
    """Yield the frames of a clip and append the truth of each scene to `scenes`."""
    painter = Painter(clip.height, clip.width)
    for number, name in enumerate(clip.scenes):
        scene = build_scene(name)
        boxes = []
        for step in range(FRAMES_PER_SCENE):
            pixels, seen = painter.frame(scene, step / (FRAMES_PER_SCENE - 1))
            boxes.append([[s.thing, *s.box_xyxy, round(s.visible * 100)] for s in seen])
            yield pixels
        group = name.removeprefix("~")
        scenes.append(
            {
                "first": number * FRAMES_PER_SCENE,
                "last": (number + 1) * FRAMES_PER_SCENE - 1,
                "group": group,
                "kind": CAST[group].kind,
                "darker": name != group,
                "things": [
                    {
                        "colour": COLOUR_NAMES[t.look.colour],
                        "shape": SHAPE_NAMES[t.look.shape],
                        "texture": TEXTURE_NAMES[t.look.texture],
                        "main": t.main,
                    }
                    for t in scene.things
                ],
                "boxes": boxes,
            }
        )


def write_demo(folder: Path) -> None:
    """Write media/<clips> and truth.json below `folder`."""
    (folder / "media").mkdir(parents=True, exist_ok=True)
    clips = []
    for clip in CLIPS:
        scenes: list[dict[str, object]] = []
        path = folder / "media" / clip.file
        encode(
            draw_clip(clip, scenes), clip.codec, clip.crf, path,
            frames_per_second=FRAMES_PER_SECOND, keyframe_interval=FRAMES_PER_SCENE,
        )  # fmt: skip
        clips.append(
            {
                "file": clip.file,
                "encoder": CODECS[clip.codec].encoder,
                "width": clip.width,
                "height": clip.height,
                "frames_per_second": FRAMES_PER_SECOND,
                "frames": len(clip.scenes) * FRAMES_PER_SCENE,
                "scenes": scenes,
            }
        )
        print(f"{path}: {path.stat().st_size} bytes, {len(clip.scenes)} scenes")
    text = json.dumps({"clips": clips}, separators=(",", ":"))
    # One scene a line keeps differences readable.
    text = text.replace('{"first"', '\n{"first"')
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the demo clips and their truth.")
    parser.add_argument("folder", type=Path)
    write_demo(parser.parse_args().folder)
