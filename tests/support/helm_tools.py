"""helm, kubeconform and helm-unittest: built once from the Go modules in `tests/chart/tools`.

And what kubeconform compares with: schemas made of the OpenAPI document that comes with the
Kubernetes release of the control plane, and of the Prometheus operator's CRDs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from support.controlplane_build import SOURCE as CONTROL_PLANE
from support.controlplane_build import kubernetes_version
from support.go_programs import ROOT, BuildError, Module, cache, locked, programs_of

TOOLS = Module(
    "helmtools",
    ROOT / "tests" / "chart" / "tools" / "helm",
    {
        "helm": "helm.sh/helm/v4/cmd/helm",
        "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
    },
)
# Of its own: it needs other versions of what the two above need.
UNITTEST = Module(
    "helm-unittest",
    ROOT / "tests" / "chart" / "tools" / "unittest",
    {"helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"},
)
PROMETHEUS_OPERATOR = (
    "github.com/prometheus-operator/prometheus-operator@v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
)
"""The module and its checksum."""
MONITORING = ("podmonitors", "prometheusrules", "servicemonitors")


def helm() -> Path:
    """The program helm. Raises BuildError."""
    return programs_of(TOOLS) / "helm"


def kubeconform() -> Path:
    """The program kubeconform. Raises BuildError."""
    return programs_of(TOOLS) / "kubeconform"


def unittest() -> Path:
    """The program helm-unittest, which helm would call as a plugin. Raises BuildError."""
    return programs_of(UNITTEST) / "helm-unittest"


def schemas() -> Path:
    """A folder with a strict JSON schema for every kind, named as kubeconform asks for it.

    Raises BuildError when the modules that they are made of cannot be fetched.
    """
    sources = (kubernetes_version(), *PROMETHEUS_OPERATOR, Path(__file__).read_text())
    key = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:32]
    folder = cache() / "kubeschemas" / key
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / "lock", "kubeschemas"):
            if not folder.is_dir():
                _write_schemas(folder)
    return folder


def _write_schemas(folder: Path) -> None:
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name, schema in {**_kubernetes(), **_monitoring()}.items():
        (new / f"{name}.json").write_text(json.dumps(schema))
    new.rename(folder)


def _kubernetes() -> dict[str, Any]:
    version = kubernetes_version()
    module = _fetched(f"k8s.io/kubernetes@v{version}", CONTROL_PLANE)
    document = json.loads((module / "api" / "openapi-spec" / "swagger.json").read_text())
    definitions = {name: _strict(one) for name, one in document["definitions"].items()}
    found = {}
    for name, one in definitions.items():
        for kind in one.get("x-kubernetes-group-version-kind", ()):
            found[_file_name(kind)] = {
                **one,
                "definitions": dict(_needed(name, definitions)),
            }
    return found


def _monitoring() -> dict[str, Any]:
    module = _fetched(PROMETHEUS_OPERATOR[0], CONTROL_PLANE, PROMETHEUS_OPERATOR[1])
    crds = module / "example" / "prometheus-operator-crd"
    found = {}
    for name in MONITORING:
        crd = yaml.safe_load((crds / f"monitoring.coreos.com_{name}.yaml").read_text())
        version = crd["spec"]["versions"][0]
        kind = {
            "group": crd["spec"]["group"],
            "version": version["name"],
            "kind": crd["spec"]["names"]["kind"],
        }
        found[_file_name(kind)] = _strict(version["schema"]["openAPIV3Schema"])
    return found


def _file_name(kind: Mapping[str, str]) -> str:
    """As kubeconform asks for it: of the group only the first word."""
    group = kind["group"].partition(".")[0]
    return "-".join([kind["kind"], *([group] if group else []), kind["version"]]).lower()


def _needed(name: str, definitions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a definition refers to, at any depth; each once."""
    seen, open_ = {name}, [name]
    while open_:
        for target in _references(definitions[open_.pop()]):
            if target not in seen:
                seen.add(target)
                open_.append(target)
                yield target, definitions[target]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "$ref" and isinstance(one, str):
                yield one.removeprefix("#/definitions/")
            else:
                yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _strict(schema: Any) -> Any:
    """The same schema refusing fields that it does not name, and with what JSON Schema can say."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _strict(value) for key, value in schema.items()}
    if found.get("format") == "int-or-string" or found.get("x-kubernetes-int-or-string") is True:
        return {"type": ["string", "integer"]}
    if found.get("type") == "object" and isinstance(found.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


def _fetched(module: str, where: Path, checksum: str = "") -> Path:
    ended = subprocess.run(
        [_go(), "mod", "download", "-json", module],
        cwd=where, capture_output=True, text=True, check=False,
    )  # fmt: skip
    answer = json.loads(ended.stdout or "{}")
    if ended.returncode or "Dir" not in answer:
        raise BuildError(f"{module} cannot be fetched: {answer.get('Error') or ended.stderr}")
    if checksum and answer["Sum"] != checksum:
        raise BuildError(f"{module} has another checksum than it had: {answer['Sum']}")
    return Path(answer["Dir"])


def _go() -> str:
    return os.environ.get("GO") or shutil.which("go") or "/usr/local/go/bin/go"


if __name__ == "__main__":
    import sys

    try:
        print(helm().parent)  # noqa: T201  # the answer
        print(unittest().parent)  # noqa: T201
        print(schemas())  # noqa: T201
    except BuildError as error:
        sys.exit(f"helmtools: {error}")
