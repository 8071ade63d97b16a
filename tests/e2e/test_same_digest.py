"""One project, many ways to mine it, one digest."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from data_miner.postgres.server import Server
from support.objects import Bucket, bucket
from support.product import DEMO_MEDIA, Product, every, write_project

PROJECT = f"""
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {{name: demo}}
spec:
  sources:
    - files: {{uri: {DEMO_MEDIA}, glob: "*"}}
  sampling: {{strategy: Time, every: 500ms}}
  filter:
    model: tiny-siglip
    positive: [a photo of a star, a photo of a ring]
    thresholds: {{positive: 0.5}}
  dedup: {{model: tiny-dino, threshold: 0.9}}
  detect:
    classes: [{{name: star, prompts: [a star]}}, {{name: ring, prompts: [a ring]}}]
    detectors: [{{model: tiny-detector}}]
  export: {{formats: [COCO, YOLO, Parquet]}}
"""

NewProduct = Callable[[str], Product]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's file."""
    return write_project(tmp_path_factory.mktemp("project"), PROJECT)


@pytest.fixture(scope="module")
def digest(new_product: NewProduct, project: Path) -> str:
    """The digest of an undisturbed run with one worker."""
    return str(new_product("plain").mine(project)["dataset"]["digest"])


@pytest.fixture(scope="module")
def objects() -> Iterator[Bucket]:
    """A bucket of an S3 server on this machine."""
    with bucket() as made:
        yield made


def test_another_home_gives_the_same_digest(
    new_product: NewProduct, project: Path, digest: str
) -> None:
    """Nothing of a home folder is in the digest."""
    assert new_product("a home with spaces").mine(project)["dataset"]["digest"] == digest


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_gives_the_same_digest(
    new_product: NewProduct, project: Path, digest: str, workers: int
) -> None:
    """More workers finish in another order, with the same result."""
    summary = new_product(f"workers-{workers}").mine(project, "--workers", str(workers))

    assert summary["dataset"]["digest"] == digest


def test_object_storage_gives_the_same_digest(
    new_product: NewProduct, project: Path, digest: str, objects: Bucket
) -> None:
    """With its store on S3 the project has the same result."""
    summary = new_product("objects").mine(
        project, DATA_MINER_STORAGE_URI=f"{objects.uri}/store", **objects.environment
    )

    assert summary["dataset"]["digest"] == digest
    assert objects.keys("store/objects/")


def test_killed_workers_lose_nothing(new_product: NewProduct, project: Path, digest: str) -> None:
    """A random worker is killed every two seconds: the same digest, and no dead letter."""
    product = new_product("killed")
    process = product.start("run", project, "--json", "--workers", "4", "--slots", "1")
    killed: list[int] = []
    choice = random.Random(1)

    def kill_one() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = psutil.Process(process.pid).children()
            if workers:
                victim = choice.choice(workers)
                victim.kill()
                killed.append(victim.pid)

    try:
        with every(2.0, kill_one):
            out, err = process.communicate(timeout=240)
    finally:
        process.kill()

    assert process.returncode == 0, err
    assert killed
    assert product.rows("SELECT * FROM tasks") == []
    dataset = product.rows("SELECT digest FROM datasets ORDER BY version DESC LIMIT 1")
    assert [row.digest for row in dataset] == [digest], out


def test_a_database_that_restarts_loses_nothing(tmp_path: Path, project: Path, digest: str) -> None:
    """PostgreSQL stops and starts in the middle of a run: the run goes on to the same digest."""
    product = Product(tmp_path / "home")
    process = product.start("run", project, "--json")
    try:
        product.wait_for("SELECT 1 FROM results WHERE stage = 'extract'")
        with Server(product.home) as server:
            restart(server)
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()

    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["dataset"]["digest"] == digest


def restart(server: Server) -> None:
    """Stop the server under everybody's hands, and start it again."""
    process = psutil.Process(server.process_id())
    process.send_signal(signal.SIGINT)
    process.wait(30)
    server.ensure()
