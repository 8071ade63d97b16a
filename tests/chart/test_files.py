"""The chart's files: lint, what is generated, style, golden renders, its own unit tests."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_miner import __version__
from data_miner.spec import project_of
from support.chart import CASES, CHART, NAMES, one, render, run_helm
from support.chart_golden import GOLDEN, goldens
from support.go_programs import ROOT
from support.helm_tools import helm, unittest

YAMLS = sorted(
    path
    for path in [*CHART.rglob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")]
    if "templates" not in path.parts and "crds" not in path.parts
)


@pytest.mark.parametrize("name", NAMES)
def test_lint_has_nothing_to_say(name: str) -> None:
    file = ["--values", str(CASES[name])] if name in CASES else []
    said = run_helm(
        "lint", "--strict", str(CHART), *file, "--kube-version", "1.36.3",
        "--set", "database.cnpg.create=false",
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


def test_what_is_generated_is_what_its_sources_say() -> None:
    """The schema, the table of values and the chart's copy of the CRD, byte for byte."""
    said = subprocess.run(
        [sys.executable, "helm/generate.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr


def test_the_chart_brings_the_definition_that_is_in_crds() -> None:
    source = yaml.safe_load((ROOT / "crds" / "data-miner.io_miningprojects.yaml").read_text())
    found = one(render(), "CustomResourceDefinition", "miningprojects.data-miner.io")
    assert found["spec"] == source["spec"]
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.parametrize("path", YAMLS, ids=[path.name for path in YAMLS])
def test_yaml_files_are_in_order(path: Path) -> None:
    """No key twice, no tab, no blank at a line's end, one line break at the end."""
    text = path.read_text()
    list(yaml.load_all(text, Loader=Once))
    assert "\t" not in text
    assert not re.search(r"[ ]+$", text, re.MULTILINE)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


class Once(yaml.SafeLoader):
    """Refuses a key that is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{node.start_mark}: a key is there twice"
        return super().construct_mapping(node, deep)


def test_a_key_that_is_there_twice_is_seen() -> None:
    with pytest.raises(AssertionError, match="there twice"):
        yaml.load("a: 1\na: 2\n", Loader=Once)


@pytest.mark.parametrize("path", [GOLDEN / "default.yaml", *(GOLDEN / f"{n}.diff" for n in CASES)])
def test_a_render_is_as_it_was_last_looked_at(path: Path) -> None:
    """A change is meant: `PYTHONPATH=tests python -m support.chart_golden` writes it down."""
    assert path.read_text() == goldens()[path]


def test_the_units_of_the_chart_hold() -> None:
    ended = subprocess.run(
        [str(unittest()), "--strict", "--color=false", "--file", "tests/*_test.yaml", str(CHART)],
        env={"PATH": f"{helm().parent}:/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"Tests: +[1-9]\d* passed", ended.stdout), ended.stdout


def test_the_project_that_helm_test_applies_is_valid() -> None:
    project = json.loads((CHART / "files" / "test" / "project.json").read_text())
    project["metadata"] = {"name": "x", "namespace": "y"}
    project_of(project)


def test_the_script_of_the_chart_runs_on_the_oldest_python() -> None:
    ast.parse((CHART / "files" / "test" / "mine.py").read_text(), feature_version=(3, 11))


def dashboards(values: str) -> dict[str, Any]:
    """Every dashboard that the chart brings, by its file."""
    return {
        name: json.loads(text)
        for each in render(values)
        if each["kind"] == "ConfigMap" and "-dashboard-" in each["metadata"]["name"]
        for name, text in each["data"].items()
    }


@pytest.mark.parametrize(
    ("values", "prefix"),
    [("default", "docs/runbooks"), ("cnpg", "https://example.com/runbooks")],
)
def test_dashboards_link_to_runbooks_below_the_address_that_is_said(
    values: str, prefix: str
) -> None:
    """And are else the files, to the letter."""
    found = dashboards(values)
    assert found.keys() == {path.name for path in (CHART / "files" / "dashboards").iterdir()}
    for name, board in found.items():
        original = json.loads((CHART / "files" / "dashboards" / name).read_text())
        [runbooks] = [v for v in original["templating"]["list"] if v["name"] == "runbooks"]
        assert runbooks["query"] == "docs/runbooks"
        runbooks["query"] = prefix
        assert board == original


def alerts(values: str) -> list[dict[str, Any]]:
    """Every alert that the chart defines."""
    return [
        rule
        for each in render(values)
        if each["kind"] == "PrometheusRule"
        for group in each["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


@pytest.mark.parametrize(
    ("values", "prefix"),
    [("default", "docs/runbooks"), ("cnpg", "https://example.com/runbooks")],
)
def test_every_alert_has_a_runbook_below_the_address_that_is_said(values: str, prefix: str) -> None:
    found = alerts(values)
    assert len(found) > 20
    for alert in found:
        assert alert["annotations"]["runbook_url"] == f"{prefix}/{alert['alert']}.md"


def test_the_rules_of_the_chart_are_its_files_and_nothing_is_rendered_in_them() -> None:
    """What a template of Prometheus has in braces is none of Helm's."""
    for path in sorted((CHART / "files" / "rules").iterdir()):
        rule = one(render(), "PrometheusRule", f"data-miner-{path.stem}")
        assert rule["spec"] == yaml.safe_load(path.read_text())


def test_labels_of_projects_and_pools_are_not_overwritten_by_those_of_the_scrape() -> None:
    """Else the namespace of each project would be that of the operator."""
    [endpoint] = one(render(), "ServiceMonitor", "data-miner-operator")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True


def test_monitoring_is_there_by_itself_where_the_cluster_knows_it() -> None:
    kinds = {each["kind"] for each in render(apis=())}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert {"PodMonitor", "ServiceMonitor", "PrometheusRule"} <= {each["kind"] for each in render()}


EXAMPLES = sorted((ROOT / "examples" / "cluster-values").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_of_values_can_be_installed(path: Path) -> None:
    assert render(yaml.safe_load(path.read_text()))
