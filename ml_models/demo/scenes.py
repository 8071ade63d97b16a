"""Scenes as values: what is where, how it moves, and how random ones are drawn from a generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from demo.vocabulary import Look

ASPECT = 16 / 9
BACKGROUND_KINDS = ("plain", "gradient", "noisy", "striped", "checkered", "cloudy")
Rgb = tuple[float, float, float]
SceneKind = Literal["one", "pair", "dull"]
MAIN_RADIUS, PAIR_RADIUS, SMALL_RADIUS = (0.20, 0.40), (0.18, 0.30), (0.105, 0.14)


@dataclass(frozen=True)
class Thing:
    """One object at half time: radius as a share of the height, position of width and height."""

    look: Look
    main: bool
    radius: float
    x: float
    y: float
    drift_x: float = 0.0
    drift_y: float = 0.0
    growth: float = 0.0
    """Natural logarithm of the change of size over the scene."""
    angle: float = 0.0
    spin: float = 0.0
    tint: Rgb = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Background:
    kind: str
    first: Rgb
    second: Rgb
    theta: float
    frequency: float
    seed: int


@dataclass(frozen=True)
class Post:
    """A grey post over the whole height that passes in front of everything."""

    x: float
    drift_x: float
    width: float
    grey: float


@dataclass(frozen=True)
class Scene:
    background: Background
    things: tuple[Thing, ...] = ()
    """From back to front."""
    post: Post | None = None
    gain: float = 1.0
    fade: float = 0.0
    noise: float = 0.01
    seed: int = 0


def sample_background(rng: np.random.Generator, kind: str | None = None) -> Background:
    """A muted background, of a random kind unless one is asked for."""

    def muted() -> Rgb:
        level = rng.uniform(0.06, 0.62)
        red, green, blue = np.clip(level + rng.uniform(-0.11, 0.11, 3), 0, 1)
        return float(red), float(green), float(blue)

    return Background(
        kind=kind or str(rng.choice(BACKGROUND_KINDS)),
        first=muted(),
        second=muted(),
        theta=float(rng.uniform(0, 2 * np.pi)),
        frequency=float(rng.uniform(5, 15)),
        seed=int(rng.integers(2**31)),
    )


def sample_thing(
    rng: np.random.Generator, radii: tuple[float, float], *, main: bool, wanted: Look | None = None
) -> Thing:
    """A thing that stays mostly inside the frame; its look is random unless one is wanted."""
    radius = float(rng.uniform(*radii))
    reach = 0.18 if main else 0.08
    drift_x, drift_y = (float(v) for v in rng.uniform(-reach, reach, 2))
    margin_x = min(radius / ASPECT, 0.4) + abs(drift_x) / 2
    margin_y = min(min(radius, 0.42) + abs(drift_y) / 2, 0.5)
    red, green, blue = rng.uniform(0.84, 1.08) + rng.uniform(-0.05, 0.05, 3)
    return Thing(
        look=wanted or Look(int(rng.integers(8)), int(rng.integers(8)), int(rng.integers(3))),
        main=main,
        radius=radius,
        x=float(rng.uniform(margin_x, 1 - margin_x)),
        y=float(rng.uniform(margin_y, 1 - margin_y)),
        drift_x=drift_x,
        drift_y=drift_y,
        growth=float(rng.uniform(-0.2, 0.2)),
        angle=float(rng.uniform(-0.2, 0.2)),
        spin=float(rng.uniform(-0.25, 0.25)),
        tint=(float(red), float(green), float(blue)),
    )


def sample_scene(
    rng: np.random.Generator,
    kind: SceneKind | None = None,
    *,
    background: Background | None = None,
    wanted: Look | None = None,
) -> Scene:
    """A random scene: a main thing with up to two small ones, a pair of main things, or nothing."""
    kind = kind or _sample_kind(rng)
    things: tuple[Thing, ...] = ()
    post = None
    if kind == "pair":
        things = tuple(sample_thing(rng, PAIR_RADIUS, main=True) for _ in range(2))
    elif kind == "one":
        main = sample_thing(rng, MAIN_RADIUS, main=True, wanted=wanted)
        things = (*_sample_small_things(rng, main), main)
        if rng.random() < 0.15:
            post = _sample_post(rng, main)
    return Scene(
        background=background or sample_background(rng),
        things=things,
        post=post,
        gain=float(rng.uniform(0.9, 1.06)),
        fade=float(rng.uniform(-0.06, 0.06)),
        noise=float(rng.choice([0.0, 0.008, 0.02])),
        seed=int(rng.integers(2**31)),
    )


def _sample_kind(rng: np.random.Generator) -> SceneKind:
    draw = rng.random()
    return "dull" if draw < 0.14 else "pair" if draw < 0.32 else "one"


def _sample_small_things(rng: np.random.Generator, main: Thing) -> list[Thing]:
    small: list[Thing] = []
    for _ in range(int(rng.choice(3, p=[0.45, 0.35, 0.2]))):
        for _ in range(20):
            thing = sample_thing(rng, SMALL_RADIUS, main=False)
            if all(_apart(thing, other) for other in (main, *small)):
                small.append(thing)
                break
    return small


def _apart(a: Thing, b: Thing) -> bool:
    distance = float(np.hypot((a.x - b.x) * ASPECT, a.y - b.y))
    return distance > a.radius + b.radius * 1.1 + 0.06


def _sample_post(rng: np.random.Generator, main: Thing) -> Post:
    return Post(
        x=main.x + float(rng.uniform(-0.2, 0.2)),
        drift_x=float(rng.uniform(0.15, 0.35) * rng.choice([-1, 1])),
        width=float(rng.uniform(0.04, 0.09)),
        grey=float(rng.uniform(0.1, 0.6)),
    )
