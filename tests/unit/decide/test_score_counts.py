"""The spread of scores as counts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_miner_worker.score_counts import ABOVE, LOGIT_EDGES, PROBABILITY_EDGES, score_counts


def filled(scores: NDArray[np.float64], space: str) -> dict[str, int]:
    """The intervals with a frame."""
    return {edge: frames for edge, frames in score_counts(scores, space).items() if frames}


def test_intervals_without_a_frame_are_there_too() -> None:
    """So that the counts of two videos have the same edges."""
    none = np.array([], np.float64)
    assert set(score_counts(none, "Logit").values()) == {0}
    assert len(score_counts(none, "Probability")) == len(PROBABILITY_EDGES) + 1


def test_an_edge_belongs_to_the_interval_below_it() -> None:
    """As in a histogram of Prometheus, whose buckets are "less than or equal"."""
    assert filled(np.array([0.1, 0.1001, 1.0]), "Probability") == {"0.1": 1, "0.2": 1, "1": 1}


def test_logits_have_edges_of_their_own_and_an_open_end() -> None:
    assert filled(np.array([-30.0, 0.0, 99.0]), "Logit") == {"-20": 1, "0": 1, ABOVE: 1}


@given(st.lists(st.floats(-50, 50, allow_nan=False)), st.sampled_from(["Probability", "Logit"]))
def test_every_frame_is_in_one_interval(values: list[float], space: str) -> None:
    """And the number up to an edge is that of the scores that are not above it."""
    counts = score_counts(np.array(values, np.float64), space)

    assert sum(counts.values()) == len(values)
    for edge in LOGIT_EDGES if space == "Logit" else PROBABILITY_EDGES:
        upto = sum(n for name, n in counts.items() if float(name) <= edge)
        assert upto == sum(value <= edge for value in values)
