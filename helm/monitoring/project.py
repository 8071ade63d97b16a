"""One project, or a few together: where its videos and frames go, what fails, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models import dashboard as model

from data_miner.pipeline import NAMES
from monitoring import looks
from monitoring.expressions import (
    among,
    has,
    of_projects,
    over_projects,
    per_kept_image,
    ratio,
)
from monitoring.layout import Row, board, choice
from monitoring.overview import IMAGES, IMAGES_PER_HOUR, KEPT, PROJECT_UID
from monitoring.panels import Column, Line, Panel, bars, buckets, chart, grid, lanes, tile
from monitoring.stuck import ENDED, PHASE, TASKS

FUNNEL: Final = "dataminer_project_funnel"
SCORES: Final = "dataminer_project_scores_bucket"
_LANES: Final = (
    ("Pending|Discovering", "Begins", "light-blue"),
    ("Mining|Exporting", "Mining", "blue"),
    ("Complete", "Complete", "green"),
    ("Suspended", "Suspended", "yellow"),
    ("Stalled", "Stalled", "red"),
)
"""Phases that are told apart over time, with their word and colour."""


def project(runbooks: str) -> model.Dashboard:
    """Choose one project for its own numbers, several for their sums."""
    return board(
        PROJECT_UID,
        "data-miner / Project",
        "Where the videos and frames of a project go, what fails, and what it costs.",
        [
            choice("namespace", "Namespace", PHASE),
            choice("project", "Project", PHASE, 'namespace=~"$namespace"'),
        ],
        [
            Row("", _tiles()),
            Row("Funnel", _funnel()),
            Row("Scores", _scores()),
            Row("Work", _work()),
            Row("Failures", _failures()),
            Row("Cost", [_costs()]),
            Row("Dataset", _dataset()),
        ],
        runbooks=runbooks,
    )


def _tiles() -> Sequence[Panel]:
    return [
        tile(
            "Phase",
            "What the project does, and the one word that says most about why.",
            _phase_number("phase", "reason"),
            unit="none",
            name="{{phase}}: {{reason}}",
            steps=[(n if n > 1 else None, color) for n, (_, _, color) in enumerate(_LANES, 1)],
            no_value="no project",
            runbook="DataMinerProjectStalled",
        ),
        tile(
            "Progress",
            "Of the way to the target, or to the end of the sources; the least of the chosen ones.",
            f"min({of_projects('dataminer_project_progress_ratio')})",
            unit="percentunit",
            decimals=0,
            steps=looks.BLUE,
            no_value="not known yet",
        ),
        tile(
            "Complete",
            "About when it will be complete at the present pace; the last of the chosen ones.",
            f"max({of_projects('dataminer_project_eta_timestamp_seconds')}) * 1000",
            unit="dateTimeFromNow",
            no_value="no date",
            runbook="DataMinerDatasetTargetUnreachable",
        ),
        tile(
            "Images kept",
            "Images that are left after filter and near-duplicates.",
            over_projects(IMAGES, where=KEPT),
            unit="locale",
            steps=looks.GOOD,
            no_value="none yet",
        ),
        tile(
            "CPU time per kept image",
            "Processor time of all results in use, over the images that are kept.",
            per_kept_image(over_projects("dataminer_project_cpu_seconds")),
            unit="s",
            no_value="no image yet",
        ),
        tile(
            "GPU time per kept image",
            "Time that models ran on a GPU, over the images that are kept.",
            per_kept_image(over_projects("dataminer_project_gpu_seconds")),
            unit="s",
            no_value="no GPU was used",
        ),
        lanes(
            "What it did when",
            "The phase of each chosen project over time.",
            Line(_phase_number(), "{{project}}"),
            words=looks.texts(
                {str(n): word for n, (_, word, _) in enumerate(_LANES, 1)},
                {str(n): color for n, (_, _, color) in enumerate(_LANES, 1)},
            ),
        ),
    ]


def _phase_number(*labels: str) -> str:
    """The place of each project's phase in _LANES, from 1."""
    return " or ".join(
        f"{number} * {of_projects(PHASE, *labels, where=among('phase', phases))}"
        for number, (phases, _, _) in enumerate(_LANES, 1)
    )


