"""An edited project does only what the edit touches, and equals a run from nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.product import DEMO_MEDIA, Product, write_project

NewProduct = Callable[[str], Product]


def project(folder: Path, *, prompts: str, every: str) -> Path:
    """The demo's project with these prompts and this sampling."""
    text = f"""
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {{name: edited}}
spec:
  sources:
    - files: {{uri: {DEMO_MEDIA}, glob: "*"}}
  sampling: {{strategy: Time, every: {every}}}
  filter:
    model: tiny-siglip
    positive: {prompts}
    thresholds: {{positive: 0.5}}
  dedup: {{model: tiny-dino, threshold: 0.9}}
  detect:
    classes: [{{name: star, prompts: [a star]}}, {{name: square, prompts: [a square]}}]
    detectors: [{{model: tiny-detector}}]
  export: {{formats: [COCO]}}
"""
    return write_project(folder, text)


STARS = "[a photo of a star, a photo of a ring]"
SQUARES = "[a photo of a star, a photo of a square]"


@pytest.fixture(scope="module")
def edited(new_product: NewProduct, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Summaries of one home: first mined, then with other prompts, then with another sampling."""
    product = new_product("edited")
    folder = tmp_path_factory.mktemp("edited-project")
    return {
        "first": product.mine(project(folder, prompts=STARS, every="500ms")),
        "prompts": product.mine(project(folder, prompts=SQUARES, every="500ms")),
        "sampling": product.mine(project(folder, prompts=SQUARES, every="800ms")),
        "back": product.mine(project(folder, prompts=STARS, every="500ms")),
    }


def spent(edited: dict[str, Any], run: str, counter: str, but: str = "") -> float:
    """What a run itself counted, over all its stages but one."""
    costs = edited[run]["this_run"]["costs"]
    return float(sum(c.get(counter, 0) for stage, c in costs.items() if stage != but))


def digest_from_nothing(product: Product, file: Path) -> str:
    """The digest of the same project in a new home."""
    return str(product.mine(file)["dataset"]["digest"])


def test_other_prompts_cost_no_download_no_decode_and_no_embedding(edited: dict[str, Any]) -> None:
    """Before `cut`, a changed prompt fetches, decodes and embeds nothing for the filter."""
    done = edited["prompts"]["this_run"]

    assert set(done["results"]) == {"filter", "dedup_embed", "dedup", "cut", "detect", "export"}
    assert spent(edited, "prompts", "downloads") == 0
    assert spent(edited, "prompts", "bytes_downloaded") == 0
    assert spent(edited, "prompts", "packets_decoded", but="cut") == 0
    assert spent(edited, "prompts", "frames_decoded", but="cut") == 0
    assert spent(edited, "prompts", "frames_embedded") == 0
    assert spent(edited, "first", "packets_decoded", but="cut") > 0


def test_only_what_is_newly_kept_is_embedded_and_cut(edited: dict[str, Any]) -> None:
    """Frames that were kept before lend their vectors and images; only the new ones cost."""
    images = edited["prompts"]["funnel"]["unique"]
    first, then = (spent(edited, run, "dedup_frames_embedded") for run in ("first", "prompts"))

    assert 0 < then < first
    assert 0 < spent(edited, "prompts", "frames_cut") < images


def test_edited_prompts_give_what_a_run_from_nothing_gives(
    edited: dict[str, Any], new_product: NewProduct, tmp_path: Path
) -> None:
    """The history of a home does not show in its dataset."""
    expected = digest_from_nothing(
        new_product("from-nothing"), project(tmp_path, prompts=SQUARES, every="500ms")
    )

    assert edited["prompts"]["dataset"]["digest"] == expected
    assert edited["prompts"]["dataset"]["digest"] != edited["first"]["dataset"]["digest"]


def test_another_sampling_reuses_the_downloads(edited: dict[str, Any]) -> None:
    """A changed sampling decodes and embeds anew, and fetches nothing."""
    done = edited["sampling"]["this_run"]

    assert "download" not in done["results"]
    assert spent(edited, "sampling", "downloads") == 0
    assert done["results"]["extract"] == 3
    assert spent(edited, "sampling", "frames_embedded") > 0


def test_going_back_only_points_at_the_old_version(edited: dict[str, Any]) -> None:
    """The first spec again: its results are still there, and its dataset is the newest again."""
    first, back = edited["first"]["dataset"], edited["back"]["dataset"]
    folder = Path(first["uri"].removeprefix("file://"))

    assert edited["back"]["this_run"]["results"] == {"export": 1}
    assert back["digest"] == first["digest"]
    assert back["version"] > edited["sampling"]["dataset"]["version"]
    assert (folder.parents[1] / "dataset").resolve() == folder.resolve()
