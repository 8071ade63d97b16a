"""Benches with real stages, models and stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.objects import Bucket
from support.project_bench import Bench, Frame, scene

RED, GREEN, BLUE = (230, 20, 20), (20, 220, 30), (10, 10, 230)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A project on a bench."""
    return Bench(tmp_path / "home")


@pytest.fixture
def videos() -> dict[str, list[Frame]]:
    """Three videos: one of red scenes with a repeat and a blue frame, two of green ones; one frame
    of the second looks like one of the first."""
    return {
        "alpha": [
            *(scene(RED, seed) for seed in range(5)),
            scene(RED, 1, noise=3),
            scene(BLUE, 5),
        ],
        "beta": [*(scene(GREEN, seed) for seed in range(20, 24)), scene(RED, 2, noise=3)],
        "gamma": [scene(GREEN, seed) for seed in range(40, 44)],
    }


@pytest.fixture
def bucket(s3: Bucket) -> str:
    """The name of a bucket for datasets and models."""
    s3.client.create_bucket(Bucket="datasets")
    return "datasets"


@pytest.fixture
def another_bench(tmp_path: Path) -> Callable[..., Bench]:
    """Makes further benches, each with a home of its own."""
    made = iter(range(1000))
    return lambda **options: Bench(tmp_path / f"home{next(made)}", **options)
