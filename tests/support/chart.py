"""The chart as Helm renders it: objects, their pods, and what is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.go_programs import ROOT
from support.helm_tools import helm

CHART = ROOT / "helm" / "data-miner"
CASES = {
    path.name.removesuffix("-values.yaml"): path
    for path in sorted((CHART / "ci").glob("*-values.yaml"))
}
"""Values files that stand for ways to install, besides no values at all."""
NAMES = ("default", *CASES)
KUBERNETES = "1.36.3"
APIS = ("monitoring.coreos.com/v1", "postgresql.cnpg.io/v1")
Object = dict[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What pods of an object look like."""

    owner: str
    """``Kind/name``."""
    component: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """The init containers too."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def render(
    values: Values | str | None = None, *, release: str = "data-miner", namespace: str = "mining",
    apis: Sequence[str] = APIS, upgrade: bool = False,
) -> list[Object]:  # fmt: skip
    """What `helm template` makes of values, or of the case of that name.

    Passwords differ from call to call only where the values do.
    """
    text = _run(_given(values), release, namespace, tuple(apis), upgrade)
    return [copy.deepcopy(one) for one in _parsed(text)]


def refusal(values: Values) -> str:
    """What Helm says when it refuses these values. Fails when it takes them."""
    ended = _helm(_given(values), "data-miner", "mining", APIS, upgrade=False)
    assert ended.returncode, f"Helm takes {values}"
    return ended.stderr


def pods(objects: Sequence[Object]) -> list[PodTemplate]:
    """Every pod that the objects make, tests and hooks too."""
    return list(_pods(objects))


def one(objects: Sequence[Object], kind: str, name: str) -> Object:
    """The only object of this kind and name."""
    found = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} objects are {kind}/{name}"
    return found[0]


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    """All objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container's variables: the value, or where it comes from."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def _pods(objects: Sequence[Object]) -> Iterator[PodTemplate]:
    for each in objects:
        spec = each.get("spec") or {}
        if each["kind"] == "Pod":
            template = each
        elif each["kind"] == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
        elif each["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet"}:
            template = spec["template"]
        else:
            continue
        labels = template["metadata"]["labels"]
        yield PodTemplate(
            f"{each['kind']}/{each['metadata']['name']}",
            labels["app.kubernetes.io/component"],
            labels,
            template["spec"],
        )


def _given(values: Values | str | None) -> str:
    if values is None or values == "default":
        return "{}"
    if isinstance(values, str):
        return CASES[values].read_text()
    return json.dumps(values)


@cache
def _run(values: str, release: str, namespace: str, apis: tuple[str, ...], upgrade: bool) -> str:
    ended = _helm(values, release, namespace, apis, upgrade=upgrade)
    assert not ended.returncode, ended.stderr
    return ended.stdout


@cache
def _parsed(text: str) -> tuple[Object, ...]:
    return tuple(each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each)


def _helm(
    values: str, release: str, namespace: str, apis: Sequence[str], *, upgrade: bool
) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        return run_helm(
            *("template", release, str(CHART), "--namespace", namespace, "--values", file.name),
            *("--kube-version", KUBERNETES, *(["--is-upgrade"] if upgrade else [])),
            *(part for api in apis for part in ("--api-versions", api)),
        )


def run_helm(
    *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 250
) -> subprocess.CompletedProcess[str]:
    """Run helm with a home of its own: nothing of the user's is read or written."""
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            [str(helm()), *arguments],
            env={"HOME": home, "PATH": "/usr/bin:/bin", **(env or {})},
            cwd=Path(home), capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
