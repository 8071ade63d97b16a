"""Metrics out of snapshots: bounded series, and none that stays behind."""

from __future__ import annotations

from typing import Any

from prometheus_client import generate_latest

from data_miner.catalog.pulse import Depth, Pulse, WorkerFact
from data_miner_operator import metrics


def _depth(stage: str, ready: int, project: int, oldest: float | None = None) -> Depth:
    return Depth(1, project, stage, ready, 1, 2, 0, 0, oldest, 5)


def _pulse(*depths: Depth) -> Pulse:
    return Pulse(
        depths=depths,
        workers=(
            WorkerFact("w1", "h", "cpu", 1, False, 3.0, 1, 2.0),
            WorkerFact("w2", "h", "cpu", 1, True, 9.0, 0, 0.0),
        ),
        stage_seconds={"embed": 2.5},
        finished_per_second={"embed": 2.0},
        wants={},
        keys={},
        active=frozenset(),
        moved={},
        took_seconds=0.25,
    )


def _series(prefix: str) -> dict[str, float]:
    lines = generate_latest(metrics.REGISTRY).decode().splitlines()
    told = (line.rpartition(" ") for line in lines if line.startswith(prefix))
    return {name.removeprefix(prefix): float(value) for name, _, value in told}


def test_tasks_of_all_projects_are_added_up_by_stage() -> None:
    metrics.tell_pulse(_pulse(_depth("embed", 3, 1, 7.0), _depth("embed", 4, 2, 30.0)), 0.0)

    depths = _series("dataminer_queue_depth")
    assert depths['{stage="embed",state="ready"}'] == 7
    assert depths['{stage="embed",state="waiting"}'] == 4
    assert _series("dataminer_queue_oldest_seconds") == {'{stage="embed"}': 30}
    # 7 ready and 4 waiting at 2 a second.
    assert _series("dataminer_queue_drain_estimate_seconds") == {'{stage="embed"}': 5.5}
    assert _series("dataminer_workers{") == {'state="active"}': 1, 'state="draining"}': 1}


def test_a_stage_that_has_nothing_left_has_no_series_left() -> None:
    metrics.tell_pulse(_pulse(_depth("embed", 3, 1), _depth("cut", 1, 1)), 0.0)
    metrics.tell_pulse(_pulse(_depth("cut", 1, 1)), 0.0)

    assert not [name for name in _series("dataminer_queue_depth") if "embed" in name]


def test_who_leads_no_more_tells_nothing_of_the_queue() -> None:
    metrics.tell_pulse(_pulse(_depth("embed", 3, 1)), 0.0)

    metrics.forget_office()

    assert _series("dataminer_queue_depth") == {}
    assert _series("dataminer_workers{") == {}


def test_projects_whose_newest_edit_is_not_in_their_status_are_counted() -> None:
    def project(observed: int | None) -> dict[str, Any]:
        return {"metadata": {"generation": 2}, "status": {"observedGeneration": observed}}

    metrics.tell_projects({
        ("t", "a"): project(2),
        ("t", "b"): project(1),
        ("t", "c"): {"metadata": {"generation": 1}},
    })  # fmt: skip

    assert metrics.PROJECTS._value.get() == 3
    assert _series("dataminer_project_observed_generation_lag") == {"": 2}
    metrics.forget_office()
