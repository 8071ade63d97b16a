"""What values may be: every one is described, and what cannot be is refused with its path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from data_miner.pipeline import NAMES as STAGES
from data_miner.settings import Settings
from data_miner_models.providers import PROVIDERS
from data_miner_operator.config import OperatorSettings
from support.chart import CHART, refusal, render, run_helm


def pool(**values: Any) -> dict[str, Any]:
    """Values of one pool."""
    return {"workers": {"pools": {"default": values}}}


CREDENTIAL = {"name": "cookies", "secretName": "site"}
VOLUMES = ("tmp", "scratch", "shm", "models", "model-cache", "storage", "credential-site")
LABELS = ("app.kubernetes.io/component", "app.kubernetes.io/instance", "data-miner.io/pool")
EXPORT = {"enabled": True}
BUCKET = {"mode": "s3", "s3": {"uri": "s3://mining"}}
BAD: tuple[tuple[dict[str, Any], str], ...] = (
    # Names that do not exist
    ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ({"operator": {"replica": 3}}, "at '/operator': additional properties 'replica' not allowed"),
    (pool(maxReplicas=3), "additional properties 'maxReplicas' not allowed"),
    (pool(scaling={"max": 3}), "additional properties 'max' not allowed"),
    ({"database": {"url": "postgresql://a:b@c/d"}}, "additional properties 'url' not allowed"),
    ({"database": {"embedded": {"password": "x"}}}, "additional properties 'password' not allowed"),
    ({"database": {"external": {"password": "x"}}}, "additional properties 'password' not allowed"),
    ({"storage": {"s3": {"secretKey": "x"}}}, "additional properties 'secretKey' not allowed"),
    ({"settings": {"leaseSecond": 1}}, "additional properties 'leaseSecond' not allowed"),
    ({"operator": {"settings": {"lease": 1}}}, "additional properties 'lease' not allowed"),
    ({"images": {"worker": {"name": "x"}}}, "additional properties 'name' not allowed"),
    ({"crds": {"create": True}}, "additional properties 'create' not allowed"),
    # Of another type
    ({"operator": {"replicas": "two"}}, "at '/operator/replicas': got string, want integer"),
    ({"crds": {"enabled": "yes"}}, "at '/crds/enabled': got string, want boolean"),
    ({"operator": {"namespaces": "doors"}}, "at '/operator/namespaces': got string, want array"),
    ({"workers": {"pools": [{}]}}, "at '/workers/pools': got array, want object"),
    ({"settings": {"leaseSeconds": "60"}}, "at '/settings/leaseSeconds': got string, want number"),
    ({"operator": {"nodeSelector": {"gpu": True}}}, "at '/operator/nodeSelector/gpu'"),
    (pool(extraEnv={"A": "b"}), "/extraEnv': got object, want array"),
    # Out of bounds
    ({"operator": {"replicas": -1}}, "at '/operator/replicas': minimum: got -1, want 0"),
    (pool(slots=0), "/slots': minimum: got 0, want 1"),
    (pool(slots=65), "/slots': maximum: got 65, want 64"),
    (pool(scaling={"targetDrainSeconds": 1}), "/targetDrainSeconds': minimum: got 1, want 10"),
    (pool(gpu={"count": -1}), "/gpu/count': minimum: got -1, want 0"),
    ({"database": {"external": {"port": 70000}}}, "/port': maximum: got 70,000, want 65,535"),
    ({"database": {"embedded": {"runAsUser": 0}}}, "/runAsUser': minimum: got 0, want 1"),
    ({"security": {"runAsUser": 0}}, "at '/security/runAsUser': minimum: got 0, want 1"),
    ({"backup": {"keepDays": 0}}, "at '/backup/keepDays': minimum: got 0, want 1"),
    # A rule of a policy without ports would be one for every port
    ({"networkPolicy": {"apiServerPorts": []}}, "/apiServerPorts': minItems: got 0, want 1"),
    ({"networkPolicy": {"workers": {"ports": []}}}, "/workers/ports': minItems: got 0, want 1"),
    ({"networkPolicy": {"dnsPorts": None}}, "missing property 'dnsPorts'"),
    ({"networkPolicy": {"apiServerPorts": None}}, "missing property 'apiServerPorts'"),
    ({"networkPolicy": {"workers": {"ports": None}}}, "missing property 'ports'"),
    ({"database": {"external": {"port": None}}}, "missing property 'port'"),
    # None of what there is
    ({"database": {"mode": "mysql"}}, "must be one of 'embedded', 'external', 'cnpg'"),
    ({"storage": {"mode": "nfs"}}, "must be one of 'embedded', 'pvc', 's3'"),
    ({"storage": {"pvc": {"accessMode": "RWX"}}}, "'ReadWriteMany', 'ReadWriteOnce'"),
    ({"images": {"worker": {"pullPolicy": "never"}}}, "'Always', 'IfNotPresent', 'Never'"),
    (pool(scaling={"autoscaler": "vpa"}), "must be one of 'operator', 'hpa', 'keda', 'none'"),
    ({"models": {"source": "hub"}}, "must be one of 'bundled', 'store', 'claim', 'image'"),
    # Text that cannot be
    (pool(stages="dedupe"), "/stages': 'dedupe' does not match pattern"),
    ({"workers": {"pools": {"GPU_A": {}}}}, "'GPU_A' does not match pattern"),
    ({"operator": {"namespaces": ["Doors"]}}, "'Doors' does not match pattern"),
    ({"operator": {"namespaces": ["a", "a"]}}, "/namespaces': items at 0 and 1 are equal"),
    ({"images": {"worker": {"digest": "sha256:12"}}}, "'sha256:12' does not match pattern"),
    ({"images": {"worker": {"repository": "a b"}}}, "'a b' does not match pattern"),
    ({"storage": {"s3": {"uri": "bucket/x"}}}, "'bucket/x' does not match pattern"),
    ({"storage": {"s3": {"endpoint": "https://a:b@c"}}}, "'https://a:b@c' does not match pattern"),
    ({"storage": {"allowedPrefixes": ["raw"]}}, "'raw' does not match pattern"),
    ({"storage": {"embedded": {"size": "50GB"}}}, "'50GB' does not match pattern"),
    ({"database": {"name": "data-miner"}}, "'data-miner' does not match pattern"),
    ({"database": {"cnpg": {"clusterName": "A"}}}, "'A' does not match pattern"),
    ({"backup": {"schedule": "daily"}}, "'daily' does not match pattern"),
    ({"networkPolicy": {"databaseCidrs": ["10.0.0.1"]}}, "'10.0.0.1' does not match pattern"),
    (pool(gpu={"resourceName": "gpu"}), "'gpu' does not match pattern"),
    ({"operator": {"folder": "examples"}}, "'examples' does not match pattern"),
    ({"models": {"store": {"uri": "gs://models"}}}, "'gs://models' does not match pattern"),
    ({"models": {"store": {"endpoint": "https://a:b@c"}}}, "'https://a:b@c' does not match"),
    ({"models": {"cache": {"sizeLimit": "20GB"}}}, "'20GB' does not match pattern"),
    ({"models": {"cache": {"volume": {"emptyDir": {}, "name": "x"}}}}, "maxProperties: got 2"),
    ({"models": {"export": {"retrySeconds": 1}}}, "/retrySeconds': minimum: got 1, want 10"),
    ({"models": {"export": {"acceptLicences": [""]}}}, "'' does not match pattern"),
    # Incomplete
    ({"credentials": [{"name": "cookies"}]}, "missing property 'secretName'"),
    ({"operator": {"resources": {"limits": None}}}, "missing property 'limits'"),
    ({"operator": {"resources": {"limits": {"memory": None}}}}, "missing property 'memory'"),
    (pool(extraEnv=[{"value": "x"}]), "missing property 'name'"),
    (pool(extraEnv=[{"name": "A", "value": "x", "valueFrom": {"a": 1}}]), "'not' failed"),
    ({"extraObjects": [{"kind": "ConfigMap"}]}, "missing properties 'apiVersion', 'metadata'"),
    # What does not go together
    ({"database": {"mode": "external"}}, "name the Secret with its URL"),
    ({"storage": {"mode": "s3"}}, "name the bucket in storage.s3.uri"),
    ({"models": {"source": "claim"}}, "name the claim in models.claim.existingClaim"),
    ({"models": {"source": "image"}}, "name the image in models.image.reference"),
    ({"models": {"claim": {"pull": True}}}, "models.claim.pull is for models.source=claim"),
    (
        {"models": {"source": "store"}, "storage": {"mode": "pvc"}},
        "storage.mode=pvc has no bucket; name one in models.store.uri",
    ),
    (
        {"models": {"source": "store", "store": {"uri": "s3://models"}}},
        "storage.mode=embedded has one bucket and one account",
    ),
    (
        {"models": {"source": "store", "store": {"existingSecret": "models"}}},
        "storage.mode=embedded has one bucket and one account",
    ),
    (
        {"models": {"source": "store", "store": {"endpoint": "http://s"}}, "storage": BUCKET},
        "a worker knows one server of buckets",
    ),
    ({"models": {"export": EXPORT}}, "nothing can be written where models.source=bundled has them"),
    (
        {"models": {"source": "image", "image": {"reference": "m:1"}, "export": EXPORT}},
        "nothing can be written where models.source=image has them",
    ),
    (
        {
            "models": {
                "source": "store",
                "export": {**EXPORT, "extraEnv": [{"name": "HOME", "value": "/"}]},
            }
        },
        "models.export.extraEnv: HOME is set by the chart",
    ),
    (
        {"backup": {"enabled": True}, "database": {"mode": "cnpg"}},
        "backup.enabled is for database.mode=embedded",
    ),
    # A restore would drop "<name>_new", which PostgreSQL would take for the name itself
    (
        {"backup": {"enabled": True}, "database": {"name": "x" * 47}},
        "database.name: with backup.enabled at most 46 letters",
    ),
    ({"credentials": [CREDENTIAL, CREDENTIAL]}, "credentials: cookies is there twice"),
    ({"credentials": [{**CREDENTIAL, "pools": ["gpu"]}]}, "is for pool gpu, and there is no such"),
    (
        pool(scaling={"minReplicas": 9}),
        "workers.pools.default.scaling: minReplicas is 9, above maxReplicas, which is 4",
    ),
    (pool(provider="auto"), "/provider': value must be one of"),
    (pool(provider="cuda"), "default.provider: cuda runs on a GPU, and gpu.count is 0"),
    (pool(provider="openvino", gpu={"count": 1}), "openvino runs on a CPU, and each pod would"),
    (pool(extraEnv=[{"name": "HOME", "value": "/"}]), "extraEnv: HOME is set by the chart"),
    (pool(extraEnv=[{"name": "A", "value": "1"}] * 2), "extraEnv: A is set by the chart, or is"),
    (
        {
            "settings": {"leaseSeconds": 60},
            **pool(extraEnv=[{"name": "DATA_MINER_LEASE_SECONDS", "value": "1"}]),
        },
        "DATA_MINER_LEASE_SECONDS is set by the chart, or is there twice",
    ),
    (
        {"operator": {"extraEnv": [{"name": "DATA_MINER_HOME", "value": "/"}]}},
        "operator.extraEnv: DATA_MINER_HOME is set by the chart",
    ),
    *((pool(extraVolumes=[{"name": one}]), f"extraVolumes: {one} is a volume") for one in VOLUMES),
    (pool(extraVolumes=[{"name": "own"}, {"name": "own"}]), "own is a volume of the chart, or is"),
    *((pool(podLabels={label: "x"}), f"default.podLabels: {label} is") for label in LABELS),
    *(({"operator": {"podLabels": {one: "x"}}}, f"operator.podLabels: {one} is") for one in LABELS),
    *(({"commonLabels": {label: "x"}}, f"commonLabels: {label} is a label") for label in LABELS),
    (
        {"storage": {"restrictUris": False, "allowedPrefixes": ["/raw"]}},
        "means nothing with storage.restrictUris=false",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("values", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_value_is_refused_with_its_place_and_the_reason(
    values: dict[str, Any], message: str
) -> None:
    said = refusal(values)
    assert message in said
    assert len(said.splitlines()) <= 12, said
    assert ".go:" not in said


def test_a_cluster_without_cloudnativepg_is_told_what_is_missing() -> None:
    said = run_helm("template", "x", str(CHART), "--set", "database.mode=cnpg").stderr
    assert "install the CloudNativePG operator first" in said


def test_a_cluster_that_is_too_old_is_refused() -> None:
    said = run_helm("template", "x", str(CHART), "--kube-version", "1.27.0").stderr
    assert "chart requires kubeVersion: >=1.28.0-0" in said


def test_every_value_is_described() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert [path for path, one in described(schema, schema, "") if not one.get("description")] == []


def described(
    root: Mapping[str, Any], one: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every value that has no values below it."""
    known = dict(one)
    if "$ref" in one:
        known = {**root["$defs"][one["$ref"].rpartition("/")[2]], **one}
    if "properties" not in known:
        yield path, known
    elif path.rpartition("/")[2] not in {"resources", "affinity"}:
        for name, inner in known["properties"].items():
            yield from described(root, inner, f"{path}/{name}")


