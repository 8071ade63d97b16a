"""The few kinds of panels that the dashboards are made of.

Each has a title, one sentence for people, a unit and a size (width of 24, height in rows of about
30 px), and says in words what it means when there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, table
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import statetimeline as timeline
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as parts
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring import looks

Panel = Builder[model.Panel]

SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOTHING_YET: Final = "nothing yet"


@dataclass(frozen=True, slots=True)
class Line:
    """A query of which each series is a line, a bar or a lane."""

    expression: str
    name: str
    """Of its series: text, with labels as in ``{{stage}}``."""
    exemplars: bool = False
    """Whether single tasks, with their traces, are shown as points."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a label, or the value of a query."""

    title: str
    label: str = ""
    """Whose values it shows; empty for a value."""
    expression: str = ""
    unit: str = "short"
    decimals: int | None = None
    steps: looks.Steps = looks.PLAIN
    bar: bool = False
    """A bar behind the value. With ``percentunit`` the full width is 1."""
    words: Sequence[model.ValueMap] = ()
    """Texts for values, coloured where they have a colour."""
    link: str = ""
    """Where a click leads."""
    link_title: str = ""
    width: int | None = None
    hidden: bool = False
    """There for links to name it, and not shown."""


class _Panel(Protocol):
    """What builders of all kinds of panels can do."""

    def title(self, title: str, /) -> Self: ...
    def description(self, description: str, /) -> Self: ...
    def datasource(self, datasource: model.DataSourceRef, /) -> Self: ...
    def span(self, w: int, /) -> Self: ...
    def height(self, h: int, /) -> Self: ...


Begun = TypeVar("Begun", bound=_Panel)


def _begun(panel: Begun, title: str, description: str, size: tuple[int, int]) -> Begun:
    """A panel with what every kind has; `size` is its width of 24, and its height."""
    width, height = size
    panel = panel.title(title).description(description).datasource(SOURCE)
    return panel.span(width).height(height)


def tile(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str,
    size: tuple[int, int] = (4, 4),
    steps: looks.Steps = looks.PLAIN,
    decimals: int | None = None,
    no_value: str = NOTHING_YET,
    name: str = "",
    words: Sequence[model.ValueMap] = (),
    runbook: str = "",
    link: build.DashboardLink | None = None,
) -> Panel:
    """One number; with `name` one text, made of labels."""
    kind = parts.BigValueTextMode.NAME if name else parts.BigValueTextMode.VALUE
    panel = (
        _begun(stat.Panel(), title, description, size)
        .with_target(_instant(expression, "A", name))
        .unit(unit)
        .no_value(no_value)
        .thresholds(looks.thresholds(steps))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .mappings(list(words))
        .graph_mode(parts.BigValueGraphMode.NONE)
        .color_mode(parts.BigValueColorMode.VALUE)
        .justify_mode(parts.BigValueJustifyMode.AUTO)
        .text_mode(kind)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]).values(False))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if runbook:
        link = looks.runbook(runbook)
    return panel.links([link]) if link else panel


def chart(
    title: str,
    description: str,
    *queries: Line,
    unit: str,
    size: tuple[int, int] = (12, 8),
    stacked: bool = False,
    stepped: bool = False,
    bars: bool = False,
    colors: Mapping[str, str] | None = None,
    dashed: Sequence[str] = (),
    steps: looks.Steps = (),
    least: float | None = 0,
    most: float | None = None,
    decimals: int | None = None,
    no_value: str = NOTHING_YET,
    runbook: str = "",
) -> Panel:
    """Lines over time. `steps` draws dashed thresholds; names in `dashed` are lines to compare
    with."""
    alone = len(queries) == 1 and "{{" not in queries[0].name
    panel = (
        _begun(lines.Panel(), title, description, size)
        .unit(unit)
        .no_value(no_value)
        .draw_style(parts.GraphDrawStyle.BARS if bars else parts.GraphDrawStyle.LINE)
        .line_width(1 if stacked or bars else 2)
        .line_interpolation(
            parts.LineInterpolation.STEP_AFTER if stepped else parts.LineInterpolation.LINEAR
        )
        .fill_opacity(70 if bars else 30 if stacked else 8 if alone else 0)
        .gradient_mode(parts.GraphGradientMode.NONE)
        .show_points(parts.VisibilityMode.AUTO)
        .point_size(4)
        .span_nulls(False)
        .axis_border_show(False)
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(
            common.VizLegendOptions()
            .display_mode(parts.LegendDisplayMode.LIST)
            .placement(parts.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(parts.TooltipDisplayMode.MULTI)
            .sort(parts.SortOrder.DESCENDING)
        )
    )
    for place, query in enumerate(queries):
        panel.with_target(
            _query(query.expression, place, query.name).range().exemplar(query.exemplars)
        )
    if stacked:
        panel.stacking(common.StackingConfig().mode(parts.StackingMode.NORMAL).group("A"))
    if steps:
        panel.thresholds(looks.thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(parts.GraphThresholdsStyleMode.DASHED)
        )
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    if decimals is not None:
        panel.decimals(decimals)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_set("color", looks.fixed(color))])
    for name in dashed:
        panel.override_by_name(
            name,
            [
                _set("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
                _set("custom.fillOpacity", 0),
                _set("custom.stacking", {"mode": "none", "group": "B"}),
                _set("color", looks.fixed("text")),
            ],
        )
    return panel.links([looks.runbook(runbook)]) if runbook else panel


def bars(
    title: str,
    description: str,
    *queries: Line,
    unit: str,
    size: tuple[int, int] = (8, 8),
    steps: looks.Steps = looks.BLUE,
    most: float | None = None,
    decimals: int | None = None,
    no_value: str = NOTHING_YET,
    runbook: str = "",
) -> Panel:
    """A horizontal bar for each series, in the order of the queries."""
    panel = (
        _begun(bargauge.Panel(), title, description, size)
        .unit(unit)
        .min(0)
        .no_value(no_value)
        .thresholds(looks.thresholds(steps))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .orientation(parts.VizOrientation.HORIZONTAL)
        .display_mode(parts.BarGaugeDisplayMode.BASIC)
        .value_mode(parts.BarGaugeValueMode.TEXT)
        .name_placement(parts.BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]).values(False))
    )
    for place, query in enumerate(queries):
        panel.with_target(_instant(query.expression, _letter(place), query.name))
    if most is not None:
        panel.max(most)
    if decimals is not None:
        panel.decimals(decimals)
    return panel.links([looks.runbook(runbook)]) if runbook else panel


