"""Sentences in a status."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data_miner_operator.reconcile.wording import cut, line, many, some


@given(st.text(max_size=60), st.integers(0, 80))
def test_a_line_never_takes_more_bytes_than_it_may(text: str, limit: int) -> None:
    """Whatever it is made of, and however little room there is."""
    assert len(line(text, limit).encode()) <= limit


def test_a_text_that_fits_stays_as_it_is() -> None:
    """Nothing is cut off without need, and what is cut ends with an ellipsis."""
    assert cut("abc", 3) == "abc"
    assert cut("abcd efgh", 8) == "abcd…"
    assert cut("\N{FIRE}\N{FIRE}", 7) == "\N{FIRE}…"
    assert cut("abcd", 2) == ""


def test_a_line_holds_no_secret_and_no_control_character() -> None:
    """Text from outside is made harmless."""
    assert line("at postgresql://me:hush@db\n\x1b[31m now", 200) == (
        "at postgresql://me:***@db \N{REPLACEMENT CHARACTER}[31m now"
    )


def test_long_lists_of_names_are_cut_short() -> None:
    """The first three, and how many more there are."""
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_a_number_has_the_right_word() -> None:
    """One pod, two pods."""
    assert (many(1, "pod", "pods"), many(2, "pod", "pods")) == ("1 pod", "2 pods")
