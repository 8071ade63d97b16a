"""The dataset's README."""

from __future__ import annotations

from dataclasses import replace

from data_miner_worker.dataset import Dataset
from data_miner_worker.formats.card import card
from data_miner_worker.told import Told, ToldVideo

HOSTILE = "A | table\n# head <script>x</script> [click](http://evil.test) `code`"


def test_card_names_sources_and_licences(dataset: Dataset) -> None:
    """Every video that gave an image is there with its address and licence, or `unknown`."""
    told = Told(videos={"a": ToldVideo("https://x.test/a", "A door", {"licence": "CC-BY"})})

    text = card(dataset, told, project="doors", digest="f" * 64).decode()

    assert "| a | 2 | A door | CC-BY | https://x.test/a |" in text
    assert "| b\\_c | 1 |  | unknown |  |" in text
    assert "| train | 2 |" in text


def test_an_empty_split_is_explained(dataset: Dataset) -> None:
    """A split that was to have a share and got none is named; one without a share is not."""
    ratios = {"train": 0.8, "val": 0.1, "test": 0.1}

    def text(**shares: float) -> str:
        spec = {**dataset.spec, "splits": {**ratios, **shares}}
        made = card(replace(dataset, spec=spec), Told(), project="x", digest="f" * 64)
        return made.decode()

    assert "So test stayed empty" in text()
    assert "stayed empty" not in text(test=0.0)


def test_hostile_titles_stay_text(dataset: Dataset) -> None:
    """A title can neither break the table nor bring in a link, a heading or HTML."""
    told = Told(videos={"a": ToldVideo(None, HOSTILE, {})})

    text = card(dataset, told, project=HOSTILE, digest="f" * 64).decode()

    rows = [line for line in text.splitlines() if line.startswith("| a |")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 6
    assert "<script" not in text
    assert "\n# head" not in text
    assert "](http" not in text
