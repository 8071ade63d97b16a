"""The real Prometheus: built once from the Go module in `tests/monitoring/prometheus`, and run.

Tests ask it what people ask it: queries, targets, alerts, and how it reads an expression.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from support import processes
from support.go_programs import ROOT, BuildError, Module, programs_of
from support.waiting import eventually

PROMETHEUS: Final = Module(
    "prometheus",
    ROOT / "tests" / "monitoring" / "prometheus",
    {
        "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
        "promtool": "github.com/prometheus/prometheus/cmd/promtool",
    },
)
START_SECONDS: Final = 60.0
_TREE: Final = ("expr", "lhs", "rhs", "param", "args")


def programs() -> Path:
    """The folder with prometheus and promtool. Raises BuildError."""
    return programs_of(PROMETHEUS)


class PrometheusError(Exception):
    """What the server says about a question that it does not answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one moment."""

    labels: Mapping[str, str]
    """Without `__name__`."""
    value: float
    """NaN and infinite where the server says so."""
    at: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series over a time."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]
    """Unix time and value; moments without a value are left out."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that waits for its `for`, or fires."""

    name: str
    state: str
    """ "pending" or "firing"."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def scrape(job: str, *targets: str, **labels: str) -> dict[str, Any]:
    """A scrape config for addresses as "127.0.0.1:8080"; `labels` go to each of their series."""
    return {"job_name": job, "static_configs": [{"targets": [*targets], "labels": labels}]}


def scrape_of_file(job: str, path: Path) -> dict[str, Any]:
    """A scrape config whose targets lie in a file, which may change (JSON, as `file_sd` has it).

    The file is looked at when it changes, and every second for file systems that do not tell.
    """
    return {
        "job_name": job,
        "file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}],
    }


@dataclass
class Prometheus:
    """A server on a free port of this machine, as a context manager.

    Its config, its data and its log lie in `folder`, which stays.
    """

    folder: Path
    scrapes: Sequence[Mapping[str, Any]] = ()
    """As in the `scrape_configs` of its config file: see `scrape` and `scrape_of_file`."""
    rules: Sequence[Path] = ()
    """Rule files; patterns as it knows them work too."""
    interval_seconds: float = 1.0
    """Between two scrapes of a target, and between two looks at the rules."""
    arguments: Sequence[str] = ()
    """Further ones, as "--enable-feature=exemplar-storage"."""
    address: str = ""
    """As "http://127.0.0.1:9090", while it runs."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """What it has said, over all its lives."""
        return self.folder / "prometheus.log"

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self._write_config()
        before = len(self._addresses())
        self._process = processes.start(
            [
                *(str(programs() / "prometheus"), f"--config.file={config}"),
                f"--storage.tsdb.path={self.folder / 'data'}",
                *("--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle"),
                *("--log.format=json", *self.arguments),
            ],
            environment={**os.environ},
            log=self.log,
        )
        try:
            eventually(
                lambda: len(self._addresses()) > before or self._ended(),
                seconds=START_SECONDS,
                what="Prometheus listens",
            )
            assert not self._ended(), self.said()
            self.address = f"http://{self._addresses()[-1]}"
            eventually(self._ready, seconds=START_SECONDS, what="Prometheus is ready")
            assert not self._ended(), self.said()
        except BaseException:
            processes.end(self._process)
            raise
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        assert self._process is not None
        processes.end(self._process, grace_seconds=20)

    def reload(self) -> None:
        """Read config and rules again. Raises PrometheusError when they are wrong."""
        self._write_config()
        self._ask("/-/reload", method="POST")

    def query(self, expression: str, *, at: float | None = None) -> list[Sample]:
        """The samples of an instant query, now or at a Unix time; a number is one without labels.

        Raises PrometheusError when the expression is wrong.
        """
        wanted = {"query": expression, **({} if at is None else {"time": str(at)})}
        answer = self._data("/api/v1/query", wanted)
        if answer["resultType"] == "scalar":
            return [_sample({}, answer["result"])]
        return [_sample(one["metric"], one["value"]) for one in answer["result"]]

    def value(self, expression: str, *, at: float | None = None) -> float | None:
        """The value of an expression with one result; None without a result."""
        found = self.query(expression, at=at)
        assert len(found) <= 1, f"{expression} has {len(found)} results"
        return found[0].value if found else None

    def query_range(
        self,
        expression: str,
        *,
        seconds: float = 300.0,
        step_seconds: float = 5.0,
        until: float | None = None,
    ) -> list[Series]:
        """The series of the last `seconds` before `until` (Unix time; None is now).

        Raises PrometheusError when the expression is wrong.
        """
        end = time.time() if until is None else until
        wanted = {
            "query": expression,
            "start": str(end - seconds),
            "end": str(end),
            "step": str(step_seconds),
        }
        answer = self._data("/api/v1/query_range", wanted)
        return [
            Series(_named(one["metric"]), [(float(at), float(v)) for at, v in one["values"]])
            for one in answer["result"]
        ]

    def parses(self, expression: str) -> bool:
        """Whether it understands an expression, whatever that names."""
        try:
            self.tree(expression)
        except PrometheusError:
            return False
        return True

    def tree(self, expression: str) -> Mapping[str, Any]:
        """How it reads an expression: nodes of `parse_query`; see `nodes`.

        Raises PrometheusError, with the place of the mistake, when it does not parse.
        """
        found: Mapping[str, Any] = self._data("/api/v1/parse_query", {"query": expression})
        return found

    def alerts(self) -> dict[str, str]:
        """State by the alert's name: "firing", or else "pending"; those that rest are left out."""
        found: dict[str, str] = {}
        for alert in self.alert_list():
            if found.get(alert.name) != "firing":
                found[alert.name] = alert.state
        return found

    def alert_list(self) -> list[Alert]:
        """Each alert that is pending or fires, with its labels and its rendered annotations."""
        return [
            Alert(one["labels"]["alertname"], one["state"], one["labels"], one["annotations"])
            for one in self._data("/api/v1/alerts", {})["alerts"]
        ]

    def rule_health(self) -> dict[str, str]:
        """Per rule "ok", "unknown" until it was first looked at, or what went wrong."""
        return {
            rule["name"]: rule.get("lastError") or rule["health"]
            for group in self._data("/api/v1/rules", {})["groups"]
            for rule in group["rules"]
        }

    def targets(self) -> list[Mapping[str, Any]]:
        """Its active targets, as it tells them: `labels`, `health` (up, down, unknown), `lastError`
        and `lastScrapeDuration` in seconds."""
        found: list[Mapping[str, Any]] = self._data("/api/v1/targets", {})["activeTargets"]
        return found

    def metric_names(self) -> set[str]:
        """All names of metrics that it has ever stored."""
        return set(self._data("/api/v1/label/__name__/values", {}))

    def wait_for(self, expression: str, *, seconds: float = 30.0) -> list[Sample]:
        """The samples of a query as soon as there are any."""
        found: list[Sample] = []

        def there() -> bool:
            found[:] = self.query(expression)
            return bool(found)

        eventually(there, seconds=seconds, what=expression, pause_seconds=0.1)
        return found

    def _write_config(self) -> Path:
        interval = f"{round(self.interval_seconds * 1000)}ms"
        config = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(path.absolute()) for path in self.rules],
            "scrape_configs": [*self.scrapes],
        }
        path = self.folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    def _ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def _addresses(self) -> list[str]:
        """Where it has listened, over all its lives; the last one is the present one."""
        return re.findall(r'"msg":"Listening on".*?"address":"(127\.0\.0\.1:\d+)"', self.said())

    def _ready(self) -> bool:
        try:
            self._ask("/-/ready")
        except (PrometheusError, OSError):
            return self._ended()
        return True

    def _data(self, path: str, parameters: Mapping[str, str]) -> Any:
        return json.loads(self._ask(path, parameters))["data"]

    def _ask(self, path: str, parameters: Mapping[str, str] = {}, method: str = "GET") -> str:
        query = f"?{urlencode(parameters)}" if parameters else ""
        request = Request(f"{self.address}{path}{query}", method=method)
        try:
            with urlopen(request, timeout=30) as answer:
                text: str = answer.read().decode()
                return text
        except HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise PrometheusError(_reason(said)) from error
        except URLError as error:
            raise PrometheusError(f"{self.address} does not answer: {error.reason}") from error


def nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All nodes of an expression, the outermost first."""
    yield tree
    for key in _TREE:
        below = tree.get(key)
        for one in below if isinstance(below, list) else [below]:
            if isinstance(one, Mapping):
                yield from nodes(one)


def selected(tree: Mapping[str, Any]) -> dict[str, set[str]]:
    """The metrics that an expression names, each with the labels that it matches on."""
    found: dict[str, set[str]] = {}
    for node in nodes(tree):
        if node["type"] in ("vectorSelector", "matrixSelector"):
            labels = {one["name"] for one in node["matchers"]} - {"__name__"}
            found.setdefault(node["name"], set()).update(labels)
    return found


def grouped(tree: Mapping[str, Any]) -> set[str]:
    """The labels that an expression aggregates or joins by."""
    found: set[str] = set()
    for node in nodes(tree):
        found.update(node.get("grouping") or ())
        matching = node.get("matching") or {}
        found.update(matching.get("labels") or (), matching.get("include") or ())
    return found


def _named(metric: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metric.items() if name != "__name__"}


def _sample(metric: Mapping[str, str], value: tuple[float, str]) -> Sample:
    return Sample(_named(metric), float(value[1]), float(value[0]))


def _reason(said: str) -> str:
    try:
        return str(json.loads(said)["error"])
    except (ValueError, KeyError, TypeError):
        return said.strip()


if __name__ == "__main__":
    try:
        print(programs())  # noqa: T201  # the answer
    except BuildError as error:
        sys.exit(f"prometheus: {error}")
