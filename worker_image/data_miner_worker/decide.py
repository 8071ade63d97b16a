"""The filter's rule: which frames are kept, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

DECIMALS: Final = 6
"""Scores and their differences are rounded to this many decimals before they decide. So a last
bit that the exponential function rounds another way on another machine does not decide, and
0.4 - 0.3 is not more than 0.1."""


class Reason(StrEnum):
    """Why a frame was kept or dropped; of several reasons the first in this order."""

    KEPT = "kept"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEGATIVE_MARGIN = "negative_margin"
    JUNK = "junk"
    JUNK_MARGIN = "junk_margin"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The lines, as probabilities or logits like the scores. All comparisons are strict."""

    positive: float
    negative: float
    junk: float
    negative_margin: float
    junk_margin: float

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """From a recipe's parameters. Raises KeyError, TypeError for others."""
        return cls(**{name: float(params[name]) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Scores:
    """The best score of each frame in each list of prompts, float64 (N,), already rounded.

    None stands for a list without prompts: it vetoes nothing.
    """

    positive: NDArray[np.float64]
    negative: NDArray[np.float64] | None
    junk: NDArray[np.float64] | None


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value as the float64 nearest to its decimal of `DECIMALS` places."""
    # Adding zero turns -0.0 into 0.0, so that equal scores are equal bytes.
    return np.asarray(np.round(values, DECIMALS) + 0.0, np.float64)


def decide(scores: Scores, thresholds: Thresholds) -> tuple[Reason, ...]:
    """One reason a frame.

    Kept iff P > positive, and with negative prompts N < negative and P - N > negative_margin, and
    the same with junk prompts.
    """
    failures = [(Reason.POSITIVE, ~(scores.positive > thresholds.positive))]
    for veto, most, least_margin, too_high, too_close in (
        (
            scores.negative,
            thresholds.negative,
            thresholds.negative_margin,
            Reason.NEGATIVE,
            Reason.NEGATIVE_MARGIN,
        ),
        (scores.junk, thresholds.junk, thresholds.junk_margin, Reason.JUNK, Reason.JUNK_MARGIN),
    ):
        if veto is not None:
            failures.append((too_high, ~(veto < most)))
            failures.append((too_close, ~(rounded(scores.positive - veto) > least_margin)))
    names = (Reason.KEPT, *(reason for reason, _ in failures))
    first = np.zeros(len(scores.positive), np.int64)
    for number in range(len(failures), 0, -1):
        first[failures[number - 1][1]] = number
    return tuple(names[number] for number in first)
