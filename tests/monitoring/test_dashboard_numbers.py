"""What the dashboards make of series that are hard to get right, worked out by promtool."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from support.dashboards import queries
from support.prometheus import programs

LEADERS: Final = ('instance="a"', 'instance="b"')
"""Both replicas of the operator, while the office changes hands."""


def asked(dashboard: str, panel: str, number: int = 0) -> str:
    """The expression of a panel's target."""
    found = [q.expression for q in queries(rate_interval="5m") if q[:2] == (dashboard, panel)]
    return found[number]


def check(
    folder: Path,
    expression: str,
    series: Mapping[str, str],
    expected: Mapping[str, float],
    minutes: int = 30,
) -> None:
    """Fails unless promtool gets these values, by their labels, from samples a minute apart."""
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in series.items()],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": f"{{{k}}}", "value": v} for k, v in expected.items()],
            }
        ],
    }
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump({"tests": [case]}))
    ended = subprocess.run(
        [str(programs() / "promtool"), "test", "rules", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


KEPT: Final = 'kind="kept"'


def of(project: str, *more: str) -> str:
    """Labels of a project's series."""
    return ",".join(['namespace="town"', f'project="{project}"', *more])


def told(metric: str, labels: str) -> str:
    """A project's series."""
    return f"dataminer_project_{metric}{{{labels}}}"


def test_two_leaders_do_not_double_a_project(tmp_path: Path) -> None:
    series = {
        told("images", of("doors", who, kind)): "40x60"
        for who in LEADERS
        for kind in (KEPT, 'kind="target"')
    }
    check(tmp_path, asked("overview", "Images kept"), series, {"": 40})


def test_the_pace_is_that_of_one_leader_and_no_fall_is_negative(tmp_path: Path) -> None:
    """Two images a minute make 120 an hour; near-duplicates that go later slow nothing down."""
    expression = asked("overview", "Images per hour")
    kept = {told("images", of("doors", who, KEPT)): "0+2x60" for who in LEADERS}
    check(tmp_path, expression, kept, {"": 120})
    falls = {told("images", of("doors", KEPT)): "100-1x60"}
    check(tmp_path, expression, falls, {"": 0})


def test_a_project_without_images_has_no_cost_per_image_and_its_cost_counts(tmp_path: Path) -> None:
    """Neither infinite nor left out of the whole: 300 s of two projects for 10 images of one."""
    series = {
        told("images", of("none", KEPT)): "0x60",
        told("images", of("some", KEPT)): "10x60",
        told("cpu_seconds", of("none", 'stage="extract"')): "200x60",
        told("cpu_seconds", of("some", 'stage="extract"')): "60x60",
        told("cpu_seconds", of("some", 'stage="detect"')): "40x60",
    }
    check(tmp_path, asked("overview", "CPU time per kept image"), series, {"": 30})
    table = [
        q.expression
        for q in queries()
        if q.panel == "What each project has cost" and "cpu_seconds" in q.expression
    ]
    check(tmp_path, table[1], series, {of("some"): 10})
    only = {name: values for name, values in series.items() if '"none"' in name}
    check(tmp_path, asked("project", "CPU time per kept image"), only, {})


def test_a_source_that_found_nothing_has_no_yield(tmp_path: Path) -> None:
    counts = {("0", "found"): 0, ("0", "used"): 0, ("1", "found"): 8, ("1", "used"): 2}
    series = {
        told("source_videos", of("doors", f'source="{source}"', f'kind="{kind}"')): f"{count}x60"
        for (source, kind), count in counts.items()
    }
    share = asked("project", "Yield of each source", 2)
    check(tmp_path, share, series, {of("doors", 'source="1"'): 0.25})


def test_a_stage_of_which_nothing_has_ended_is_at_its_beginning(tmp_path: Path) -> None:
    series = {told("tasks", of("doors", 'stage="discover"', 'state="ready"')): "4x60"}
    check(tmp_path, asked("project", "Ended, of what is known"), series, {"": 0})


def test_a_worker_that_begins_anew_takes_nothing_from_the_real_time_factor(tmp_path: Path) -> None:
    """Two workers look at 60 s of video a minute each; one of them is started again."""
    media = 'dataminer_stage_counts_total{stage="extract",name="media_seconds",pod="%s"}'
    series = {media % "a": "0+60x60", media % "b": "0+60x27 0+60x30"}
    expression = f"round({asked('gpu-and-workers', 'Real-time factor')}, 0.5)"
    check(tmp_path, expression, series, {"": 2})


def test_workers_that_rest_are_not_absent(tmp_path: Path) -> None:
    series = {'dataminer_worker_slots{pod="a"}': "4x60"}
    check(tmp_path, asked("gpu-and-workers", "Busy"), series, {"": 0})


@pytest.mark.parametrize("label", ["pod", "worker"])
def test_the_fullest_disk_is_the_one_that_counts(tmp_path: Path, label: str) -> None:
    """On a laptop all workers have the same one; on a cluster each pod has its own."""
    series: dict[str, str] = {}
    for number, free in enumerate((50, 20)):
        disk = f'dataminer_disk_bytes{{place="scratch",{label}="{number}"'
        series |= {f'{disk},kind="free"}}': f"{free}x60", f'{disk},kind="size"}}': "100x60"}
    check(tmp_path, asked("gpu-and-workers", "Least disk free"), series, {"": 0.2})


@pytest.mark.parametrize(
    ("phase", "reason", "done", "why"),
    [
        ("Stalled", "NothingKept", "0x60", "NothingKept"),
        ("Mining", "Throttled", "0+1x60", "Throttled"),
        ("Mining", "NoPool", "0+1x60", "NoPool"),
        ("Mining", "SpecInvalid", "0+1x60", "SpecInvalid"),
        ("Mining", "Working", "0+1x60", None),
        ("Mining", "Working", "5x60", "NothingEnded"),
        ("Pending", "WaitingForWorker", "0x60", "WaitingForWorker"),
        ("Complete", "AllDone", "5x60", None),
        ("Suspended", "Suspended", "5x60", None),
        ("Stalled", "SomethingNew", "5x60", "SomethingNew"),
    ],
)
def test_a_project_is_stuck_for_one_reason_or_not_at_all(
    tmp_path: Path, phase: str, reason: str, done: str, why: str | None
) -> None:
    """Both leaders tell it; the row is there once."""
    series = {}
    for who in LEADERS:
        labels = of("doors", who, f'phase="{phase}"', f'reason="{reason}"')
        series[told("phase", labels)] = "1x60"
        series[told("tasks", of("doors", who, 'stage="cut"', 'state="done"'))] = done
    rows = {of("doors", f'phase="{phase}"', f'reason="{why}"'): 1.0} if why else {}
    check(tmp_path, asked("overview", "What is stuck, and why"), series, rows, minutes=50)
    check(tmp_path, asked("overview", "Stuck"), series, {"": len(rows)}, minutes=50)


def test_a_project_that_has_just_begun_is_not_stuck(tmp_path: Path) -> None:
    labels = of("doors", 'phase="Pending"', 'reason="WaitingForWorker"')
    series = {told("phase", labels): "1x60"}
    check(tmp_path, asked("overview", "Stuck"), series, {"": 0}, minutes=5)
    check(tmp_path, asked("overview", "Stuck"), {}, {}, minutes=5)
