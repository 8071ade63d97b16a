"""For whoever mines: how far every project is, what it costs, and what is stuck and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models import dashboard as model

from monitoring import looks
from monitoring.expressions import (
    added_up,
    among,
    has,
    of_projects,
    over_projects,
    per_kept_image,
    rate,
    slope,
)
from monitoring.layout import Row, board, choice
from monitoring.panels import Column, Line, Panel, chart, grid, tile
from monitoring.stuck import PHASE, WORDS, stuck

UID: Final = "data-miner-overview"
PROJECT_UID: Final = "data-miner-project"
OPERATOR_UID: Final = "data-miner-operator"
IMAGES: Final = "dataminer_project_images"
KEPT: Final = has("kind", "kept")
OPEN: Final = among("state", "ready|running|waiting")
ACTIVE: Final = among("phase", "Pending|Discovering|Mining|Exporting")
PROJECT: Final = Column(
    "Project",
    label="project",
    link=looks.to_board(PROJECT_UID, "namespace", "project"),
    link_title="Open this project",
)
NAMESPACE: Final = Column("Namespace", label="namespace", width=150)
PHASES: Final = looks.texts({phase: phase for phase in looks.PHASES}, looks.PHASES)
ALL_PROJECTS: Final = f"count({of_projects(PHASE)})"
IMAGES_PER_HOUR: Final = f"{slope(IMAGES, KEPT)} * 3600"


def overview(runbooks: str) -> model.Dashboard:
    """All projects on one page; what is wrong stands above what is nice to know."""
    return board(
        UID,
        "data-miner / Overview",
        "How far every project is, what it costs, and what is stuck and why.",
        [
            choice("namespace", "Namespace", PHASE),
            choice("project", "Project", PHASE, 'namespace=~"$namespace"'),
        ],
        [
            Row("", [*_tiles(), _projects(), _stuck(), _causes()]),
            Row("Pace", _pace()),
            Row("Cost", [_costs()]),
        ],
        runbooks=runbooks,
    )


def _tiles() -> Sequence[Panel]:
    return [
        tile(
            "Being mined",
            "Projects that are neither complete nor stalled nor suspended.",
            f"count({of_projects(PHASE, where=ACTIVE)}) or 0 * {ALL_PROJECTS}",
            unit="short",
            steps=looks.BLUE,
            no_value="no project",
        ),
        tile(
            "Stuck",
            "Projects that get no further; the table below says why.",
            f"count({stuck()}) or 0 * {ALL_PROJECTS}",
            unit="short",
            steps=looks.NONE_IS_GOOD,
            no_value="no project",
            runbook="DataMinerProjectStalled",
        ),
        tile(
            "Alerts",
            "Alerts of data-miner that fire now; the operator's dashboard lists them.",
            'count(ALERTS{alertname=~"DataMiner.*",alertstate="firing"})',
            unit="short",
            steps=looks.NONE_IS_GOOD,
            no_value="none",
            link=looks.see("All alerts", OPERATOR_UID),
        ),
        tile(
            "Images kept",
            "Images that are left after filter and near-duplicates, over the chosen projects.",
            over_projects(IMAGES, where=KEPT),
            unit="locale",
            steps=looks.GOOD,
            no_value="none yet",
        ),
        tile(
            "Images per hour",
            "How fast images are kept now, by the last 10 minutes.",
            added_up(IMAGES_PER_HOUR),
            unit="locale",
            decimals=0,
            no_value="none yet",
        ),
        tile(
            "CPU time per kept image",
            "Processor time of all results in use, over the images that are kept.",
            per_kept_image(over_projects("dataminer_project_cpu_seconds")),
            unit="s",
            no_value="no image yet",
        ),
    ]


def _projects() -> Panel:
    return grid(
        "Projects",
        "Each project: what it does, how far it is, and about when it will be complete.",
        PROJECT,
        NAMESPACE,
        Column("Phase", label="phase", words=PHASES, width=110),
        Column("Doing", label="reason", width=170),
        Column("", expression=of_projects(PHASE, "phase", "reason")),
        Column(
            "Progress",
            expression=of_projects("dataminer_project_progress_ratio"),
            unit="percentunit",
            decimals=0,
            steps=looks.BLUE,
            bar=True,
        ),
        Column("Images", expression=of_projects(IMAGES, where=KEPT), unit="locale", width=100),
        Column(
            "Wanted",
            expression=of_projects(IMAGES, where=has("kind", "target")),
            unit="locale",
            width=100,
        ),
        Column("Images per hour", expression=IMAGES_PER_HOUR, unit="locale", decimals=0, width=130),
        Column(
            "Complete",
            expression=f"{of_projects('dataminer_project_eta_timestamp_seconds')} * 1000",
            unit="dateTimeFromNow",
            width=140,
        ),
        size=(24, 8),
        sort=("Project", False),
        no_value="no project",
    )


def _stuck() -> Panel:
    return grid(
        "What is stuck, and why",
        "Projects that get no further by themselves, each with what stands in its way.",
        PROJECT,
        NAMESPACE,
        Column("Phase", label="phase", words=PHASES, width=100),
        Column("Why", label="reason", words=looks.texts(WORDS), width=420),
        Column("", expression=stuck()),
        size=(12, 7),
        sort=("Project", False),
        no_value="nothing is stuck",
        runbook="DataMinerProjectStalled",
    )


def _causes() -> Panel:
    failed = of_projects("dataminer_project_failed_tasks", "stage", "error_class")
    put_off = of_projects("dataminer_project_put_off_tasks", "stage", "error_class")
    return grid(
        "Tasks that failed or were put off",
        "By cause: failed ones need a person, those that are put off are tried again.",
        PROJECT,
        Column("Namespace", label="namespace", hidden=True),
        Column("Stage", label="stage", width=120),
        Column("Cause", label="error_class", width=160),
        Column(
            "Failed",
            expression=failed,
            unit="locale",
            steps=((None, "text"), (1, "red")),
            width=90,
        ),
        Column("Put off", expression=put_off, unit="locale", width=90),
        size=(12, 7),
        sort=("Failed", True),
        no_value="nothing has failed",
        runbook="DataMinerDeadLettersGrowing",
    )


def _pace() -> Sequence[Panel]:
    name = "{{project}}"
    looked_at = rate("dataminer_stage_counts_total", where=has("name", "media_seconds"), of="")
    return [
        chart(
            "Images kept",
            "Images that each project keeps, over time; the twenty largest.",
            Line(f"topk(20, {of_projects(IMAGES, where=KEPT)})", name),
            unit="locale",
            size=(8, 8),
            stepped=True,
        ),
        chart(
            "Images per hour",
            "How fast each project keeps images, by the 10 minutes before; the twenty fastest.",
            Line(f"topk(20, {IMAGES_PER_HOUR})", name),
            unit="locale",
            size=(8, 8),
            decimals=0,
            runbook="DataMinerYieldCollapsed",
        ),
        chart(
            "Real-time factor",
            "Seconds of video that all workers look at in one second.",
            Line(looked_at, "all workers"),
            unit="suffix:x",
            size=(8, 8),
            decimals=1,
        ),
        chart(
            "Open work",
            "Tasks of the chosen projects that are not ended yet, by stage.",
            Line(over_projects("dataminer_project_tasks", "stage", where=OPEN), "{{stage}}"),
            unit="locale",
            size=(12, 8),
            stacked=True,
            no_value="nothing is left to do",
            runbook="DataMinerBacklogAgeHigh",
        ),
        chart(
            "Slots",
            "Tasks that run at once, by stage, below the number that all workers could run.",
            Line("sum by (stage) (dataminer_worker_busy_slots)", "{{stage}}"),
            Line("sum(dataminer_worker_slots)", "slots"),
            unit="short",
            size=(12, 8),
            stacked=True,
            dashed=["slots"],
            no_value="no worker is there",
        ),
    ]


def _costs() -> Panel:
    by = ("namespace", "project")
    kept = f"on (namespace, project) ({of_projects(IMAGES, where=KEPT)} > 0)"

    def cost(metric: str) -> str:
        return over_projects(f"dataminer_project_{metric}", *by)

    return grid(
        "What each project has cost",
        "Of all results that a project uses; work that projects share counts for each of them.",
        PROJECT,
        NAMESPACE,
        Column("CPU time", expression=cost("cpu_seconds"), unit="s"),
        Column("GPU time", expression=cost("gpu_seconds"), unit="s"),
        Column("Downloaded", expression=cost("downloaded_bytes"), unit="bytes"),
        Column("Stored", expression=cost("published_bytes"), unit="bytes"),
        Column("Requests", expression=cost("requests"), unit="locale"),
        Column("Video looked at", expression=cost("media_seconds"), unit="s"),
        Column(
            "CPU time per image", expression=f"{cost('cpu_seconds')} / {kept}", unit="s", width=150
        ),
        Column(
            "GPU time per image", expression=f"{cost('gpu_seconds')} / {kept}", unit="s", width=150
        ),
        Column(
            "Downloaded per image",
            expression=f"{cost('downloaded_bytes')} / {kept}",
            unit="bytes",
            width=160,
        ),
        size=(24, 8),
        sort=("CPU time", True),
    )