def test_the_values_file_names_every_value_of_the_schema() -> None:
    """Who reads values.yaml has seen all there is."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert missing(schema, schema, values, "") == []


def missing(
    root: Mapping[str, Any], schema: Mapping[str, Any], values: Any, path: str
) -> list[str]:
    """Paths that the schema has and the values have not."""
    known = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    last = path.rpartition("/")[2]
    if "properties" not in known or last in {"settings", "resources", "affinity"}:
        return []
    found = []
    for name, inner in known["properties"].items():
        if name not in values:
            found.append(f"{path}/{name}")
        else:
            found += missing(root, inner, values[name], f"{path}/{name}")
    return found


def test_the_schema_knows_the_settings_that_the_programs_have() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    workers = set(schema["settings"]["properties"])
    operator = set(schema["operator"]["properties"]["settings"]["properties"])
    numbers = {
        camel(name)
        for name, field in Settings.__dataclass_fields__.items()
        if field.type in {"int", "float"}
    }
    # The chart sets these itself.
    own = {"waitWhenDrained", "graceSeconds", "taskMemoryMb", "modelsCacheGb"}
    assert workers == numbers - own
    assert operator == {
        camel(name)
        for name, field in OperatorSettings.__dataclass_fields__.items()
        if field.type == "float"
    }


def test_the_schema_knows_the_providers_that_there_are() -> None:
    """All but `auto`: the pods of a pool must agree, whatever node each of them is on."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    (found,) = {
        tuple(one["enum"])
        for path, one in described(schema, schema, "")
        if path.endswith("defaults/provider")
    }
    assert set(found) == {"", *PROVIDERS} - {"auto"}


def camel(name: str) -> str:
    """``lease_seconds`` as leaseSeconds."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def test_the_schema_knows_the_stages_that_there_are() -> None:
    for stage in (*STAGES, "default", "cpu", "gpu", ",".join(STAGES)):
        render({"workers": {"pools": {"default": {"stages": stage}}}})
