"""Durations between text and seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner.spec.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds", "shortest"),
    [
        ("2s", 2.0, "2s"),
        ("500ms", 0.5, "500ms"),
        ("10m", 600.0, "10m"),
        ("1h30m", 5400.0, "1h30m"),
        ("90m", 5400.0, "1h30m"),
        ("1.5h", 5400.0, "1h30m"),
        ("0.1s", 0.1, "100ms"),
        ("24h", 86_400.0, "1d"),
        ("1d2h3m4s5ms", 93_784.005, "1d2h3m4s5ms"),
        ("3650d", 315_360_000.0, "3650d"),
    ],
)
def test_text_and_seconds(text: str, seconds: float, shortest: str) -> None:
    """A text means these seconds, and they are written in the shortest way."""
    assert parse_duration(text) == seconds
    assert format_duration(seconds) == shortest


@pytest.mark.parametrize(
    "value",
    ["", "s", "2", "2 s", "2S", "-2s", "1m1h", "1s1s", "1.0001s", "0ms", "3651d", "2s\n", "1w",
     "٢s", 2, 2.0, True, None, ["2s"], "1" * 100],
)  # fmt: skip
def test_refused(value: object) -> None:
    """Anything else is no duration, and says so."""
    with pytest.raises(ValueError, match=r"^must "):
        parse_duration(value)


@given(milliseconds=st.integers(1, 3650 * 86_400_000))
def test_every_millisecond_survives(milliseconds: int) -> None:
    """A duration that is written and read again is the same to the last bit."""
    seconds = milliseconds / 1000

    assert parse_duration(format_duration(seconds)) == seconds
