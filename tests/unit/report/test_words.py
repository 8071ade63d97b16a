"""Numbers as people read them."""

from __future__ import annotations

import pytest

from data_miner_worker.report import words


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 0, ""),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (1, 40_000, "< 0.01 %"),
        (9_999_999, 10_000_000, "100 %"),
    ],
)
def test_share(part: int, whole: int, text: str) -> None:
    """A share has three digits, and is never rounded to nothing."""
    assert words.share(part, whole) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (3.2e9, "3.2 GB")]
)
def test_size(value: float, text: str) -> None:
    """Bytes have decimal units."""
    assert words.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (62.34, "1:02.3"), (3723.4, "1:02:03.4"), (59.99, "1:00.0")],
)
def test_clock(seconds: float, text: str) -> None:
    """A time in a video is hours, minutes and seconds, and never shows 60 seconds."""
    assert words.clock(seconds) == text


def test_several() -> None:
    """One thing is singular."""
    assert words.several(1, "box", "boxes") == "1 box"
    assert words.several(1200, "image") == "1,200 images"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.123, "0.123 s"), (240, "4 min"), (12600, "3.5 h")]
)
def test_duration(seconds: float, text: str) -> None:
    """Working time has a unit that fits."""
    assert words.duration(seconds) == text
