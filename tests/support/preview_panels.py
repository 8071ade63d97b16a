"""A panel of a dashboard as HTML: what its queries answered, drawn the way Grafana would."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from support.dashboards import ALL, Json, substituted
from support.preview_draw import Curve, Frame, Ticks, curves, heat, lanes
from support.preview_units import formatted
from support.prometheus import Prometheus, Sample, Series

WIDTH: Final = 1568.0
"""Of the grid, in pixels; as in the style sheet."""
_GAP: Final = 8.0
_ROW: Final = 30.0
_POINTS: Final = 240
PALETTE: Final = (
    "#5794f2", "#73bf69", "#ff9830", "#b877d9", "#f2c94c", "#f2495c", "#33b5b5", "#8f8fe8",
    "#a3755a", "#e377a8", "#3f8f4f", "#9fb0c3",
)  # fmt: skip


@dataclass(slots=True)
class View:
    """What is looked at: a Prometheus, a span of time, and colours that names keep."""

    prometheus: Prometheus
    begin: float
    end: float
    scrape_seconds: float
    chosen: Mapping[str, str] = field(default_factory=lambda: dict(ALL))
    colors: dict[str, str] = field(default_factory=dict)

    @property
    def step_seconds(self) -> float:
        """Between two points."""
        return (self.end - self.begin) / _POINTS

    def expression(self, target: Json) -> str:
        """With the variables' values, `$__rate_interval` as Grafana works it out."""
        seconds = max(self.step_seconds + self.scrape_seconds, 4 * self.scrape_seconds)
        return substituted(target["expr"], self.chosen, rate_interval=f"{math.ceil(seconds)}s")

    def instant(self, target: Json) -> list[Sample]:
        """What a query answers for the end of the span."""
        return self.prometheus.query(self.expression(target), at=self.end)

    def over_time(self, target: Json) -> list[Series]:
        """What it answers over the span."""
        seconds = _POINTS * self.step_seconds
        return self.prometheus.query_range(
            self.expression(target), seconds=seconds, step_seconds=self.step_seconds, until=self.end
        )

    def color(self, name: str) -> str:
        """One for each name, the same in every panel."""
        return self.colors.setdefault(name, PALETTE[len(self.colors) % len(PALETTE)])


def panel_html(panel: Json, view: View) -> str:
    """The panel in its place on the grid."""
    at = panel["gridPos"]
    place = f"grid-column:{at['x'] + 1}/span {at['w']};grid-row:{at['y'] + 1}/span {at['h']}"
    if panel["type"] == "row":
        return f'<div class="row" style="{place}">{escape(panel["title"])}</div>'
    links = "".join(
        f'<a href="{escape(link["url"])}">{escape(link["title"].partition(":")[0].lower())}</a>'
        for link in panel.get("links", ())
    )
    about = escape(panel["description"], quote=True)
    body = (
        _KINDS[panel["type"]](panel, view)
        or f'<div class="nothing">{escape(_no_value(panel))}</div>'
    )
    head = f'<h2>{escape(panel["title"])} <i title="{about}">i</i>{links}</h2>'
    return f'<section style="{place}">{head}<div class="body">{body}</div></section>'


def _stat(panel: Json, view: View) -> str:
    [target] = panel["targets"]
    found = sorted(view.instant(target), key=lambda each: sorted(each.labels.items()))
    named = panel["options"]["textMode"] == "name"
    told = _told(panel, view)
    texts = [
        _legend(target, one.labels) if named else _mapped(panel, one.value) or told(one.value)
        for one in found
    ]
    if not texts:
        return ""
    at = panel["gridPos"]
    room = (at["h"] * 11.0, at["w"] * 95.0 / max(map(len, texts)), at["h"] * 26.0 / len(texts))
    color = _by_steps(_defaults(panel)["thresholds"]["steps"], found[0].value)
    style = f"color:{color};font-size:{max(11.0, min(room)):.0f}px"
    lines = "<br>".join(map(escape, texts))
    return f'<div class="stat" style="{style}"><span>{lines}</span></div>'


def _chart(panel: Json, view: View) -> str:
    custom = _defaults(panel).get("custom", {})
    found = [
        _curve(panel, view, _legend(target, series.labels), series)
        for target in panel["targets"]
        for series in sorted(view.over_time(target), key=lambda each: sorted(each.labels.items()))
    ]
    if not found:
        return ""
    steps = _defaults(panel).get("thresholds", {}).get("steps", [])
    limits = [(s["value"], _css(s["color"])) for s in steps if s["value"] is not None]
    drawn = curves(
        found,
        _frame(panel, view, _lines_of_legend(panel, [c.name for c in found])),
        told=_told(panel, view),
        ticks=_ticks_of(panel),
        stacked=custom.get("stacking", {}).get("mode") == "normal",
        stepped=custom.get("lineInterpolation") == "stepAfter",
        filled=custom.get("fillOpacity", 0) / 100,
        least=_defaults(panel).get("min"),
        most=_defaults(panel).get("max"),
        limits=limits if "thresholdsStyle" in custom else (),
    )
    return drawn + _legends(found)


