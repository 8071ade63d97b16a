"""The rules of the chart, judged by Prometheus' own tools.

`tests/monitoring/rules` has a file for each alert: when it fires, and what looks like it and must
not. Its rule files are named as they are in the chart.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from data_miner import telemetry
from data_miner.catalog.phase import PhaseName
from data_miner.pipeline import NAMES as STAGES
from data_miner.spec.status import Funnel, Images, StageCounts
from data_miner_operator import metrics
from data_miner_operator.metrics_reference import declared, of_projects
from data_miner_operator.reconcile.conditions import TYPES
from data_miner_operator.scaling.policy import BLOCKED
from support.alert_rules import (
    DURATION,
    PRODUCT,
    RANGE,
    RULES,
    alerts,
    hurried,
    rules,
    with_summaries_only,
)
from support.go_programs import ROOT
from support.http import Reply, WebServer
from support.prometheus import Prometheus, grouped, nodes, programs, scrape, selected
from support.waiting import eventually

CASES = ROOT / "tests" / "monitoring" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks"
FILES = sorted(RULES.glob("*.yaml"))
NAMES = sorted({alert["alert"] for alert in alerts()})
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
TARGET = frozenset({"namespace", "job", "instance"})
"""Labels that a scrape adds in a cluster; of others that it adds, no rule may know."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def promtool(*arguments: str, folder: Path) -> str:
    """What it says; fails with that when it finds a fault."""
    ended = subprocess.run(
        [str(programs() / "promtool"), *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


def known() -> dict[str, frozenset[str]]:
    """Labels by metric, of all that workers and operators tell, those of the scrape included."""
    own = {row.name: TARGET | set(row.labels) for row in (*declared(telemetry), *declared(metrics))}
    projects = {row.name: TARGET | {"project", *row.labels} for row in of_projects()}
    recorded = dict.fromkeys(RECORDED, frozenset({"namespace", "job", "project"}))
    return {**own, **projects, **recorded}


def test_promtool_finds_no_fault_in_the_rules(tmp_path: Path) -> None:
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, FILES), folder=ROOT)
    assert said.count("SUCCESS") == len(FILES) == 4


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.yaml")))
def test_a_rule_does_what_its_cases_say(name: str, tmp_path: Path) -> None:
    for path in FILES:
        (tmp_path / path.name).write_text(with_summaries_only(path.read_text()))
    (tmp_path / "cases.yaml").write_text((CASES / f"{name}.yaml").read_text())
    assert "SUCCESS" in promtool("test", "rules", "cases.yaml", folder=tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    tests = yaml.safe_load((CASES / f"{name}.yaml").read_text())["tests"]
    fires = {test["name"]: _fires(test, name) for test in tests}
    assert {True, False} == set(fires.values())
    for told, does in fires.items():
        assert told.split()[0] in (("fires", "ceases") if does else ("silent",)), told


def _fires(test: Mapping[str, Any], name: str) -> bool:
    looks = [look for look in test["alert_rule_test"] if look["alertname"] == name]
    assert looks, test["name"]
    return any(look.get("exp_alerts") for look in looks)


def test_every_file_of_cases_is_of_an_alert() -> None:
    assert {path.stem for path in CASES.glob("*.yaml")} == {*NAMES, "recording"}


def test_every_recorded_series_is_compared_with_what_it_should_be() -> None:
    text = (CASES / "recording.yaml").read_text()
    assert [name for name in sorted(RECORDED) if name not in text] == []


@pytest.mark.parametrize("alert", [*alerts()], ids=lambda alert: alert["alert"])
def test_every_alert_says_who_shall_come_and_what_to_do(alert: Mapping[str, Any]) -> None:
    assert alert["alert"].startswith("DataMiner")
    assert DURATION.fullmatch(alert["for"])
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    annotations = alert["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["summary"].endswith((".", "{{ end }}"))
    # What has nothing to render is left out of the cases.
    assert "{{" not in annotations["description"]
    assert annotations["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_runbook(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.M) == [
        "Meaning", "Impact", "Diagnosis", "Mitigation",
    ]  # fmt: skip
    sections = re.split(r"^## .+$", text, flags=re.M)[1:]
    assert all(section.strip() for section in sections)
    assert "```sh" in text


def test_every_runbook_is_of_an_alert_and_in_the_list() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {*NAMES, "README"}
    listed = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| ([a-z, ]+) \| ([\w, ]+) \|",
        (RUNBOOKS / "README.md").read_text(),
        re.M,
    )
    wanted = [
        (
            name,
            name,
            ", ".join(a["labels"]["severity"] for a in alerts() if a["alert"] == name),
            ", ".join(a["for"] for a in alerts() if a["alert"] == name),
        )
        for name in dict.fromkeys(a["alert"] for a in alerts())
    ]
    assert sorted(listed) == sorted(wanted)


@pytest.mark.parametrize("rule", [*rules()], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_only_metrics_and_labels_that_exist(
    rule: Mapping[str, Any], prometheus: Prometheus
) -> None:
    exist = known()
    tree = prometheus.tree(rule["expr"])
    for metric, labels in selected(tree).items():
        assert metric in exist, metric
        assert labels <= exist[metric], metric
    for node in nodes(tree):
        there = {label for metric in selected(node) for label in exist[metric]}
        assert set(node.get("grouping") or ()) <= there, node["grouping"]
    assert not grouped(tree) & {"pod", "video", "video_id", "url"}


VALUES: Mapping[str, set[str]] = {
    "stage": set(STAGES),
    "outcome": {"done", "skipped", "failed", "later", "lost"},
    "phase": set(PhaseName),
    "type": set(TYPES),
    "status": {"True", "False", "Unknown"},
    "step": set(Funnel.model_fields),
    "state": set(StageCounts.model_fields) - {"name"} | {"throttled"},
}
"""Values by label, for all metrics that have it."""
OWN_VALUES: Mapping[tuple[str, str], set[str]] = {
    ("dataminer_scale_blocked", "reason"): {str(reason) for reason in BLOCKED},
    ("dataminer_reconcile_errors_total", "reason"): {
        *("database", "conflict", "api", "timeout", "defect"),
    },
    ("dataminer_pool_replicas", "kind"): {"desired", "current", "ready"},
    ("dataminer_project_images", "kind"): set(Images.model_fields),
    ("dataminer_disk_bytes", "kind"): {"free", "size"},
}


@pytest.mark.parametrize("rule", [*rules()], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_looks_for_values_that_there_can_be(
    rule: Mapping[str, Any], prometheus: Prometheus
) -> None:
    """A word that nobody says would be an alert that never fires."""
    for node in nodes(prometheus.tree(rule["expr"])):
        for matcher in node.get("matchers") or ():
            label = matcher["name"]
            if label == "__name__":
                continue
            can_be = OWN_VALUES.get((node["name"], label)) or (
                error_classes() if label == "error_class" else VALUES[label]
            )
            assert set(matcher["value"].split("|")) <= can_be, (node["name"], label)


def error_classes() -> set[str]:
    """Those that a document explains, and of a machine that starts no process."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    table = text.partition("## What has failed")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.M)
    return {"no_process", *(word for row in rows for word in re.findall(r"`(\w+)`", row))}


def test_a_duration_of_a_rule_stands_where_a_test_finds_it() -> None:
    """Whoever makes rules shorter would miss the others."""
    for rule in rules():
        rest = PRODUCT.sub("", RANGE.sub("", rule["expr"]))
        rest = re.sub(r"ratio_rate\w+|:rate5m|:increase30m", "", rest)
        assert not re.search(r"\d[smhdwy]\b|\boffset\b", rest), rule["expr"]


def test_hurried_rules_are_the_same_rules_with_all_durations_divided(tmp_path: Path) -> None:
    file = tmp_path / "hurried.yaml"
    file.write_text(hurried(RULES, 60))
    promtool("check", "rules", str(file), folder=tmp_path)
    found = {(r.get("alert"), r.get("record"), r.get("for")): r["expr"] for r in rules(tmp_path)}
    assert len(found) == len(list(rules()))
    text = file.read_text()
    assert "DataMinerBacklogAgeHigh" in text
    assert "6 * 3600 / 60" in text
    assert "[5000ms]" in text
    assert "for: 2000ms" in text
    assert not RANGE.search(text)


def test_hurried_rules_fire_and_cease_within_seconds_on_a_server(tmp_path: Path) -> None:
    """And all of them can be evaluated."""
    file = tmp_path / "hurried.yaml"
    file.write_text(hurried(RULES, 60))
    with WebServer() as web:
        web.replies["/metrics"] = _leads(0)
        target = scrape("operator", urlsplit(web.url("/")).netloc, namespace="mining")
        with Prometheus(
            tmp_path / "server", [target], rules=[file], interval_seconds=0.25
        ) as server:
            eventually(lambda: server.alerts().get("DataMinerNoLeader") == "firing", seconds=30)
            [alert] = [one for one in server.alert_list() if one.name == "DataMinerNoLeader"]
            assert alert.annotations["summary"] == "No replica of the operator leads in mining."
            web.replies["/metrics"] = _leads(1)
            eventually(lambda: "DataMinerNoLeader" not in server.alerts(), seconds=30)
            eventually(lambda: set(server.rule_health().values()) == {"ok"}, seconds=30)


def _leads(value: int) -> Reply:
    return Reply(f"dataminer_leader {value}\n".encode(), content_type="text/plain; version=0.0.4")
