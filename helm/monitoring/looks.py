"""Colours, thresholds and links that mean the same on every dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

Steps = Sequence[tuple[float | None, str]]
"""Colours by the value from which they hold; the first has None."""

PLAIN: Final[Steps] = ((None, "text"),)
GOOD: Final[Steps] = ((None, "green"),)
BLUE: Final[Steps] = ((None, "blue"),)
NONE_IS_GOOD: Final[Steps] = ((None, "green"), (1, "red"))

STATES: Final[Mapping[str, str]] = {
    "done": "green", "running": "blue", "ready": "light-blue", "waiting": "yellow",
    "throttled": "orange", "failed": "red", "skipped": "purple",
}  # fmt: skip
"""Of tasks."""
OUTCOMES: Final[Mapping[str, str]] = {
    "done": "green", "skipped": "purple", "later": "yellow", "failed": "red", "lost": "orange",
}  # fmt: skip
"""Of runs of a task."""
PHASES: Final[Mapping[str, str]] = {
    "Pending": "light-blue", "Discovering": "light-blue", "Mining": "blue", "Exporting": "blue",
    "Complete": "green", "Stalled": "red", "Suspended": "yellow", "Deleted": "text",
}  # fmt: skip
RUNBOOKS: Final = "runbooks"
"""The variable with the prefix of the runbooks' addresses."""


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """At which value which colour begins."""
    found = [model.Threshold(value=value, color=color) for value, color in steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def fixed(color: str) -> dict[str, str]:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": color}


def texts(
    words: Mapping[str, str], colors: Mapping[str, str] | None = None
) -> list[model.ValueMap]:
    """Words that stand for values, with colours for some of them."""
    options = {
        value: model.ValueMappingResult(text=text, color=(colors or {}).get(value), index=index)
        for index, (value, text) in enumerate(words.items())
    }
    return [model.ValueMap(options=options)]


def runbook(alert: str) -> build.DashboardLink:
    """To what to do when this alert fires."""
    return (
        build.DashboardLink(f"Runbook: {alert}")
        .type(model.DashboardLinkType.LINK)
        .url(f"${{{RUNBOOKS}}}/{alert}.md")
        .target_blank(True)
    )


def see(title: str, uid: str) -> build.DashboardLink:
    """To another dashboard, with the same choice and time."""
    return (
        build.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .url(f"/d/{uid}?${{datasource:queryparam}}&${{__url_time_range}}")
    )


def to_board(uid: str, *labels: str) -> str:
    """Address of another dashboard, for a table's cell: the row's labels are chosen there."""
    chosen = "".join(f"&var-{label}=${{__data.fields.{label}}}" for label in labels)
    return f"/d/{uid}?${{datasource:queryparam}}{chosen}&${{__url_time_range}}"
