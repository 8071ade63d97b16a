"""Model cards: found, read, and checked against their files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data_miner_models.cards import BUNDLED, list_cards, load_card, verify
from data_miner_models.errors import ModelError
from data_miner_models.image_encoder import ImageEncoder

BUNDLED_FILES = [
    (card.name, role) for card in list_cards() for role in sorted(card.files)
]  # fmt: skip


def copy_bundle(folder: Path) -> Path:
    return Path(shutil.copytree(BUNDLED, folder / "store"))


def edit_card(card: Path, before: str, after: str) -> None:
    text = card.read_text(encoding="utf-8")
    assert before in text
    card.write_text(text.replace(before, after), encoding="utf-8")


def test_the_bundled_models_are_whole_free_and_small() -> None:
    """The three demo models verify, are Apache-2.0, warn their user and take less than 3 MB."""
    cards = list_cards()
    assert [card.name for card in cards] == ["tiny-detector", "tiny-dino", "tiny-siglip"]
    for card in cards:
        verify(card)
        assert card.licence == "Apache-2.0"
        assert card.warning is not None
        assert "nothing of the real world" in card.warning
        assert card.training
        assert card.metrics
    assert sum(file.stat().st_size for file in BUNDLED.rglob("*") if file.is_file()) < 3_000_000


@pytest.mark.parametrize(("name", "role"), BUNDLED_FILES)
def test_one_flipped_bit_in_any_file_is_refused(tmp_path: Path, name: str, role: str) -> None:
    """verify names the file, the hash that its card expects and the hash that it found."""
    card = load_card(name, [copy_bundle(tmp_path)])
    path = card.path(role)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=card.files[role].sha256) as caught:
        verify(card)
    assert str(path) in str(caught.value)
    assert "has sha256" in str(caught.value)


def test_a_truncated_file_is_refused_by_its_size(small_store: Path) -> None:
    """verify names the size found and the size expected."""
    card = load_card("small", [small_store])
    path = card.path("image")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=f"has {card.files['image'].bytes - 1} bytes"):
        verify(card)


def test_a_missing_file_is_refused(small_store: Path) -> None:
    """verify names the file that is not there."""
    card = load_card("small", [small_store])
    card.path("image").unlink()
    with pytest.raises(ModelError, match=r"small\.onnx: No such file"):
        verify(card)


def test_an_altered_model_is_never_loaded(small_store: Path) -> None:
    """An encoder checks the files before it starts, even where the altered file would load."""
    card = load_card("small", [small_store])
    path = card.path("image")
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="has sha256"):
        ImageEncoder(card)


def test_an_unknown_name_lists_the_known_ones(small_store: Path) -> None:
    """The message holds what was asked for and every name that would work."""
    with pytest.raises(ModelError, match="'huge' is not known") as caught:
        load_card("huge", [small_store])
    assert "small, tiny-detector, tiny-dino, tiny-siglip" in str(caught.value)


def test_an_own_store_goes_before_the_bundled_one(tmp_path: Path) -> None:
    """The first store that has a name wins."""
    store = copy_bundle(tmp_path)
    edit_card(store / "tiny-dino.toml", 'summary = "', 'summary = "Mine. ')
    assert load_card("tiny-dino", [store]).summary.startswith("Mine. ")
    assert load_card("tiny-dino", [tmp_path / "empty"]).folder == BUNDLED


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('path = "small.onnx"', 'path = "../small.onnx"', "files.image.path"),
        ('path = "small.onnx"', 'path = "/etc/passwd"', "files.image.path"),
        ('licence = "Apache-2.0"', 'license = "Apache-2.0"', "licence"),
        ('family = "dino"', 'family = "cat"', "family"),
        ("dimension = 5", "dimension = 5\nspeed = 9", "speed"),
        (
            "dimension = 5",
            "dimension = 5\n[scoring]\nscale = 1.0\nbias = 0.0",
            "scoring belongs to",
        ),
        ('family = "dino"', 'family = "siglip"', "image, text, tokenizer"),
        ('mode = "squash"', 'mode = "stretch"', "preprocessing.mode"),
        ('name = "small"', 'name = "tall"', "name is 'tall'"),
        ('name = "small"', "name = small", "line 2"),
    ],
)
def test_a_wrong_card_gets_one_clear_line(
    small_store: Path, before: str, after: str, complaint: str
) -> None:
    """The message names the card's path and what is wrong in it."""
    edit_card(small_store / "small.toml", before, after)
    with pytest.raises(ModelError, match=r"model card .*small\.toml") as caught:
        load_card("small", [small_store])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