def _bars(panel: Json, view: View) -> str:
    found = [
        (_legend(target, sample.labels), sample.value)
        for target in panel["targets"]
        for sample in sorted(view.instant(target), key=lambda each: -each.value)
    ]
    if not found:
        return ""
    defaults = _defaults(panel)
    most = defaults.get("max") or max(value for _, value in found) or 1
    color = _by_steps(defaults["thresholds"]["steps"], most)
    told = _told(panel, view)
    rows = "".join(
        f"<span>{escape(name)}</span>{_bar(value / most, color)}"
        f'<em style="color:{color}">{escape(told(value))}</em>'
        for name, value in found
    )
    return f'<div class="bars">{rows}</div>'


def _lanes(panel: Json, view: View) -> str:
    [target] = panel["targets"]
    found = [
        (
            _legend(target, series.labels),
            [
                (at, _mapped(panel, value) or f"{value:g}", _mapped_color(panel, value))
                for at, value in series.values
            ],
        )
        for series in sorted(view.over_time(target), key=lambda each: sorted(each.labels.items()))
    ]
    return lanes(found, _frame(panel, view, 0)) if found else ""


def _heat(panel: Json, view: View) -> str:
    [target] = panel["targets"]
    found = sorted(view.over_time(target), key=lambda series: float(series.labels["le"]))
    rows, below = [], dict[float, float]()
    for series in found:
        rows.append(
            (
                series.labels["le"],
                [(at, max(0.0, value - below.get(at, 0.0))) for at, value in series.values],
            )
        )
        below = dict(series.values)
    return heat(rows, _frame(panel, view, 0), "var(--blue)") if rows else ""