def _step(step: str) -> str:
    return over_projects(FUNNEL, where=has("step", step))


def _funnel() -> Sequence[Panel]:
    sources = "dataminer_project_source_videos"
    images = of_projects("dataminer_project_source_images", "source")
    used = of_projects(sources, "source", where=has("kind", "used"))
    found = of_projects(sources, "source", where=has("kind", "found"))
    return [
        bars(
            "Videos",
            "What is left of the videos that the sources gave, after each step.",
            Line(_step("found"), "found"),
            Line(_step("selected"), "selected"),
            Line(_step("downloaded"), "downloaded"),
            unit="locale",
            size=(6, 6),
        ),
        bars(
            "Frames and images",
            "What is left of the frames that were looked at, after each step.",
            Line(_step("frames"), "frames"),
            Line(_step("passed"), "passed"),
            Line(_step("unique"), "unique"),
            Line(_step("labelled"), "labelled"),
            Line(_step("exported"), "exported"),
            unit="locale",
            size=(8, 6),
            steps=looks.GOOD,
        ),
        grid(
            "Yield of each source",
            "By the place of the source in the spec, from 0: videos found, those that gave images.",
            Column("Project", label="project"),
            Column("", label="namespace"),
            Column("Source", label="source", width=70),
            Column("Found", expression=found, unit="locale", width=80),
            Column("Used", expression=used, unit="locale", width=80),
            Column(
                "Yield",
                expression=ratio(used, found),
                unit="percentunit",
                decimals=0,
                steps=looks.BLUE,
                bar=True,
            ),
            Column("Images", expression=images, unit="locale", width=80),
            size=(10, 6),
            sort=("Source", False),
        ),
        chart(
            "Yield of each step",
            "The share of frames that passes each step, of all that came to it.",
            Line(ratio(_step("passed"), _step("frames")), "passed the filter"),
            Line(ratio(_step("unique"), _step("passed")), "no near-duplicate"),
            Line(ratio(_step("labelled"), _step("unique")), "has a label"),
            unit="percentunit",
            size=(12, 8),
            most=1,
            decimals=0,
            runbook="DataMinerYieldCollapsed",
        ),
        bars(
            "Left out, by reason",
            "Videos and tasks that ended without a result, for a reason that is no failure.",
            Line(
                f"topk(10, {over_projects('dataminer_project_skipped', 'stage', 'reason')})",
                "{{stage}}: {{reason}}",
            ),
            unit="locale",
            size=(12, 8),
            steps=((None, "purple"),),
            no_value="nothing was left out",
        ),
    ]


def _scores() -> Sequence[Panel]:
    counted = over_projects(SCORES, "le")
    total = over_projects(SCORES, where=has("le", "+Inf"))
    return [
        buckets(
            "Scores of all frames",
            "The share of frames that the filter has given each score so far.",
            f"{counted} / on () group_left () ({total} > 0)",
            unit="short",
        ),
        chart(
            "Scores, over time",
            "The score that one frame in ten, every second and nine in ten stay below.",
            Line(f"histogram_quantile(0.9, {counted})", "nine in ten"),
            Line(f"histogram_quantile(0.5, {counted})", "every second"),
            Line(f"histogram_quantile(0.1, {counted})", "one in ten"),
            unit="short",
            least=None,
            decimals=2,
        ),
    ]