def lanes(
    title: str,
    description: str,
    query: Line,
    *,
    words: Sequence[model.ValueMap],
    size: tuple[int, int] = (24, 4),
    no_value: str = NOTHING_YET,
    runbook: str = "",
) -> Panel:
    """A lane for each series over time, coloured by the text of its value."""
    panel = (
        _begun(timeline.Panel(), title, description, size)
        .unit("none")
        .no_value(no_value)
        .with_target(_query(query.expression, 0, query.name).range())
        .mappings(list(words))
        .thresholds(looks.thresholds(looks.PLAIN))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .show_value(parts.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(parts.LegendDisplayMode.LIST)
            .placement(parts.LegendPlacement.BOTTOM)
            .show_legend(False)
        )
    )
    return panel.links([looks.runbook(runbook)]) if runbook else panel


def buckets(
    title: str, description: str, expression: str, *, unit: str, size: tuple[int, int] = (12, 8)
) -> Panel:
    """How a value spreads, over time: the stronger a cell, the more of it; from cumulative
    counts by `le`."""
    return (
        _begun(heatmap.Panel(), title, description, size)
        .with_target(_query(expression, 0, "{{le}}").range().format(PromQueryFormat.HEATMAP))
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat_model.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(heat_model.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .fill("blue")
            .reverse(False)
        )
        .rows_frame(heatmap.RowsHeatmapOptions().layout(parts.HeatmapCellLayout.AUTO))
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(parts.AxisPlacement.LEFT))
        .scale_distribution(common.ScaleDistributionConfig().type(parts.ScaleDistribution.LINEAR))
        .cell_values(heatmap.CellValues().unit("percentunit"))
        .show_legend()
        .mode(parts.TooltipDisplayMode.SINGLE)
        .unit("percentunit")
        .no_value(NOTHING_YET)
    )


def grid(
    title: str,
    description: str,
    *columns: Column,
    size: tuple[int, int] = (24, 8),
    sort: tuple[str, bool] = ("", False),
    no_value: str = NOTHING_YET,
    runbook: str = "",
) -> Panel:
    """A table of rows with the same labels. `sort` is a column's title, and whether the greatest
    comes first."""
    panel = (
        _begun(table.Panel(), title, description, size)
        .unit("short")
        .no_value(no_value)
        .thresholds(looks.thresholds(looks.PLAIN))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .filterable(False)
        .cell_height(parts.TableCellHeight.SM)
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    )
    asked = [column for column in columns if column.expression]
    fields: dict[str, str] = {column.label: column.title for column in columns if column.label}
    for place, column in enumerate(asked):
        letter = _letter(place)
        panel.with_target(_instant(column.expression, letter).format(PromQueryFormat.TABLE))
        fields[f"Value #{letter}"] = column.title
        if len(asked) == 1:
            fields["Value"] = column.title
    order = [column.title for column in columns]
    # What has no title is of no interest.
    hidden = {"Time": True} | {field: True for field, name in fields.items() if not name}
    shown = {field: name for field, name in fields.items() if name}
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": hidden,
                "indexByName": {field: order.index(name) for field, name in shown.items()},
                "renameByName": shown,
            },
        )
    )
    for column in columns:
        if column.title:
            panel.override_by_name(column.title, _cell(column))
    if sort[0]:
        panel.sort_by([common.TableSortByFieldState().display_name(sort[0]).desc(sort[1])])
    return panel.links([looks.runbook(runbook)]) if runbook else panel


def _cell(column: Column) -> list[model.DynamicConfigValue]:
    found = [] if column.label else [_set("unit", column.unit), _set("noValue", "-")]
    if column.decimals is not None:
        found.append(_set("decimals", column.decimals))
    if column.steps != looks.PLAIN:
        steps = [{"value": value, "color": color} for value, color in column.steps]
        found.append(_set("thresholds", {"mode": "absolute", "steps": steps}))
    if column.bar:
        found += [
            _set("custom.cellOptions", {"type": "gauge", "mode": "basic"}),
            _set("min", 0),
            *([_set("max", 1)] if column.unit == "percentunit" else []),
        ]
    elif column.words or column.steps != looks.PLAIN:
        found.append(_set("custom.cellOptions", {"type": "color-text"}))
    if column.words:
        found.append(_set("mappings", list(column.words)))
    if column.link:
        link = {"title": column.link_title, "url": column.link}
        found.append(_set("links", [link]))
    if column.width is not None:
        found.append(_set("custom.width", column.width))
    if column.hidden:
        found.append(_set("custom.hidden", True))
    return found


def _set(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


def _instant(expression: str, letter: str, name: str = "") -> prometheus.Dataquery:
    found = prometheus.Dataquery().expr(expression).ref_id(letter).instant()
    return found.legend_format(name) if name else found


def _query(expression: str, place: int, name: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).ref_id(_letter(place)).legend_format(name)


def _letter(place: int) -> str:
    return chr(ord("A") + place)
