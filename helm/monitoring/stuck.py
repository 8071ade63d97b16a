"""Which projects get no further, and why: one row for each, and words for every reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from data_miner_operator.reconcile.reasons import CONDITIONS, REFUSALS, STALLS
from monitoring.expressions import among, has, of_projects, over_projects

PHASE: Final = "dataminer_project_phase"
TASKS: Final = "dataminer_project_tasks"
ENDED: Final = among("state", "done|skipped|failed")
WORKING: Final = among("phase", "Discovering|Mining|Exporting")
IDLE_MINUTES: Final = 30
WAIT_MINUTES: Final = 10

_HINDERED: Final[Mapping[str, str]] = {
    **CONDITIONS["WorkersAvailable"]["False"],
    "Throttled": CONDITIONS["Throttled"]["True"]["SiteLimit"],
    "WaitingToRetry": "all that is left has failed before and is tried again later",
    "DatabaseUnreachable": CONDITIONS["Ready"]["Unknown"]["DatabaseUnreachable"],
}
WORDS: Final[Mapping[str, str]] = {
    **REFUSALS,
    **STALLS,
    **_HINDERED,
    "WaitingForWorker": f"no worker has begun on it for {WAIT_MINUTES} minutes",
    "NothingEnded": f"no task has ended for {IDLE_MINUTES} minutes",
}
"""What each reason means."""


def stuck() -> str:
    """A series for each project that gets no further, with its phase and the reason.

    The operator tells most reasons itself. Two are seen from outside: a project that no worker
    begins on, and one that works and ends nothing.
    """
    labels = ("phase", "reason")
    told = "|".join([*REFUSALS, *STALLS, *_HINDERED])
    by_reason = of_projects(PHASE, *labels, where=among("reason", told))
    stalled = of_projects(PHASE, *labels, where=has("phase", "Stalled"))
    waits = of_projects(PHASE, *labels, where=has("reason", "WaitingForWorker"))
    works = of_projects(PHASE, "phase", where=WORKING)
    ended = over_projects(TASKS, "namespace", "project", where=ENDED)
    then = over_projects(TASKS, "namespace", "project", where=ENDED, ago=f"{IDLE_MINUTES}m")
    idle = f"{works} and on (namespace, project) ({ended} == {then})"
    waited = of_projects(
        PHASE, *labels, where=has("reason", "WaitingForWorker"), ago=f"{WAIT_MINUTES}m"
    )
    return (
        f"{by_reason} or {stalled} or ({waits} and {waited}) or on (namespace, project) "
        f'label_replace({idle}, "reason", "NothingEnded", "", "")'
    )