def _work() -> Sequence[Panel]:
    def tasks(state: str) -> str:
        return over_projects(TASKS, "stage", where=has("state", state))

    def share(stage: str) -> str:
        known = over_projects(TASKS, where=has("stage", stage))
        ended = over_projects(TASKS, where=f"{has('stage', stage)},{ENDED}")
        return ratio(f"({ended} or 0 * {known})", known)

    return [
        bars(
            "Ended, of what is known",
            "The share of each stage's tasks that have ended, in the order of the pipeline.",
            *(Line(share(stage), stage) for stage in NAMES),
            unit="percentunit",
            size=(8, 10),
            most=1,
            decimals=0,
        ),
        grid(
            "Tasks",
            "Tasks of each stage by state.",
            Column("Stage", label="stage"),
            *(
                Column(
                    state.capitalize(),
                    expression=tasks(state),
                    unit="locale",
                    steps=((None, looks.STATES[state]),),
                )
                for state in ("ready", "running", "waiting", "done", "skipped", "failed")
            ),
            size=(16, 10),
            sort=("Stage", False),
        ),
    ]


def _failures() -> Sequence[Panel]:
    by = ("stage", "error_class")
    return [
        chart(
            "Failed, by class",
            "Tasks that have used up their attempts and need a person, by stage and cause.",
            Line(
                over_projects("dataminer_project_failed_tasks", *by), "{{stage}}: {{error_class}}"
            ),
            unit="locale",
            stacked=True,
            stepped=True,
            no_value="nothing has failed",
            runbook="DataMinerDeadLettersGrowing",
        ),
        chart(
            "Put off, by class",
            "Tasks that wait to be tried again, by stage and cause.",
            Line(
                over_projects("dataminer_project_put_off_tasks", *by), "{{stage}}: {{error_class}}"
            ),
            unit="locale",
            stacked=True,
            stepped=True,
            no_value="nothing is put off",
            runbook="DataMinerDownloadsBlocked",
        ),
    ]


def _costs() -> Panel:
    def cost(metric: str) -> str:
        return over_projects(f"dataminer_project_{metric}", "stage")

    return grid(
        "What each stage has cost",
        "Of all results in use. Reused are those that were there before they were asked for.",
        Column("Stage", label="stage"),
        Column("CPU time", expression=cost("cpu_seconds"), unit="s", steps=looks.BLUE, bar=True),
        Column("CPU per image", expression=per_kept_image(cost("cpu_seconds"), "stage"), unit="s"),
        Column("GPU time", expression=cost("gpu_seconds"), unit="s"),
        Column("GPU per image", expression=per_kept_image(cost("gpu_seconds"), "stage"), unit="s"),
        Column("Task time", expression=cost("task_seconds"), unit="s"),
        Column("Downloaded", expression=cost("downloaded_bytes"), unit="bytes"),
        Column("Stored", expression=cost("published_bytes"), unit="bytes"),
        Column("Requests", expression=cost("requests"), unit="locale"),
        Column("Reused", expression=cost("reused_results"), unit="locale"),
        Column("CPU time saved", expression=cost("saved_cpu_seconds"), unit="s"),
        size=(24, 10),
        sort=("CPU time", True),
    )


def _dataset() -> Sequence[Panel]:
    def images(kind: str) -> str:
        return over_projects(IMAGES, where=has("kind", kind))

    return [
        chart(
            "Images",
            "Images that are kept, those in the newest dataset, and those that are wanted.",
            Line(images("kept"), "kept"),
            Line(images("exported"), "in the dataset"),
            Line(images("target"), "wanted"),
            unit="locale",
            size=(8, 8),
            stepped=True,
            colors={"kept": "green", "in the dataset": "blue"},
            dashed=["wanted"],
            runbook="DataMinerDatasetTargetUnreachable",
        ),
        chart(
            "Images per hour",
            "How fast images are kept, by the 10 minutes before.",
            Line(IMAGES_PER_HOUR, "{{project}}"),
            unit="locale",
            size=(8, 8),
            decimals=0,
        ),
        chart(
            "Dataset versions",
            "The number of the newest dataset of each project; a step is a new version.",
            Line(of_projects("dataminer_project_dataset_version"), "{{project}}"),
            unit="none",
            size=(8, 8),
            stepped=True,
            decimals=0,
            no_value="no dataset yet",
        ),
    ]
