"""Scenes to pixels, with the exact box of everything that can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from demo.scenes import Background, Post, Scene, Thing
from demo.vocabulary import COLOUR_NAMES, COLOURS, Look

Floats = NDArray[np.float32]
_GRAIN = np.random.default_rng(7).standard_normal((1024, 1024, 3)).astype(np.float32)
_NOBODY = -1


@dataclass(frozen=True)
class Seen:
    """A thing in one frame: the box of its visible pixels, and which share of it is visible."""

    thing: int
    look: Look
    main: bool
    box_xyxy: tuple[int, int, int, int]
    visible: float


@dataclass
class Painter:
    """Draws frames of one size (at most 1,000 pixels wide) and remembers the last background."""

    height: int
    width: int
    _backdrop: tuple[Background, Floats] | None = field(default=None, init=False)

    def frame(self, scene: Scene, time: float) -> tuple[NDArray[np.uint8], list[Seen]]:
        """The frame at `time` in 0..1, uint8 (height, width, 3), and what is seen of each thing.

        A thing of which less than 5 % is visible is left out.
        """
        canvas = self._background(scene.background).copy()
        owner = np.full((self.height, self.width), _NOBODY, np.int8)
        areas = [self._paint(canvas, owner, i, t, time) for i, t in enumerate(scene.things)]
        if scene.post:
            self._paint_post(canvas, owner, scene.post, time)
        canvas *= np.float32(scene.gain * (1 + scene.fade * (time - 0.5)))
        if scene.noise:
            canvas += self._grain(scene.seed, time) * np.float32(scene.noise)
        pixels = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
        return pixels, _seen(scene, owner, areas)

    def _background(self, background: Background) -> Floats:
        if self._backdrop is None or self._backdrop[0] != background:
            drawn = draw_background(background, self.height, self.width)
            self._backdrop = (background, drawn)
        return self._backdrop[1]

    def _paint(
        self, canvas: Floats, owner: NDArray[np.int8], index: int, thing: Thing, time: float
    ) -> int:
        """Paint one thing and return how many pixels it would cover if nothing hid it."""
        moment = time - 0.5
        radius = thing.radius * float(np.exp(thing.growth * moment)) * self.height
        centre_x = (thing.x + thing.drift_x * moment) * self.width
        centre_y = (thing.y + thing.drift_y * moment) * self.height
        reach = radius * 1.25
        x0, x1 = max(0, int(centre_x - reach) - 1), min(self.width, int(centre_x + reach) + 2)
        y0, y1 = max(0, int(centre_y - reach) - 1), min(self.height, int(centre_y + reach) + 2)
        if x0 >= x1 or y0 >= y1:
            return 0
        x = ((np.arange(x0, x1, dtype=np.float32) + 0.5 - centre_x) / radius)[None, :]
        y = ((np.arange(y0, y1, dtype=np.float32) + 0.5 - centre_y) / radius)[:, None]
        turn = thing.angle + thing.spin * moment
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = x * cos - y * sin, x * sin + y * cos
        distance = signed_distance(thing.look.shape, x, y)
        alpha = np.clip(0.5 - distance * radius, 0, 1).astype(np.float32)
        paint = COLOURS[COLOUR_NAMES[thing.look.colour]]
        colour = np.clip(np.float32(paint) * np.float32(thing.tint), 0, 1)
        patch = canvas[y0:y1, x0:x1]
        patch += alpha[..., None] * (colour * weave(thing.look.texture, x, y)[..., None] - patch)
        solid = alpha > 0.5
        owner[y0:y1, x0:x1][solid] = index
        return int(solid.sum())

    def _paint_post(self, canvas: Floats, owner: NDArray[np.int8], post: Post, time: float) -> None:
        centre = post.x + post.drift_x * (time - 0.5)
        x0 = round((centre - post.width / 2) * self.width)
        x1 = round((centre + post.width / 2) * self.width)
        columns = slice(max(0, min(self.width, x0)), max(0, min(self.width, x1)))
        canvas[:, columns] = post.grey
        owner[:, columns] = _NOBODY

    def _grain(self, seed: int, time: float) -> Floats:
        rng = np.random.default_rng((seed, int(time * 10_000)))
        y, x = int(rng.integers(1024 - self.height)), int(rng.integers(1024 - self.width))
        return _GRAIN[y : y + self.height, x : x + self.width]


def _seen(scene: Scene, owner: NDArray[np.int8], areas: list[int]) -> list[Seen]:
    found = []
    for index, (thing, area) in enumerate(zip(scene.things, areas, strict=True)):
        mask = owner == index
        pixels = int(mask.sum())
        if not area or pixels < 0.05 * area:
            continue
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
        found.append(Seen(index, thing.look, thing.main, box, pixels / area))
    return found


def signed_distance(shape: int, x: Floats, y: Floats) -> Floats:  # noqa: PLR0911 - one a shape
    """How far a point is outside a shape of radius 1 (below zero inside); y points down."""
    r = np.sqrt(x * x + y * y + 1e-9)
    match shape:
        case 0:  # circle
            return r - 1
        case 1:  # square
            return np.maximum(abs(x), abs(y)) - 0.88
        case 2:  # triangle
            return np.maximum(abs(x) * 0.866 - y * 0.5, y) - 0.55
        case 3:  # star
            return _star(x, y)
        case 4:  # cross
            flat = np.maximum(abs(x) - 1, abs(y) - 0.3)
            return np.minimum(flat, np.maximum(abs(x) - 0.3, abs(y) - 1))
        case 5:  # ring
            return abs(r - 0.78) - 0.2
        case 6:  # diamond
            return abs(x) * 1.15 + abs(y) * 0.9 - 1
        case 7:  # crescent
            return np.maximum(r - 1, 0.82 - np.sqrt((x - 0.5) ** 2 + y * y + 1e-9))
    raise ValueError(f"no shape has the number {shape}")


def _star(x: Floats, y: Floats) -> Floats:
    """Five points: every half point is folded onto one, whose edge is a straight line."""
    half = np.float32(np.pi / 5)
    angle = abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    r = np.sqrt(x * x + y * y)
    inner_x, inner_y = 0.46 * np.cos(half), 0.46 * np.sin(half)
    along_x, along_y = inner_x - 1, inner_y
    length = np.hypot(along_x, along_y)
    return np.asarray(
        ((r * np.cos(angle) - 1) * along_y - r * np.sin(angle) * along_x) / length, np.float32
    )


def weave(texture: int, x: Floats, y: Floats) -> Floats:
    """Brightness of a texture at a point, in units of the radius."""
    match texture:
        case 0:  # solid
            return np.ones(np.broadcast_shapes(x.shape, y.shape), np.float32)
        case 1:  # striped
            return np.where(np.sin((x + y) * 7.2) > 0, 1.0, 0.42).astype(np.float32)
        case 2:  # dotted
            dots = np.sin(x * 7.65) * np.sin(y * 7.65) > 0.35
            return np.where(dots, 0.3, 1.0).astype(np.float32)
    raise ValueError(f"no texture has the number {texture}")


def draw_background(background: Background, height: int, width: int) -> Floats:
    """float32 (height, width, 3) in 0..1."""
    x = ((np.arange(width, dtype=np.float32) + 0.5) / height * 2 - width / height)[None, :]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1)[:, None]
    mix = np.broadcast_to(_mix(background, x, y), (height, width))[..., None].astype(np.float32)
    canvas = np.float32(background.first) * (1 - mix) + np.float32(background.second) * mix
    if background.kind == "noisy":
        cell = max(1, height // 90)
        coarse = (height // cell + 1, width // cell + 1, 3)
        grain = np.random.default_rng(background.seed).random(coarse, dtype=np.float32)
        grain = grain.repeat(cell, 0).repeat(cell, 1)[:height, :width]
        canvas = canvas + (grain - 0.5) * 0.3
    return np.asarray(canvas, np.float32)


def _mix(background: Background, x: Floats, y: Floats) -> Floats:
    """How much of the second colour is at each point."""
    along = x * np.float32(np.cos(background.theta)) + y * np.float32(np.sin(background.theta))
    match background.kind:
        case "gradient":
            return np.clip((along + 2) / 4, 0, 1)
        case "striped":
            return np.clip(np.sin(along * background.frequency) * 8 + 0.5, 0, 1)
        case "checkered":
            pitch = background.frequency * 0.7
            return np.clip(np.sin(x * pitch) * np.sin(y * pitch) * 12 + 0.5, 0, 1)
        case "cloudy":
            return _clouds(background.seed, y.size, x.size)
    return np.zeros((1, 1), np.float32)


def _clouds(seed: int, height: int, width: int) -> Floats:
    """A smooth interpolation of a 5 x 7 grid of random values."""
    grid = np.pad(np.random.default_rng(seed).random((5, 7)).astype(np.float32), 1, mode="edge")
    y, x = np.linspace(0, 5.999, height), np.linspace(0, 7.999, width)
    row, column = y.astype(int), x.astype(int)
    fy, fx = (y - row)[:, None], (x - column)[None, :]
    fy, fx = fy * fy * (3 - 2 * fy), fx * fx * (3 - 2 * fx)
    upper = grid[row][:, column] * (1 - fx) + grid[row][:, column + 1] * fx
    lower = grid[row + 1][:, column] * (1 - fx) + grid[row + 1][:, column + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, np.float32)
