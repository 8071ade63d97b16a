"""A model says again what it said at its export, or it is said that it does not."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_miner_models import golden
from data_miner_models.cards import BUNDLED, Graph, ModelCard, ModelFile, Tensor, load_card
from data_miner_models.errors import ModelError
from data_miner_models.store import describe

NAMES = ("tiny-siglip", "tiny-dino", "tiny-detector")


def _with_golden(name: str, folder: Path) -> ModelCard:
    """A bundled model in a folder of its own, with what it says now."""
    store = Path(shutil.copytree(BUNDLED, folder / "store"))
    card = load_card(name, [store])
    golden.write(card, store / "golden.npz")
    digest, size = describe(store / "golden.npz")
    return replace(card, files={**card.files, "golden": ModelFile("golden.npz", digest, size)})


@pytest.mark.parametrize("name", NAMES)
def test_it_says_again_what_it_said(name: str, tmp_path: Path) -> None:
    """The answer tells what was compared."""
    said = golden.verify_golden(_with_golden(name, tmp_path))
    assert said
    assert ("boxes within" in said[-1]) == (name == "tiny-detector")
    assert not said[-1].startswith("0 ")


def test_a_model_without_golden_values_has_nothing_to_compare() -> None:
    """As those of users who made them otherwise."""
    assert golden.verify_golden(load_card("tiny-dino")) == ()


@pytest.mark.parametrize("shape", [("batch", 7), ("batch", "wide")])
def test_a_model_without_golden_values_must_run_all_the_same(
    shape: tuple[int | str, ...], small_store: Path
) -> None:
    """With what its card says of the file: nobody wants to hear of it from the first task."""
    card = load_card("small", [small_store])
    graph = Graph(card.graphs["image"].inputs, {"embeds": Tensor("vectors", "float32", shape)})
    with pytest.raises(ModelError, match="vectors has shape"):
        golden.verify_golden(replace(card, graphs={"image": graph}))
    with pytest.raises(ModelError, match=r"gave \(8, 5\), its card says dimension 7"):
        golden.verify_golden(replace(card, dimension=7))


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("tiny-siglip", "ids_2", "other token ids than at its export: 'Tür, naïve café!'"),
        ("tiny-siglip", "image_vectors", "image vectors differ"),
        ("tiny-siglip", "text_vectors", "text vectors differ"),
        ("tiny-dino", "image_vectors", "image vectors differ"),
        ("tiny-detector", "boxes", "boxes differ from those of its export by"),
        ("tiny-detector", "scores", "of score"),
        ("tiny-detector", "labels", "not found any more"),
    ],
)
def test_whatever_is_different_is_said(name: str, changed: str, words: str, tmp_path: Path) -> None:
    """Ids, vectors, boxes, scores and labels."""
    card = _with_golden(name, tmp_path)
    with np.load(card.path("golden")) as stored:
        values = {key: stored[key] for key in stored.files}
    values[changed] = (
        np.full_like(values[changed], 99)
        if changed == "labels"
        else values[changed] * 0.99 + 1
        if changed == "boxes"
        else values[changed] * 0.97
    )
    np.savez(card.path("golden"), **values)
    with pytest.raises(ModelError, match=words):
        golden.verify_golden(card)


def test_a_damaged_file_is_said_in_one_line(tmp_path: Path) -> None:
    """Not with what the reader of archives says at length."""
    card = _with_golden("tiny-dino", tmp_path)
    card.path("golden").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(ModelError, match=r"model tiny-dino: .*golden\.npz") as caught:
        golden.verify_golden(card)
    assert "\n" not in str(caught.value)


def test_the_drawn_pictures_are_the_same_everywhere() -> None:
    """Their bytes are part of what was stored: another drawing would make every model wrong."""

    digest = hashlib.sha256(b"".join(golden.drawn(n).tobytes() for n in range(3))).hexdigest()
    assert digest == "6737eac7dd73230ba3fe30ae7fbfab84a16f3f29f147e273977b2a3a0474233b"


@pytest.mark.parametrize("name", NAMES)
def test_without_golden_values_a_provider_is_held_against_a_cpu(name: str) -> None:
    """Here it is one itself: nothing differs, and where it ran is said."""
    where, *said = golden.verify_golden(load_card(name), "auto")
    assert where.startswith("on ")
    assert said


def test_half_precision_may_differ_more_than_single() -> None:
    """Of all that is compared."""
    for limits in (golden.MAX_COSINE_GAP, golden.MAX_PIXELS, golden.MAX_SCORE_GAP):
        assert limits["single"] < limits["half"]
