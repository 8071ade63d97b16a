"""Charts show what they are given."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from data_miner_worker.report.charts import funnel, histogram
from data_miner_worker.report.content import Histogram, Step

CHART = Histogram("positive", 0.0, 1.0, [0, 0, 3, 100], [1000, 10, 1, 0], 0.5, keeps_above=True)


def test_funnel_bars_are_proportional_within_a_unit() -> None:
    """Bars compare with the largest of their own unit; shares with the step before."""
    html = funnel([Step("found", 8, "videos"), Step("a", 1000, "frames"), Step("b", 250, "frames")])

    assert re.findall(r"width:([0-9.]+)%", html) == ["100.00", "100.00", "25.00"]
    assert re.findall(r"<small>([^<]*)</small>", html) == ["", "", "25 %"]


def test_funnel_of_nothing_has_no_width() -> None:
    """A funnel without frames is drawn, empty."""
    assert "width:0.00%" in funnel([Step("found", 0, "videos")])


def test_histogram_draws_every_bin_and_the_threshold() -> None:
    """Each bin that holds frames has a bar that says how many, the threshold lies where it is."""
    figure = ElementTree.fromstring(histogram(CHART))

    titles = [title.text for title in figure.iter("title")]
    assert titles == [
        "0 to 0.25: 1000 dropped",
        "0.25 to 0.5: 10 dropped",
        "0.5 to 0.75: 3 kept",
        "0.5 to 0.75: 1 dropped",
        "0.75 to 1: 100 kept",
    ]
    (line,) = figure.iterfind(".//line[@class='threshold']")
    (axis,) = figure.iterfind(".//line[@class='base']")
    middle = (float(axis.attrib["x1"]) + float(axis.attrib["x2"])) / 2
    assert float(line.attrib["x1"]) == pytest.approx(middle, abs=0.1)


def test_histogram_heights_grow_with_the_logarithm() -> None:
    """Ten times as many frames are one step higher, at every height."""
    ten = Histogram("junk", 0, 1, [1, 10, 100, 1000], [0] * 4, 0.3, keeps_above=False)

    rects = ElementTree.fromstring(histogram(ten)).iter("rect")
    heights = [float(rect.attrib["height"]) for rect in rects]

    steps = [b - a for a, b in pairwise(heights)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
    assert heights[0] > 0
