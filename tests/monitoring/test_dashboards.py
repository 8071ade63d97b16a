"""The dashboards: each file is one that Grafana takes, and asks for what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from data_miner import telemetry
from data_miner_operator import metrics
from data_miner_operator.metrics_reference import declared, of_projects
from support.alert_rules import alerts as alert_rules
from support.dashboards import ALL, DASHBOARDS, Json, boards, panels, queries, substituted
from support.go_programs import ROOT
from support.preview_panels import KINDS
from support.preview_units import UNITS
from support.prometheus import Prometheus, grouped, nodes, selected

BOARDS = boards()
SCRAPED = {"namespace", "pod", "pool", "instance", "job", "worker"}
"""Labels that a scrape gives."""
OF_PROMETHEUS = {"ALERTS": {"alertname", "alertstate", "severity"}}
OF_ALERTS = {"namespace", "project", "pool", "stage", "reason"}
"""Labels that our rules give to alerts."""
HISTOGRAM = ("_bucket", "_sum", "_count")
TITLED = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def known() -> dict[str, set[str]]:
    """Labels by every metric that the code declares, by the names of its series."""
    found: dict[str, set[str]] = {**OF_PROMETHEUS}
    modules: tuple[ModuleType, ...] = (telemetry, metrics)
    for row in [*(row for module in modules for row in declared(module)), *of_projects()]:
        labels = {*row.labels}
        if row.kind == "histogram":
            found |= {row.name + suffix: labels for suffix in HISTOGRAM}
            found[f"{row.name}_bucket"] = labels | {"le"}
        else:
            found[row.name] = labels
    for row in of_projects():
        found[row.name] |= {"namespace", "project"}
    return found


def targets(panel: Json) -> list[Json]:
    found: list[Json] = panel["targets"]
    return found


def links(panel: Json) -> list[str]:
    """All addresses of a panel, those of its columns too."""
    columns = [
        link["url"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]
    return [*(link["url"] for link in panel.get("links", ())), *columns]


def test_there_are_four_dashboards_and_each_has_its_own_name() -> None:
    assert BOARDS.keys() == {"overview", "project", "operator-and-queue", "gpu-and-workers"}
    assert len({board["uid"] for board in BOARDS.values()}) == 4
    assert len({board["title"] for board in BOARDS.values()}) == 4
    assert all(re.fullmatch(r"data-miner-[a-z]+", board["uid"]) for board in BOARDS.values())


@TITLED
def test_a_dashboard_is_one_for_grafana(board: dict[str, Any]) -> None:
    """Its models read it, and write the same again: no field is there that they do not know."""
    register_default_plugins()
    written = JSONEncoder().encode(Dashboard.from_json(board))
    assert json.loads(written) == board


@TITLED
def test_panels_have_their_own_numbers_and_places(board: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in board["panels"]]
    assert numbers == list(range(1, len(numbers) + 1))
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(at["x"] >= 0 and at["x"] + at["w"] <= 24 for at in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)


@TITLED
def test_panels_fill_the_width(board: dict[str, Any]) -> None:
    """No hole is left at the right."""
    lines: dict[int, int] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        lines[at["y"]] = lines.get(at["y"], 0) + at["w"]
    assert set(lines.values()) == {24}


@TITLED
def test_a_panel_says_what_it_shows_and_in_which_unit(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in board["panels"]]
    for panel in panels(board):
        assert panel["type"] in KINDS, panel["title"]
        assert re.fullmatch(r"[A-Z].{15,}\.", panel["description"]), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["noValue"], panel["title"]
        columns = [
            each["value"]
            for override in panel["fieldConfig"]["overrides"]
            for each in override["properties"]
            if each["id"] == "unit"
        ]
        for unit in [defaults["unit"], *columns]:
            assert unit in UNITS or unit.startswith("suffix:"), panel["title"]
    for row in (panel for panel in board["panels"] if panel["type"] == "row"):
        assert titles.count(row["title"]) == 1


@TITLED
def test_every_panel_asks_the_data_source_that_is_chosen(board: dict[str, Any]) -> None:
    """Grafana's default one at first: no dashboard knows the name of one."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    assert "current" not in variables["datasource"]
    assert all(panel["datasource"] == chosen for panel in panels(board))
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["datasource"] == chosen
            assert variable["allValue"] == ".*"
            assert variable["multi"]
            assert variable["includeAll"]


