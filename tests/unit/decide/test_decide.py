"""The filter's rule against the formula that it is defined by, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner_worker.decide import Reason, Scores, Thresholds, decide, rounded

Micro = st.integers(0, 1_000_000)


def exact(micro: int) -> Fraction:
    return Fraction(micro, 1_000_000)


def one_score(micro: int | None) -> np.ndarray | None:
    return None if micro is None else np.array([micro / 1e6])


@given(
    positive=Micro,
    negative=st.none() | Micro,
    junk=st.none() | Micro,
    lines=st.tuples(Micro, Micro, Micro, Micro, Micro),
)
def test_decision_equals_the_reference_formula(
    positive: int, negative: int | None, junk: int | None, lines: tuple[int, int, int, int, int]
) -> None:
    """A frame is kept exactly when the reference formula keeps it, at every boundary too."""
    t_positive, t_negative, t_junk, m_negative, m_junk = lines
    expected = (
        exact(positive) > exact(t_positive)
        and (
            negative is None
            or (negative < t_negative and exact(positive) - exact(negative) > exact(m_negative))
        )
        and (junk is None or (junk < t_junk and exact(positive) - exact(junk) > exact(m_junk)))
    )

    scores = Scores(np.array([positive / 1e6]), one_score(negative), one_score(junk))
    (reason,) = decide(scores, Thresholds(*(line / 1e6 for line in lines)))

    assert expected == (reason is Reason.KEPT)


DEFAULTS = Thresholds(positive=0.3, negative=0.3, junk=0.3, negative_margin=0.1, junk_margin=0.05)


@pytest.mark.parametrize(
    ("positive", "negative", "junk", "reason"),
    [
        (0.31, 0.1, 0.1, Reason.KEPT),
        (0.3, 0.0, 0.0, Reason.POSITIVE),  # strict: at the line is not over it
        (0.9, 0.3, 0.0, Reason.NEGATIVE),
        (0.35, 0.25, 0.0, Reason.NEGATIVE_MARGIN),  # 0.35 - 0.25 is 0.1, not more
        (0.9, 0.0, 0.3, Reason.JUNK),
        (0.31, 0.0, 0.29, Reason.JUNK_MARGIN),
        (0.2, 0.9, 0.9, Reason.POSITIVE),  # the first of several reasons
        (0.9, 0.9, 0.9, Reason.NEGATIVE),
    ],
)
def test_each_reason_has_its_name(
    positive: float, negative: float, junk: float, reason: Reason
) -> None:
    """A dropped frame says which line it failed first."""
    scores = Scores(np.array([positive]), np.array([negative]), np.array([junk]))

    assert (reason,) == decide(scores, DEFAULTS)


def test_a_list_without_prompts_vetoes_nothing() -> None:
    """Without negative and junk prompts only the positive line counts; no prompts are inherited."""
    scores = Scores(np.array([0.31, 0.29]), None, None)

    assert decide(scores, DEFAULTS) == (Reason.KEPT, Reason.POSITIVE)


def test_logits_are_compared_like_probabilities() -> None:
    """Scores and lines below zero work: the rule knows no range."""
    lines = Thresholds(-8, -9, -9, 0.5, 0.5)
    scores = Scores(np.array([-7.5, -8.0, -7.5]), np.array([-9.5, -12, -8.5]), None)

    assert decide(scores, lines) == (Reason.KEPT, Reason.POSITIVE, Reason.NEGATIVE)


def test_rounding_gives_the_float_of_the_decimal() -> None:
    """A rounded score equals the literal that a person would write, and never is minus zero."""
    values = rounded(np.array([0.1234564999, 0.30000000000000004, -1e-9]))

    assert values.tolist() == [0.123456, 0.3, 0.0]
    assert not np.signbit(values[2])
