"""The image that makes models, with nothing to fetch. Gigabytes: `make test-images LARGE=1`."""

from __future__ import annotations

import pytest

from support.images.catalogue import IMAGES
from support.images.container import Container, Open

pytestmark = pytest.mark.large
PYTHON = "/opt/data-miner/venv/bin/python"
EXPORT = """
import json, os, pathlib, torch
from transformers import Dinov2Config, Dinov2Model
torch.manual_seed(7)
folder = pathlib.Path("/tmp/checkpoint")
config = Dinov2Config(
    hidden_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=56, patch_size=14
)
Dinov2Model(config).eval().save_pretrained(folder)
(folder / "README.md").write_text("---\\nlicense: apache-2.0\\n---\\n")
(folder / "preprocessor_config.json").write_text(json.dumps({
    "image_processor_type": "BitImageProcessor", "do_rescale": True, "do_normalize": True,
    "do_resize": True, "size": {"shortest_edge": 56}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 56, "width": 56},
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 1 / 255,
}))
os.execvp("data-miner", [
    "data-miner", "models", "export", str(folder), "--name", "small", "--out", "/tmp/models",
    "--work", "/tmp/work",
])
"""


@pytest.fixture
def exporter(opened: Open) -> Container:
    """The image of the present sources."""
    return opened("export")


def test_it_makes_a_model_as_a_user_without_rights_on_a_root_that_cannot_be_written(
    exporter: Container,
) -> None:
    """Compared with the checkpoint before it is published, as everywhere."""
    done = exporter.do("-c", EXPORT, entrypoint=[PYTHON])
    assert done.returncode == 0, done.stderr
    assert "image: " in done.stdout + done.stderr
    assert "differs by cosine" in done.stdout + done.stderr


def test_it_is_no_heavier_than_promised(exporter: Container) -> None:
    """What a node downloads stays below the limit."""
    from support.images import building

    size, limit = building.compressed_bytes("export") / 1e6, IMAGES["export"].limit_mb
    print(f"export: {size:.1f} MB of {limit} MB")  # noqa: T201  # for a person
    assert limit
    assert size <= limit
