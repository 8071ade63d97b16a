"""What users give is refused in a line, and never with a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from data_miner_models.cache import ModelCache
from data_miner_models.cards import BUNDLED, parse_card
from data_miner_models.command import app, or_exit
from data_miner_models.errors import GoneError, ModelError, PassingError, StoreError
from data_miner_models.store import card_at
from support.media_server import MediaServer


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("tiny-dino", "dimension = 64", "dimension = 7", "embeds of graph image have length 64"),
        ("tiny-dino", "\nembeds = ", "\nvectors = ", "graph image .* has the outputs embeds"),
        ("tiny-dino", "\nframes = ", "\npixels = ", "graph image .* has the inputs frames"),
        ("tiny-dino", '["batch", 72, 128, 3]', '["batch", 72]', "frames .* has 4 axes"),
        ("tiny-dino", '["batch", 72, 128, 3]', '["batch", "h", 128, 3]', "a fixed height"),
        ("tiny-siglip", "\nids = ", "\nwords = ", "graph text .* has the inputs ids"),
        ("tiny-detector", "\nboxes = ", "\nrests = ", "boxes, class_embeds, objectness"),
        ("tiny-detector", "\nobjectness = ", "\nx = ", "boxes, class_embeds, objectness"),
        ("tiny-dino", "bytes = 1409312", f"bytes = {10**400}", "files.image.bytes"),
        ("tiny-dino", "dimension = 64", f"dimension = {'[' * 5000}", "too many brackets"),
    ],
)
def test_a_card_that_could_not_be_run_is_refused(
    name: str, before: str, after: str, words: str
) -> None:
    """By whoever reads it, and not by the first task."""
    text = (BUNDLED / f"{name}.toml").read_text()
    assert before in text
    with pytest.raises(ModelError, match=words):
        parse_card(text.replace(before, after), Path(f"{name}.toml"))


@pytest.mark.parametrize("gigabytes", ["nan", "inf", "much"])
def test_a_cache_has_a_number_of_gigabytes(
    gigabytes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not any word that Python takes for a number."""
    monkeypatch.setenv("DATA_MINER_MODELS_CACHE_GB", gigabytes)
    found = CliRunner().invoke(app, ["list", "--home", str(tmp_path)])
    assert found.exit_code == 2
    assert f"DATA_MINER_MODELS_CACHE_GB='{gigabytes}': expected a number" in found.output


def test_a_model_of_the_cache_that_cannot_be_taken_is_wrong_and_the_others_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the cache of another user."""
    monkeypatch.setenv("DATA_MINER_MODELS_URI", str(BUNDLED))
    cache = ModelCache(tmp_path / "model-cache", 10**9)
    card, text = card_at("tiny-dino", str(BUNDLED))
    nothing = lambda *_: None  # noqa: E731
    cache.bring(card, text, str(BUNDLED), nothing, nothing)
    (use,) = tmp_path.glob("model-cache/tiny-dino@*/.use")
    use.unlink()
    use.mkdir()
    found = CliRunner().invoke(app, ["verify", "--no-run", "--home", str(tmp_path)])
    assert found.exit_code == 6
    assert "Is a directory" in found.output
    assert "tiny-siglip: 3 files as the card says" in found.output


def test_a_store_that_is_away_has_another_exit_code_than_a_model_that_is_not_there(
    tmp_path: Path,
) -> None:
    """Whoever starts the command again on its own, such as a Job, goes by that."""

    def pulled(name: str, uri: str) -> int:
        arguments = ["pull", name, "--from", uri, "--home", str(tmp_path / "home")]
        return CliRunner().invoke(app, arguments).exit_code

    assert pulled("none", str(BUNDLED)) == 6
    assert pulled("tiny-dino", str(tmp_path / "not-mounted")) == 5
    with MediaServer() as gone:
        uri = gone.url("/models")
    assert pulled("tiny-dino", uri) == 5


@pytest.mark.parametrize(("error", "code"), [
    (PassingError("the hub is busy"), 8), (GoneError("no GPU here"), 6),
    (StoreError("denied"), 5), (OSError("disk"), 5), (ModelError("wrong"), 6),
])  # fmt: skip
def test_the_exit_code_says_whether_the_same_may_go_well_in_a_minute(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, or_exit():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == f"error: {error}\n"