@TITLED
def test_a_variable_is_used_and_each_that_is_used_is_there(board: dict[str, Any]) -> None:
    named = {each["name"] for each in board["templating"]["list"]}
    text = json.dumps([board["panels"], [v.get("query") for v in board["templating"]["list"]]])
    used = set(re.findall(r"\$\{?([a-z]\w*)", text)) - {"__data", "__url_time_range"}
    assert used == named - ({"datasource"} - used)


def test_links_lead_to_runbooks_and_dashboards_that_are_there() -> None:
    """The names of alerts, and what stands behind them, are those of the rules."""
    found = [url for board in BOARDS.values() for panel in panels(board) for url in links(panel)]
    runbooks = [re.fullmatch(r"\$\{runbooks\}/(\w+)\.md", url) for url in found]
    alerts = {each[1] for each in runbooks if each}
    assert len(alerts) > 10
    assert alerts <= {rule["alert"] for rule in alert_rules()}
    assert [name for name in alerts if not (ROOT / "docs/runbooks" / f"{name}.md").is_file()] == []
    others = {url for url, runbook in zip(found, runbooks, strict=True) if not runbook}
    uids = {board["uid"] for board in BOARDS.values()}
    for url in others - {"${runbooks}/${__data.fields.alertname}.md"}:
        place = re.match(r"/d/([a-z-]+)\?", url)
        assert place is not None, url
        assert place[1] in uids


def test_every_expression_is_understood_by_prometheus(prometheus: Prometheus) -> None:
    asked = list(queries())
    assert len(asked) > 100
    wrong = [each for each in asked if not prometheus.parses(each.expression)]
    assert wrong == []


def test_a_query_names_only_metrics_and_labels_that_exist(prometheus: Prometheus) -> None:
    """A mistyped name would be an empty panel for ever."""
    told = known()
    for name, panel, expression in queries():
        tree = prometheus.tree(expression)
        place = f"{name}: {panel}"
        asked = selected(tree)
        for metric, labels in asked.items():
            assert metric in told, f"{place} asks for {metric}"
            assert labels <= told[metric] | SCRAPED, f"{place} asks for labels of {metric}"
        there = SCRAPED.union(*(told[metric] for metric in asked))
        if "ALERTS" in asked:
            there |= OF_ALERTS
        there |= set(re.findall(r'label_replace\(.*"(\w+)", "\w+", "", ""\)', expression))
        assert grouped(tree) <= there, f"{place} groups by labels that no metric has"


def test_a_legend_has_only_labels_that_its_series_have(prometheus: Prometheus) -> None:
    """Whatever an aggregation drops would be an empty legend, or two lines of one name."""
    for board in BOARDS.values():
        for panel in panels(board):
            for target in targets(panel):
                shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
                tree = prometheus.tree(substituted(target["expr"], ALL, rate_interval="1m"))
                aggregated = [set(n["grouping"]) for n in nodes(tree) if n["type"] == "aggregation"]
                assert any(shown <= by for by in aggregated) or not shown, panel["title"]


