"""Projects whose models lie in a store at a URI: nobody has to bring them to a machine by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from data_miner_models.cards import BUNDLED
from support.objects import NAME, Bucket, bucket
from support.product import STARS, Product, write_project

NewProduct = Callable[[str], Product]
MODELS = {"tiny-siglip": "far-siglip", "tiny-dino": "far-dino"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that names models which no folder has."""
    text = STARS
    for bundled, far in MODELS.items():
        text = text.replace(f"model: {bundled}", f"model: {far}")
    return write_project(tmp_path, text)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A store of them: bundled ones under other names."""
    store = tmp_path / "models"
    for path in BUNDLED.rglob("*.*"):
        target = store / path.relative_to(BUNDLED)
        if path.is_file() and path.suffix != ".toml":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for bundled, far in MODELS.items():
        text = (BUNDLED / f"{bundled}.toml").read_text()
        (store / f"{far}.toml").write_text(text.replace(f'"{bundled}"', f'"{far}"', 1))
    return store


def upload(models: Path, there: Bucket) -> None:
    """Put a store of models into a bucket."""
    for path in models.rglob("*.*"):
        key = f"models/{path.relative_to(models)}"
        there.client.upload_file(str(path), NAME, key)


def test_a_run_brings_the_models_that_no_folder_has(
    new_product: NewProduct, project: Path, models: Path
) -> None:
    """With two workers, each model once; they are there for the next run."""
    product = new_product("far")

    summary = product.mine(project, "--workers", "2", DATA_MINER_MODELS_URI=models.as_uri())

    assert summary["phase"]["name"] == "Complete"
    folders = [path.name for path in (product.home / "model-cache").iterdir() if path.is_dir()]
    assert sorted(name.partition("@")[0] for name in folders) == sorted(MODELS.values())
    log = "".join(path.read_text() for path in (product.home / "logs").rglob("*"))
    for far in MODELS.values():
        assert (
            len([line for line in log.splitlines() if "model_pulling" in line and far in line]) == 1
        )


def test_a_bucket_of_models_that_is_away_uses_up_no_attempt(
    new_product: NewProduct, project: Path, models: Path
) -> None:
    """Tasks are put off under the name of what is away, and done when it is back."""
    product = new_product("away")
    with bucket() as there:
        port = urlsplit(there.endpoint).port or 0
        upload(models, there)
        product.environment = {
            **product.environment,
            **there.environment,
            "DATA_MINER_MODELS_URI": f"{there.uri}/models",
        }
        applied = product.do("apply", project)
        assert applied.code == 0, applied.err
    worker = product.start("worker")
    try:
        product.wait_for(
            "SELECT FROM tasks WHERE stage = 'embed' AND error_class = 'store_unreachable'",
            timeout=300,
        )
        with bucket(port) as back:
            upload(models, back)
            product.wait_for("SELECT FROM datasets", timeout=300)
    finally:
        worker.terminate()
        worker.communicate(timeout=60)
    assert [row.attempts for row in product.rows("SELECT DISTINCT attempts FROM results")] == [1]
