"""Grafana dashboards as code. `python helm/generate.py` writes them into the chart's files.

One file for each dashboard. `expressions` has what is asked, `panels` how an answer looks, `layout`
where it stands; `stuck` knows which projects get no further, and `looks` what a colour means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from monitoring.gpu_and_workers import gpu_and_workers
from monitoring.layout import text
from monitoring.operator_and_queue import operator_and_queue
from monitoring.overview import overview
from monitoring.project import project

RUNBOOKS: Final = "docs/runbooks"
"""Where the runbooks are in the source repository. The chart puts its value for it."""


def dashboards() -> Mapping[str, str]:
    """The JSON of each dashboard, by the name of its file."""
    return {
        "overview.json": text(overview(RUNBOOKS)),
        "project.json": text(project(RUNBOOKS)),
        "operator-and-queue.json": text(operator_and_queue(RUNBOOKS)),
        "gpu-and-workers.json": text(gpu_and_workers(RUNBOOKS)),
    }
