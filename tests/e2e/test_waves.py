"""A project of several waves: its dataset depends on the waves' order and on no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.product import DEMO_MEDIA, Product, write_project

NewProduct = Callable[[str], Product]
ONE_FIRST = {"DATA_MINER_FIRST_WAVE": "1"}
"""Three clips make a wave of one and a wave of two."""


def project(folder: Path, target: str = "") -> Path:
    """Stars and rings of the demo clips, up to a target."""
    folder.mkdir(exist_ok=True)
    text = f"""
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {{name: waves}}
spec:
  sources:
    - files: {{uri: {DEMO_MEDIA}, glob: "*"}}
  sampling: {{strategy: Time, every: 1s}}
  filter:
    model: tiny-siglip
    positive: [a photo of a star, a photo of a ring]
    thresholds: {{positive: 0.5}}
  dedup: {{model: tiny-dino, threshold: 0.9}}
  {target}
  export: {{formats: [COCO]}}
"""
    return write_project(folder, text)


@pytest.fixture(scope="module")
def plain(new_product: NewProduct, tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A home in which all waves were mined by one worker."""
    product = new_product("waves")
    product.mine(project(tmp_path_factory.mktemp("plain")), **ONE_FIRST)
    return product


def test_each_closed_wave_gives_a_version_that_the_next_one_extends(plain: Product) -> None:
    """Waves of one and two videos give two versions; the later one has no fewer images."""
    sizes = plain.rows(
        "SELECT w.n, count(*) AS videos FROM waves w JOIN project_videos USING (wave_id)"
        " GROUP BY w.n ORDER BY w.n"
    )
    images = [row.images for row in plain.rows("SELECT images FROM datasets ORDER BY version")]

    assert [(row.n, row.videos) for row in sizes] == [(1, 1), (2, 2)]
    assert len(images) == 2
    assert images == sorted(images)


def test_workers_do_not_change_what_waves_give(
    plain: Product, new_product: NewProduct, tmp_path: Path
) -> None:
    """Four workers on waves that overlap give every version the digest that one worker gave it."""
    product = new_product("waves-of-four")
    product.mine(project(tmp_path), "--workers", "4", **ONE_FIRST)
    query = "SELECT version, digest FROM datasets ORDER BY version"

    assert product.rows(query) == plain.rows(query)


def test_a_target_stops_after_the_wave_that_reaches_it(
    plain: Product, new_product: NewProduct, tmp_path: Path
) -> None:
    """With a target that the first wave reaches, the second one's videos are not even fetched."""
    first = plain.rows("SELECT images FROM datasets WHERE version = 1")[0].images
    target = f"target: {{images: {first}}}"
    product = new_product("target")
    summary = product.mine(project(tmp_path / "a", target), **ONE_FIRST)
    edited = plain.mine(project(tmp_path / "b", target), **ONE_FIRST)

    assert summary["funnel"]["downloaded"] == 1
    assert summary["dataset"]["images"] == first
    assert summary["phase"]["reason"] == "TargetReached"
    # The home that had mined more before the target was set ends with the same dataset.
    assert edited["dataset"]["digest"] == summary["dataset"]["digest"]
