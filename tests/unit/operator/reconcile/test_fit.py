"""A status stays small whatever the project is."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_miner.pipeline import NAMES
from data_miner_operator.reconcile.conditions import TYPES
from data_miner_operator.reconcile.fit import LIMIT_BYTES, fit, size
from data_miner_operator.reconcile.times import stamp
from support.reconciling import NOW

BIG = 2**53 - 1
COUNTS = st.just(BIG) | st.integers(0, BIG)
TEXT = st.text(st.sampled_from('ab \N{FIRE}"\\é<&\u2028'), max_size=700)
WORST = "\N{FIRE}" * 100
LONGEST_REASON = "CredentialsNotAllowed"


def condition(type_: str, status: str, message: str) -> dict[str, str]:
    return {
        "type": type_,
        "status": status,
        "reason": LONGEST_REASON,
        "message": message,
        "lastTransitionTime": stamp(NOW),
    }


CONDITIONS = st.tuples(
    *(
        st.builds(condition, st.just(type_), st.sampled_from(["True", "False", "Unknown"]), TEXT)
        for type_ in TYPES
    )
).map(list)
STAGES = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.dictionaries(
            st.sampled_from(["done", "running", "ready", "waiting", "failed", "skipped"]), COUNTS
        ),
    ),
    max_size=10,
    unique_by=lambda each: each[0],
).map(lambda stages: [{"name": name, **numbers} for name, numbers in stages])
STATUSES = st.fixed_dictionaries(
    {
        "observedGeneration": COUNTS,
        "phase": st.just("Discovering"),
        "reason": st.just(LONGEST_REASON),
        "conditions": CONDITIONS,
    },
    optional={
        "projectId": COUNTS,
        "images": st.fixed_dictionaries({"kept": COUNTS, "target": COUNTS, "exported": COUNTS}),
        "videos": st.fixed_dictionaries({"found": COUNTS, "selected": COUNTS, "ended": COUNTS}),
        "progress": st.integers(0, 100),
        "eta": st.just(stamp(NOW)),
        "stages": STAGES,
        "funnel": st.dictionaries(st.sampled_from(["found", "frames", "passed"]), COUNTS),
        "dataset": st.fixed_dictionaries(
            {"version": COUNTS, "images": COUNTS, "digest": st.just("a" * 64), "uri": TEXT}
        ),
        "completedAt": st.just(stamp(NOW)),
        "retried": st.text("7", max_size=64),
    },
)

HUGE: dict[str, Any] = {
    "observedGeneration": BIG,
    "phase": "Discovering",
    "reason": LONGEST_REASON,
    "conditions": [condition(type_, "False", WORST) for type_ in TYPES],
    "projectId": BIG,
    "images": {"kept": BIG, "target": BIG, "exported": BIG},
    "videos": {"found": BIG, "selected": BIG, "ended": BIG},
    "progress": 99,
    "eta": stamp(NOW),
    "stages": [
        {"name": name, "done": BIG, "running": BIG, "ready": BIG, "waiting": BIG, "failed": BIG}
        for name in NAMES
    ],
    "funnel": dict.fromkeys(("found", "frames", "passed", "unique"), BIG),
    "dataset": {"version": BIG, "images": BIG, "digest": "a" * 64, "uri": "s3://" + WORST},
    "completedAt": stamp(NOW),
    "retried": "7" * 64,
}


@settings(max_examples=300, deadline=None)
@given(STATUSES)
@example(HUGE)
def test_no_status_is_larger_than_it_may_be(status: dict[str, Any]) -> None:
    """With the longest of everything, in characters of four bytes and in quotes."""
    fitted = fit(status)
    assert size(fitted) <= LIMIT_BYTES
    assert len(json.dumps(fitted, separators=(",", ":"), ensure_ascii=False).encode()) <= 2048
    assert [c["type"] for c in fitted["conditions"]] == list(TYPES)
    for kept in ("observedGeneration", "phase", "reason", "projectId", "images", "completedAt"):
        assert fitted.get(kept) == status.get(kept)


@given(STATUSES)
def test_a_status_that_is_small_enough_stays_as_it_is(status: dict[str, Any]) -> None:
    """And what was made to fit, fits."""
    fitted = fit(status)
    assert fit(fitted) == fitted
    if size(status) <= LIMIT_BYTES:
        assert fitted == status


def test_the_size_is_what_an_api_server_writes() -> None:
    """Its encoder writes < > & and two separators as six characters."""
    assert size({"a": "é"}) == len('{"a":"é"}'.encode())
    assert size({"a": "<>&\u2028"}) == len('{"a":""}') + 4 * 6


def test_what_is_in_order_is_silenced_before_what_is_not() -> None:
    """The message that says why a project is not ready stays longest."""
    status = {
        "conditions": [
            condition("Ready", "False", "r" * 300),
            condition("SpecValid", "True", "s" * 900),
            condition("Suspended", "False", "s" * 900),
            condition("ModelsReady", "False", "m" * 300),
        ]
    }
    texts = {c["type"]: c["message"] for c in fit(status)["conditions"]}
    assert texts == {
        "Ready": "r" * 300,
        "SpecValid": "",
        "Suspended": "",
        "ModelsReady": "m" * 300,
    }


def test_stages_that_are_through_go_before_those_with_work() -> None:
    """What still has the most to do is kept the longest."""
    fitted = fit(HUGE)
    assert "stages" not in fitted
    busy = [{"name": name, "done": 9_000, "ready": n} for n, name in enumerate(NAMES)]
    status = {
        "conditions": [condition(type_, "False", "m" * 50) for type_ in TYPES],
        "stages": busy,
    }
    kept = fit(status)["stages"]
    assert kept[-1] == {"name": "export", "ready": 9}
    assert "discover" not in [stage["name"] for stage in kept]
    assert len(kept) < 9


def test_what_is_kept_of_another_version_is_bounded_too() -> None:
    """A dataset without its place, or odd text in its stead, harms nobody."""
    status = {**HUGE, "dataset": "none"}
    assert size(fit(status)) <= LIMIT_BYTES
    status = {**HUGE, "dataset": {"version": 1}, "stages": []}
    assert size(fit(status)) <= LIMIT_BYTES