def test_a_table_shows_only_labels_that_its_series_have(prometheus: Prometheus) -> None:
    for board in BOARDS.values():
        for panel in panels(board):
            if panel["type"] != "table":
                continue
            trees = [
                prometheus.tree(substituted(t["expr"], ALL, rate_interval="1m"))
                for t in targets(panel)
            ]
            there = set[str]().union(*(grouped(tree) for tree in trees), {"reason"})
            fields = panel["transformations"][1]["options"]["renameByName"]
            labels = {field for field in fields if not field.startswith("Value")}
            assert labels <= there, panel["title"]
            linked = set(re.findall(r"__data\.fields\.(\w+)", json.dumps(panel["fieldConfig"])))
            gone = panel["transformations"][1]["options"]["excludeByName"].keys()
            assert linked <= labels - gone, f"{panel['title']} links by what is not in its rows"
            values = {f"Value #{t['refId']}" for t in targets(panel)}
            assert values <= fields.keys() | gone, panel["title"]


def test_what_a_project_tells_is_counted_once_while_the_leader_changes(
    prometheus: Prometheus,
) -> None:
    """Before it is added up or counted, a project's series goes through a `max by`: with all labels
    of its own, unless one value of them was asked for, or projects are counted."""
    own = {row.name: {"namespace", "project", *row.labels} for row in of_projects()}
    summed = 0
    for name, panel, expression in queries():
        for node in nodes(prometheus.tree(expression)):
            if node["type"] != "aggregation" or node["op"] not in ("sum", "count"):
                continue
            for inner in _aggregations_or_series(node["expr"]):
                asked = selected(inner).keys() & own.keys()
                assert not asked or inner.get("op") in ("max", "sum"), f"{name}: {panel}"
                if node["op"] == "sum" and inner.get("op") == "max":
                    for metric in asked:
                        summed += 1
                        left = own[metric] - {*inner["grouping"]} - _fixed(inner)
                        assert not left, f"{name}: {panel} mixes {left}"
    assert summed > 50


def _aggregations_or_series(tree: Json) -> Iterator[Json]:
    """The outermost ones below."""
    if tree["type"] in ("aggregation", "vectorSelector", "matrixSelector"):
        yield tree
        return
    for key in ("expr", "lhs", "rhs"):
        if isinstance(tree.get(key), dict):
            yield from _aggregations_or_series(tree[key])
    for each in tree.get("args") or ():
        yield from _aggregations_or_series(each)


def _fixed(tree: Json) -> set[str]:
    """Labels of which one value is asked for."""
    return {
        one["name"]
        for node in nodes(tree)
        for one in node.get("matchers") or ()
        if one["type"] == "="
    }


def test_a_quotient_has_no_divisor_of_zero(prometheus: Prometheus) -> None:
    """Behind each stroke stands a comparison that leaves zeros out."""
    strokes = 0
    for name, panel, expression in queries():
        for node in nodes(prometheus.tree(expression)):
            if node["type"] == "binaryExpr" and node["op"] == "/":
                strokes += 1
                divisor = node["rhs"]
                while divisor["type"] == "parenExpr":
                    divisor = divisor["expr"]
                assert divisor.get("op") == ">", f"{name}: {panel}"
    assert strokes > 15


def test_a_configmap_has_room_for_each() -> None:
    """Kubernetes takes 1 MiB; whoever looks at a difference wants lines."""
    for path in DASHBOARDS.iterdir():
        assert path.stat().st_size < 256 * 1024
        assert path.read_text().count("\n") > 500


def test_substitution_knows_every_variable_and_refuses_others() -> None:
    chosen = {"namespace": "a|b"}
    asked = substituted('x{a=~"$namespace"}[$__rate_interval]', chosen, rate_interval="2m")
    assert asked == 'x{a=~"a|b"}[2m]'
    with pytest.raises(KeyError):
        substituted("x{$other}", chosen, rate_interval="2m")


def test_the_dashboards_of_another_folder_can_be_asked_too(tmp_path: Path) -> None:
    board = {
        "panels": [{"type": "row"}, {"type": "stat", "title": "One", "targets": [{"expr": "up"}]}]
    }
    (tmp_path / "one.json").write_text(json.dumps(board))
    assert [tuple(query) for query in queries(tmp_path)] == [("one", "One", "up")]
