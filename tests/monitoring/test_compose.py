"""The laptop's Prometheus, Grafana and Loki, as far as they can be judged without their engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from data_miner.settings import PREFIX, Settings
from support.dashboards import DASHBOARDS, boards
from support.go_programs import ROOT
from support.prometheus import PROMETHEUS, Prometheus, programs
from support.waiting import eventually

EXAMPLES: Final = ROOT / "examples"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
SERVICE_KEYS: Final = frozenset({
    "cap_drop", "command", "depends_on", "environment", "extra_hosts", "image", "mem_limit",
    "ports", "read_only", "restart", "security_opt", "tmpfs", "user", "volumes",
})  # fmt: skip
"""Those of the Compose specification that are used here; another one is a slip or is looked up."""
EACH: Final = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def mounts(service: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(source, place in the container, mode) of each volume."""
    found = [re.fullmatch(r"(.+?):(/[^:]*)(?::(ro))?", each) for each in service["volumes"]]
    assert all(found)
    return [(each[1], each[2], each[3] or "") for each in found if each]


def on_host(service: str, path: str) -> Path:
    """Where a file of a container is in the repository."""
    for source, place, _ in mounts(SERVICES[service]):
        if source.startswith("."):
            if path == place:
                return EXAMPLES / source
            if path.startswith(f"{place}/"):
                return EXAMPLES / source / path.removeprefix(f"{place}/")
    raise AssertionError(f"{service} has no {path}")


def config(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / "compose" / name).read_text())


def test_the_file_has_the_shape_that_compose_takes() -> None:
    assert COMPOSE.keys() == {"name", "services", "volumes"}
    assert SERVICES.keys() == {"prometheus", "grafana", "loki", "alloy"}
    for name, service in SERVICES.items():
        assert service.keys() <= SERVICE_KEYS, name
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        named = {source for source, _, _ in mounts(service) if re.fullmatch(r"\w+", source)}
        assert named <= COMPOSE["volumes"].keys()


