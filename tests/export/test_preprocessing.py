"""Renders differ from the published processors' pixels by rounding alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_miner_export.checkpoint import Checkpoint
from data_miner_models.errors import ModelError
from export.conftest import Exported

KINDS = ("siglip", "siglip2", "dinov2", "dinov3", "owlv2", "grounding_dino")
SIZES = ((360, 640), (641, 363), (100, 90), (64, 64), (1080, 1920))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "kind", ["siglip", "siglip2", "dinov2", "dinov3", "owlv2", "grounding_dino"]
)
def test_a_render_is_what_the_processor_makes(
    exported: Exported, kind: str, size: tuple[int, int]
) -> None:
    """At most one level of 255, of pictures with fine grain and sharp edges."""
    from transformers import AutoImageProcessor

    folder = exported.checkpoint(kind)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    noise = np.random.default_rng(1)
    coarse = noise.integers(0, 256, (size[0] // 8 + 2, size[1] // 8 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size[1], size[0])), np.int64)
    picture = np.clip(smooth + noise.integers(-40, 40, smooth.shape), 0, 255).astype(np.uint8)

    expected = processor(Image.fromarray(picture), return_tensors="np", do_normalize=False)
    pixels = np.moveaxis(np.asarray(expected["pixel_values"][0]), 0, -1) * 255
    how, _, _ = Checkpoint(folder).preprocessing()
    assert np.abs(how.render(picture) - pixels).max() <= 1.0001


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"resample": 3', '"resample": 0', "cannot be followed"),
        ('"do_normalize": true', '"do_normalize": false', "does not normalise"),
        ('"rescale_factor": 0.00392156862745098', '"rescale_factor": 0.5', "another factor"),
    ],
)
def test_a_processor_that_cannot_be_followed_is_refused(
    exported: Exported, tmp_path: Path, before: str, after: str, words: str
) -> None:
    """A model whose pixels are a guess is worse than none."""
    text = (exported.checkpoint("siglip") / "preprocessor_config.json").read_text()
    assert before in text
    (tmp_path / "preprocessor_config.json").write_text(text.replace(before, after))
    with pytest.raises(ModelError, match=words):
        Checkpoint(tmp_path).preprocessing()
