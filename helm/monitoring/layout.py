"""A dashboard as a whole: what is chosen at its top, rows of panels, and the ways to the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from monitoring.looks import RUNBOOKS
from monitoring.panels import SOURCE, Panel

Variable = Builder[model.VariableModel]

TAG: Final = "data-miner"
COLUMNS: Final = 24
_WIDTH: Final = 110


@dataclass(frozen=True, slots=True)
class Row:
    """Panels from left to right; they go on below where the width is used up."""

    title: str
    """Empty for the first row, which needs none."""
    panels: Sequence[Panel]


def source() -> Variable:
    """Which Prometheus is asked: Grafana's default one, until another is chosen."""
    return build.DatasourceVariable("datasource").label("Data source").type("prometheus")


def choice(name: str, label: str, metric: str, matchers: str = "") -> Variable:
    """Values of a label, any number of them; all at first, also series that lack the label."""
    series = f"{metric}{{{matchers}}}" if matchers else metric
    every = model.VariableOption(selected=True, text="All", value="$__all")
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": f"label_values({series}, {name})", "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(every)
    )


def board(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    rows: Sequence[Row],
    *,
    runbooks: str,
) -> model.Dashboard:
    """The dashboard with its panels in place and numbered. `runbooks` is the prefix of the
    runbooks' addresses."""
    found = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            build.DashboardLink("data-miner")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(source())
    )
    for variable in variables:
        found.with_variable(variable)
    prefix = build.ConstantVariable(RUNBOOKS).value(runbooks)
    whole = found.with_variable(prefix).build()
    whole.panels = list(_placed(rows))
    return whole


def text(whole: model.Dashboard) -> str:
    """As JSON: what fits on a line stands on one, so that a change is seen where it is."""
    return _pretty(json.loads(JSONEncoder().encode(whole)), 0) + "\n"


def _placed(rows: Sequence[Row]) -> Iterator[model.Panel | model.RowPanel]:
    number = 0
    y = 0
    for row in rows:
        if row.title:
            number += 1
            place = model.GridPos(h=1, w=COLUMNS, x=0, y=y)
            yield model.RowPanel(
                title=row.title, id_val=number, grid_pos=place, collapsed=False, panels=[]
            )
            y += 1
        x = tallest = 0
        for builder in row.panels:
            panel = builder.build()
            assert panel.grid_pos is not None, f"{panel.title} has no size"
            if x + panel.grid_pos.w > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            panel.id_val = number
            panel.grid_pos.x, panel.grid_pos.y = x, y
            x += panel.grid_pos.w
            tallest = max(tallest, panel.grid_pos.h)
            yield panel
        y += tallest


def _pretty(value: Any, depth: int) -> str:
    short = json.dumps(value, ensure_ascii=False)
    if len(short) + depth <= _WIDTH or not isinstance(value, list | dict) or not value:
        return short
    begin = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        inner = f",{begin}".join(_pretty(each, depth + 1) for each in value)
        return f"[{begin}{inner}\n{' ' * depth}]"
    inner = f",{begin}".join(
        f"{json.dumps(name)}: {_pretty(each, depth + 1)}" for name, each in value.items()
    )
    return f"{{{begin}{inner}\n{' ' * depth}}}"
