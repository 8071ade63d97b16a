"""The preview of the dashboards draws what Prometheus answers, and says where that is nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.dashboards import boards, panels
from support.every_metric import told
from support.preview import main, pages
from support.preview_draw import Ticks
from support.preview_panels import merged
from support.preview_units import formatted
from support.prometheus import Prometheus, Sample, scrape

ALERT = {
    "groups": [
        {
            "name": "one",
            "rules": [
                {
                    "alert": "DataMinerNoLeader",
                    "expr": "vector(1)",
                    "labels": {"severity": "critical"},
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped every metric for some seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump(ALERT))
    with told() as address:
        target = scrape("all", address, pod="one", pool="default")
        with Prometheus(folder, [target], [rules]) as server:
            server.wait_for('ALERTS{alertstate="firing"}')
            server.wait_for("sum_over_time(up[1m]) > 4", seconds=60)
            yield server


def answered(prometheus: Prometheus) -> float:
    """When the target last answered: on a busy machine it may miss a scrape."""
    [sample] = prometheus.wait_for("timestamp(up == 1)")
    return sample.value


def test_every_panel_has_an_answer_when_every_metric_is_there(prometheus: Prometheus) -> None:
    """No expression asks for a label's value, or for a join, that never comes."""
    found = pages(prometheus, seconds=6, until=answered(prometheus), scrape_seconds=10)
    for name, board in boards().items():
        sections = re.findall(r"<section.*?</section>", found[name], re.DOTALL)
        assert len(sections) == len(panels(board))
        empty = [
            panel["title"]
            for panel, section in zip(panels(board), sections, strict=True)
            if 'class="nothing"' in section
        ]
        assert empty == []


def test_a_page_stands_alone_and_says_what_it_is(prometheus: Prometheus) -> None:
    """Nothing is loaded from elsewhere, and nobody takes it for Grafana."""
    for name, text in pages(prometheus, seconds=6, scrape_seconds=1).items():
        assert "preview, rendered without Grafana" in text
        assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(|<script", text), name
        assert "prefers-color-scheme: dark" in text
        titles = re.findall(r"<h2>(.*?) <i", text)
        assert titles == [panel["title"] for panel in panels(boards()[name])]


def test_without_an_answer_a_panel_says_so_in_its_own_words(prometheus: Prometheus) -> None:
    """Long before the first scrape there was nothing."""
    before = time.time() - 86400
    found = pages(prometheus, seconds=60, until=before)
    assert "nothing is stuck" in found["overview"]
    assert "no leader" in found["operator-and-queue"]
    assert "<svg" not in found["gpu-and-workers"]


def test_the_command_writes_a_page_for_each_dashboard(
    prometheus: Prometheus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["preview", prometheus.address, str(tmp_path), "--minutes=1"])
    main()
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.html" for name in boards()}


def test_names_from_outside_are_no_markup(prometheus: Prometheus, tmp_path: Path) -> None:
    panel = json.loads(json.dumps(panels(boards()["overview"])[0]))
    panel["title"] = "<b>&"
    (tmp_path / "one.json").write_text(json.dumps({"title": "<i>", "panels": [panel]}))
    text = pages(prometheus, seconds=6, folder=tmp_path)["one"]
    assert "&lt;b&gt;&amp;" in text
    assert "<h1>&lt;i&gt;</h1>" in text


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.0, "s", None, "0 s"),
        (0.0123, "s", None, "12.3 ms"),
        (90.0, "s", None, "1.5 min"),
        (5400.0, "s", None, "1.5 hours"),
        (200000.0, "s", None, "2.31 days"),
        (1234567.0, "locale", None, "1,234,567"),
        (1234.0, "short", None, "1.23 K"),
        (0.256, "percentunit", 0, "26%"),
        (2048.0, "bytes", None, "2 KiB"),
        (2500.0, "Bps", None, "2.5 kB/s"),
        (3.14159, "suffix:x", 1, "3.1 x"),
        (0.5, "ops", None, "0.5 ops/s"),
        (float("nan"), "s", None, "NaN"),
        (float("inf"), "short", None, "∞"),
        (7200_000.0, "dateTimeFromNow", None, "in 2 hours"),
        (-60_000.0, "dateTimeFromNow", None, "60 seconds ago"),
    ],
)
def test_a_number_is_written_in_its_unit(
    value: float, unit: str, decimals: int | None, text: str
) -> None:
    assert formatted(value, unit, decimals) == text


def test_rows_that_agree_in_the_labels_of_all_frames_are_merged() -> None:
    """As Grafana's transformation does it; what an answer lacks stays empty."""
    frames = {
        "A": [Sample({"p": "x", "why": "late"}, 1, 0), Sample({"p": "y", "why": "lost"}, 1, 0)],
        "B": [Sample({"p": "y"}, 7, 0), Sample({"p": "z"}, 8, 0)],
        "C": [],
    }
    assert merged(frames) == [
        {"p": "x", "why": "late", "A": 1},
        {"p": "y", "why": "lost", "A": 1, "B": 7},
        {"p": "z", "B": 8},
    ]


@pytest.mark.parametrize("high", [0.0, 0.003, 1.0, 7.0, 95.0, 4000.0, 90000.0, float("inf")])
@pytest.mark.parametrize("seconds", [False, True])
def test_an_axis_covers_its_values_with_few_round_numbers(high: float, seconds: bool) -> None:
    ticks = Ticks(seconds=seconds).over(0.0, high)
    assert ticks[0] == 0
    assert ticks[-1] >= (high if high < float("inf") else 0)
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
