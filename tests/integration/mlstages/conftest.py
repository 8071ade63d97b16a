"""Benches with real stages, models and stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

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


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket of a real HTTP server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="datasets")
        yield "datasets"
    server.stop()


@pytest.fixture
def another_bench(tmp_path: Path) -> Callable[..., Bench]:
    """Makes further benches, each with a home of its own."""
    made = iter(range(1000))
    return lambda **options: Bench(tmp_path / f"home{next(made)}", **options)