def _table(panel: Json, view: View) -> str:
    merge, organize = panel["transformations"]
    assert merge["id"] == "merge"
    assert organize["id"] == "organize"
    several = len(panel["targets"]) > 1
    frames = {
        f"Value #{target['refId']}" if several else "Value": view.instant(target)
        for target in panel["targets"]
    }
    rows = merged(frames)
    if not rows:
        return ""
    options = organize["options"]
    names = options["renameByName"]
    fields = sorted(
        {
            field
            for row in rows
            for field in row
            if field in names and not options["excludeByName"].get(field)
        },
        key=lambda each: options["indexByName"][each],
    )
    sort = panel["options"].get("sortBy")
    if sort:
        by = next(name for name in names if names[name] == sort[0]["displayName"])
        known = [row for row in rows if by in row]
        known.sort(key=lambda row: row[by], reverse=sort[0].get("desc", False))
        rows = known + [row for row in rows if by not in row]
    looks = {field: _overrides(panel, names[field]) for field in fields}
    fields = [field for field in fields if not looks[field].get("custom.hidden")]
    head = "".join(
        f'<th class="{_align(field)}" style="{_width(looks[field])}">{escape(names[field])}</th>'
        for field in fields
    )
    body = "".join(
        "<tr>" + "".join(_cell(panel, view, looks[f], f, row) for f in fields) + "</tr>"
        for row in rows[: panel["gridPos"]["h"] + 2]
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def merged(frames: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """Grafana's transformation of this name: rows that agree in all labels that every frame has
    become one, as long as none of their fields differs."""
    told = {name: samples for name, samples in frames.items() if samples}
    if not told:
        return []
    shared = set.intersection(*({*sample.labels} for each in told.values() for sample in each))
    rows: list[dict[str, Any]] = []
    for name, samples in told.items():
        for sample in samples:
            new = {**sample.labels, name: sample.value}
            for row in rows:
                same = all(row[label] == new[label] for label in shared)
                if same and all(row.get(key, value) == value for key, value in new.items()):
                    row.update(new)
                    break
            else:
                rows.append(new)
    return rows


def _cell(panel: Json, view: View, looks: Json, field: str, row: Mapping[str, Any]) -> str:
    value = row.get(field)
    if value is None:
        return f'<td class="{_align(field)}">{escape(looks.get("noValue", ""))}</td>'
    if not _align(field):
        text = _mapped(looks, value) or str(value)
        color = _mapped_color(looks, value)
        if looks.get("links"):
            return f"<td><a>{escape(text)}</a></td>"
        return f'<td style="color:{color}">{escape(text)}</td>'
    told = formatted(value, looks.get("unit", "short"), looks.get("decimals"), now=view.end)
    color = _by_steps(looks.get("thresholds", {}).get("steps", []), value)
    if looks.get("custom.cellOptions", {}).get("type") == "gauge":
        most = looks.get("max") or max(1e-12, *_column(panel, view, field))
        return (
            f'<td><div class="gauge">{_bar(value / most, color)}<em>{escape(told)}</em></div></td>'
        )
    return f'<td class="number" style="color:{color}">{escape(told)}</td>'


def _column(panel: Json, view: View, field: str) -> list[float]:
    letter = field.rpartition("#")[2]
    [target] = [t for t in panel["targets"] if t["refId"] == letter]
    return [sample.value for sample in view.instant(target)]


def _bar(share: float, color: str) -> str:
    width = 100 * max(0.0, min(1.0, share))
    return f'<div><span style="width:{width:.1f}%;background:{color}"></span></div>'


def _align(field: str) -> str:
    return "number" if field.startswith("Value") else ""


def _width(looks: Json) -> str:
    return f"width:{looks['custom.width']}px" if "custom.width" in looks else ""


def _frame(panel: Json, view: View, legend_lines: int) -> Frame:
    at = panel["gridPos"]
    column = (WIDTH - 23 * _GAP) / 24
    width = at["w"] * column + (at["w"] - 1) * _GAP - 22
    height = at["h"] * _ROW + (at["h"] - 1) * _GAP - 42 - 20 * legend_lines
    return Frame(width, height, view.begin, view.end)


def _lines_of_legend(panel: Json, names: Sequence[str]) -> int:
    room = panel["gridPos"]["w"] * 64
    return 2 if sum(34 + 6.6 * len(name) for name in names) > room else 1


def _legends(found: Sequence[Curve]) -> str:
    entries = "".join(
        f'<span><b class="{"dashed" if c.dashed else ""}" style="background:{c.color};'
        f'border-color:{c.color}"></b>{escape(c.name)}</span>'
        for c in found
    )
    return f'<div class="legend">{entries}</div>'


def _curve(panel: Json, view: View, name: str, series: Series) -> Curve:
    looks = _overrides(panel, name)
    fixed = looks.get("color", {}).get("fixedColor")
    color = _css(fixed) if fixed else view.color(name)
    return Curve(name, color, series.values, dashed="custom.lineStyle" in looks)


def _defaults(panel: Json) -> Json:
    found: Json = panel["fieldConfig"]["defaults"]
    return found


def _overrides(panel: Json, name: str) -> dict[str, Any]:
    return {
        each["id"]: each["value"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"] == {"id": "byName", "options": name}
        for each in override["properties"]
    }


def _no_value(panel: Json) -> str:
    return str(_defaults(panel)["noValue"])


def _told(panel: Json, view: View) -> Callable[[float], str]:
    defaults = _defaults(panel)
    return lambda value: formatted(value, defaults["unit"], defaults.get("decimals"), now=view.end)


def _ticks_of(panel: Json) -> Ticks:
    defaults = _defaults(panel)
    least = 10.0 ** -defaults["decimals"] if "decimals" in defaults else 0.0
    if defaults["unit"] == "percentunit":
        least /= 100
    return Ticks(least, seconds=defaults["unit"] == "s")


def _mapping(looks: Json, value: Any) -> Json:
    """What a value is mapped to, of a panel or of a column."""
    given = (
        _defaults(looks).get("mappings", ())
        if "fieldConfig" in looks
        else looks.get("mappings", ())
    )
    key = f"{value:g}" if isinstance(value, float) else str(value)
    return next((each["options"][key] for each in given if key in each["options"]), {})


def _mapped(looks: Json, value: Any) -> str:
    return str(_mapping(looks, value).get("text", ""))


def _mapped_color(looks: Json, value: Any) -> str:
    return _css(_mapping(looks, value).get("color", "text"))


def _by_steps(steps: Sequence[Json], value: float) -> str:
    found = [s["color"] for s in steps if s["value"] is None or value >= s["value"]]
    return _css(found[-1]) if found else "inherit"


def _css(color: str) -> str:
    return f"var(--{color})"


def _legend(target: Json, labels: Mapping[str, str]) -> str:
    shape = target.get("legendFormat", "")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), shape).strip()


_KINDS: Final[Mapping[str, Callable[[Json, View], str]]] = {
    "stat": _stat, "timeseries": _chart, "bargauge": _bars, "state-timeline": _lanes,
    "heatmap": _heat, "table": _table,
}  # fmt: skip
KINDS: Final = frozenset(_KINDS)
