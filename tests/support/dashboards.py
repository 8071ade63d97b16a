"""The dashboards as they lie in the chart: their panels, and what those ask Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from support.go_programs import ROOT

DASHBOARDS: Final = ROOT / "helm" / "data-miner" / "files" / "dashboards"
ALL: Final[Mapping[str, str]] = {"namespace": ".*", "project": ".*", "pool": ".*"}
"""What the variables are when nothing is chosen."""
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")

Json = Mapping[str, Any]


class Query(NamedTuple):
    """What a panel asks, ready for Prometheus."""

    dashboard: str
    """Name of its file without the ending."""
    panel: str
    """Its title."""
    expression: str


def boards(folder: Path = DASHBOARDS) -> dict[str, Json]:
    """Every dashboard by the name of its file without the ending."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def panels(board: Json) -> list[Json]:
    """Its panels without the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(
    folder: Path = DASHBOARDS,
    *,
    chosen: Mapping[str, str] = ALL,
    rate_interval: str = "1m",
) -> Iterator[Query]:
    """What every panel asks when these values are chosen, a Query for each of its targets."""
    for name, board in boards(folder).items():
        for panel in panels(board):
            for target in panel["targets"]:
                expression = substituted(target["expr"], chosen, rate_interval=rate_interval)
                yield Query(name, panel["title"], expression)


def substituted(expression: str, chosen: Mapping[str, str], *, rate_interval: str) -> str:
    """An expression with the values of its variables. Raises KeyError for one that has none."""
    values = {**chosen, "__rate_interval": rate_interval}
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)
