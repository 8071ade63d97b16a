"""`helm install`, `kubectl apply`, a dataset: the chart and the images on real nodes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.product import DEMO_PROJECT, Product
from support.release import Release

POOL = "data-miner-worker-default"


@pytest.fixture(scope="module")
def expected_digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a laptop makes of the same file."""
    mined = Product(tmp_path_factory.mktemp("laptop") / "home").mine(DEMO_PROJECT)
    return str(mined["dataset"]["digest"])


@pytest.mark.timeout(900)
def test_the_demo_gives_the_dataset_of_a_laptop_and_the_pool_comes_and_goes(
    release: Release, expected_digest: str
) -> None:
    """No value but the names of the images, all egress denied: from nothing to workers to a
    dataset to nothing."""
    release.sized(POOL, 0)
    began = time.monotonic()
    release.apply(DEMO_PROJECT)
    done = release.complete("demo", seconds=300)
    print(f"\ndataset after {time.monotonic() - began:.0f} s")  # noqa: T201

    assert done["status"]["dataset"]["digest"] == expected_digest
    assert done["status"]["images"]["kept"] == 6
    release.sized(POOL, 0)


@pytest.mark.timeout(600)
def test_helm_test_mines_a_tiny_dataset(release: Release) -> None:
    """The chart's own test, as a user runs it."""
    said = release.helm("test", release.name, "--timeout=300s")

    assert "Succeeded" in said


@pytest.mark.timeout(600)
def test_an_upgrade_that_concerns_the_operator_alone_restarts_no_worker(
    release: Release, tmp_path: Path
) -> None:
    """The pool's pods are made of a template, and only a new one makes new pods."""
    before = release.kubectl.json("get", "deployment", POOL, f"--namespace={release.namespace}")[
        "spec"
    ]["template"]

    release.install(operator={"settings": {"workers": 4}})

    after = release.kubectl.json("get", "deployment", POOL, f"--namespace={release.namespace}")[
        "spec"
    ]["template"]
    assert after == before