@EACH
def test_an_image_has_a_version_and_no_registry(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


@EACH
def test_a_service_runs_as_nobody_special_and_changes_only_its_volume(
    service: dict[str, Any],
) -> None:
    user = service["user"].partition(":")[0]
    assert user not in ("", "0", "root")
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for source, place, mode in mounts(service):
        ours = source in COMPOSE["volumes"]
        assert mode == ("" if ours else "ro"), place


@EACH
def test_no_other_machine_is_answered(service: dict[str, Any]) -> None:
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_every_file_that_is_mounted_is_there() -> None:
    found = [
        EXAMPLES / source
        for service in SERVICES.values()
        for source, _, _ in mounts(service)
        if source.startswith(".")
    ]
    assert len(found) == 7
    assert [path for path in found if not path.exists()] == []
    used = {path.resolve() for path in found}
    assert {path.resolve() for path in (EXAMPLES / "compose").iterdir()} <= used


def test_a_command_names_only_files_that_are_mounted() -> None:
    configs = {
        name: re.findall(r"(?:^|=)(/etc/[\w./-]+)", "\n".join(service.get("command", ())), re.M)
        for name, service in SERVICES.items()
    }
    assert {name: len(paths) for name, paths in configs.items()} == {
        "prometheus": 1, "grafana": 0, "loki": 1, "alloy": 1,
    }  # fmt: skip
    for name, paths in configs.items():
        for path in paths:
            assert on_host(name, path).is_file()


def test_promtool_finds_no_fault_in_the_config_of_prometheus(tmp_path: Path) -> None:
    """With the chart's rules, where they lie in the repository."""
    wanted = config("prometheus.yaml")
    wanted["rule_files"] = [str(on_host("prometheus", path)) for path in wanted["rule_files"]]
    path = tmp_path / "prometheus.yaml"
    path.write_text(yaml.safe_dump(wanted))
    ended = subprocess.run(
        [str(programs() / "promtool"), "check", "config", "--lint=all", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("rules found") == 3


def test_no_rule_calls_for_help_because_there_is_no_operator(tmp_path: Path) -> None:
    """On a laptop nothing of a cluster is scraped, and between runs nothing at all."""
    rules = [on_host("prometheus", path) for path in config("prometheus.yaml")["rule_files"]]
    with Prometheus(tmp_path, rules=rules, interval_seconds=0.2) as server:
        eventually(
            lambda: {*server.rule_health().values()} == {"ok"}, seconds=30, what="rules were judged"
        )
        assert server.alerts() == {}


def test_prometheus_is_the_one_that_the_tests_run() -> None:
    """Its module is versioned 0.x, with the minor of 3.x in three digits: 0.305.0 is 3.5.0."""
    module = (PROMETHEUS.source / "go.mod").read_text()
    found = re.search(r"github\.com/prometheus/prometheus v0\.3(\d\d)\.(\d+)", module)
    assert found is not None
    assert SERVICES["prometheus"]["image"] == f"prom/prometheus:v3.{int(found[1])}.{found[2]}"


def test_it_scrapes_the_port_that_the_documents_and_the_comment_name() -> None:
    [job] = config("prometheus.yaml")["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert SERVICES["prometheus"]["extra_hosts"] == [f"{host}:host-gateway"]
    for text in ("examples/compose.yaml", "docs/observability.md"):
        assert f"--metrics-port {port}" in (ROOT / text).read_text()
    assert job["honor_labels"]


def test_the_dashboards_find_their_data_source_and_grafana_finds_them() -> None:
    """They ask Grafana's default data source of this kind until another one is chosen."""
    sources = {each["uid"]: each for each in config("datasources.yaml")["datasources"]}
    [default] = [each for each in sources.values() if each.get("isDefault")]
    kinds = {
        variable["query"]
        for board in boards().values()
        for variable in board["templating"]["list"]
        if variable["type"] == "datasource"
    }
    assert kinds == {default["type"]} == {"prometheus"}
    scraped = config("prometheus.yaml")["global"]["scrape_interval"]
    assert default["jsonData"]["timeInterval"] == scraped
    [provider] = config("dashboards.yaml")["providers"]
    folder = provider["options"]["path"]
    assert on_host("grafana", folder).resolve() == DASHBOARDS
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/overview.json"
    for source in sources.values():
        assert source["url"].split("/")[2].partition(":")[0] in SERVICES


def test_the_edition_of_grafana_is_the_one_that_the_dashboards_are_written_for() -> None:
    written = re.search(
        r"grafana-foundation-sdk==\d+!(\d+\.\d+)", (ROOT / "pyproject.toml").read_text()
    )
    assert written is not None
    assert SERVICES["grafana"]["image"].startswith(f"grafana/grafana:{written[1]}.")


def test_the_logs_are_read_where_workers_write_them() -> None:
    """As their owner: nobody else may read them."""
    assert f"{PREFIX}HOME" == "DATA_MINER_HOME"
    place = f"${{DATA_MINER_HOME:-{Settings().home}}}/logs"
    assert (place, "/logs", "ro") in mounts(SERVICES["alloy"])
    assert '{"__path__" = "/logs/*.log"' in (EXAMPLES / "compose" / "logs.alloy").read_text()
    assert "DATA_MINER_UID" in SERVICES["alloy"]["user"]


def test_a_line_of_the_log_has_what_is_taken_out_of_it() -> None:
    """Its level, and a time that Go reads as RFC 3339."""
    write = "from data_miner import telemetry as t; t.configure_logging(); t.logger().info('x')"
    said = subprocess.run(
        [sys.executable, "-c", write], capture_output=True, text=True, check=True
    ).stderr
    line = json.loads(said)
    alloy = (EXAMPLES / "compose" / "logs.alloy").read_text()
    [taken] = re.findall(r"expressions = \{(.*)\}", alloy)
    assert set(re.findall(r'= "(\w+)"', taken)) == {"level", "timestamp"} <= line.keys()
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
