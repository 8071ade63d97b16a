"""Pools as the operator and the workers read them."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from data_miner.pipeline import NAMES as STAGES
from data_miner.settings import Settings
from data_miner_operator.scaling.annotations import POOL_LABEL, Autoscaler, parse
from data_miner_worker.command import served_stages
from data_miner_worker.scratch import base_folder
from support.chart import NAMES, Object, PodTemplate, environment, of_kind, one, pods, render


def deployments(objects: list[Object]) -> dict[str, Object]:
    """The Deployments of pools by the pool's name."""
    return {
        each["metadata"]["labels"][POOL_LABEL]: each
        for each in of_kind(objects, "Deployment")
        if POOL_LABEL in each["metadata"]["labels"]
    }


def pool_pods(objects: list[Object]) -> dict[str, PodTemplate]:
    """The pods of pools by the pool's name."""
    return {pod.labels[POOL_LABEL]: pod for pod in pods(objects) if POOL_LABEL in pod.labels}


def arguments(pod: PodTemplate) -> dict[str, str]:
    """What a worker is told on its command line."""
    first, *rest = pod.spec["containers"][0]["args"]
    assert first == "worker"
    return dict(each.removeprefix("--").split("=", 1) for each in rest)


def test_without_values_one_pool_serves_every_stage_on_any_node() -> None:
    [(name, pod)] = pool_pods(render()).items()
    given = arguments(pod)
    assert served_stages(given["pool"], given["stages"]) == STAGES
    assert name == given["pool"] == "default"
    assert not {"nodeSelector", "tolerations", "affinity", "runtimeClassName"} & pod.spec.keys()


@pytest.mark.parametrize("name", NAMES)
def test_no_pool_says_how_many_replicas_it_has(name: str) -> None:
    """The operator does; an upgrade must not take them away."""
    for deployment in deployments(render(name)).values():
        assert "replicas" not in deployment["spec"]


@pytest.mark.parametrize("name", NAMES)
def test_the_operator_and_the_workers_read_the_same_of_a_pool(name: str) -> None:
    objects = render(name)
    for pool, deployment in deployments(objects).items():
        spec = parse(pool, deployment["metadata"]["annotations"])
        given = arguments(pool_pods(objects)[pool])
        assert spec.problems == ()
        assert spec.autoscaler is Autoscaler.OPERATOR
        assert given["pool"] == pool
        assert spec.stages == served_stages(pool, given["stages"])
        assert spec.slots == int(given["slots"])


def test_every_annotation_of_scaling_can_be_set() -> None:
    scaling = {
        "minReplicas": 1, "maxReplicas": 9, "warmReplicas": 2, "targetDrainSeconds": 60,
        "scaleDownStabilizationSeconds": 0, "stepSeconds": 5, "idleSeconds": 0,
        "drainTimeoutSeconds": 0, "unschedulableSeconds": 0, "autoscaler": "keda",
    }  # fmt: skip
    objects = render({"workers": {"pools": {"default": {"slots": 3, "scaling": scaling}}}})
    spec = parse("default", deployments(objects)["default"]["metadata"]["annotations"])
    assert (spec.slots, spec.min_replicas, spec.max_replicas, spec.warm_replicas) == (3, 1, 9, 2)
    assert (spec.target_drain_seconds, spec.stabilization_seconds, spec.step_seconds) == (60, 0, 5)
    assert (spec.idle_seconds, spec.drain_timeout_seconds, spec.unschedulable_seconds) == (0, 0, 0)
    assert spec.autoscaler is Autoscaler.KEDA


def test_a_pool_takes_from_the_defaults_what_it_does_not_say() -> None:
    """Also inside of a block, and what it says counts even if it is 0 or false."""
    objects = render(
        {
            "workers": {
                "defaults": {"scaling": {"minReplicas": 2, "maxReplicas": 5}, "spot": True},
                "pools": {"default": {"scaling": {"minReplicas": 0}, "spot": False}, "more": {}},
            }
        }
    )
    specs = {
        name: parse(name, each["metadata"]["annotations"])
        for name, each in deployments(objects).items()
    }
    assert {name: (s.min_replicas, s.max_replicas) for name, s in specs.items()} == {
        "default": (0, 5),
        "more": (2, 5),
    }
    found = pool_pods(objects)
    assert "tolerations" not in found["default"].spec
    assert "tolerations" in found["more"].spec


@pytest.mark.parametrize("gone", [None, {"enabled": False}])
def test_the_default_pool_can_be_left_out(gone: dict[str, Any] | None) -> None:
    objects = render({"workers": {"pools": {"default": gone, "gpu": {"gpu": {"count": 1}}}}})
    assert set(deployments(objects)) == {"gpu"}


def test_a_pool_with_a_gpu_runs_the_gpu_image_and_asks_for_its_resource() -> None:
    found = pool_pods(render("gpu"))
    gpu, piece = found["gpu"].spec["containers"][0], found["slice"].spec["containers"][0]
    assert gpu["image"].startswith("data-miner-worker-gpu:")
    assert environment(gpu)["DATA_MINER_PROVIDER"] == "cuda"
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert piece["resources"]["limits"]["nvidia.com/mig-1g.5gb"] == "1"
    assert "nvidia.com/gpu" not in piece["resources"]["limits"]
    for name in ("gpu", "slice"):
        keys = [each["key"] for each in found[name].spec["tolerations"]]
        assert "nvidia.com/gpu" in keys
    assert found["gpu"].spec["runtimeClassName"] == "nvidia"


@pytest.mark.parametrize(("provider", "gpus"), [("tensorrt", 1), ("openvino", 0)])
def test_a_pool_may_say_where_its_models_run(provider: str, gpus: int) -> None:
    pool = {"provider": provider, "gpu": {"count": gpus}}
    found = pool_pods(render({"workers": {"pools": {"own": pool}}}))["own"]
    assert environment(found.spec["containers"][0])["DATA_MINER_PROVIDER"] == provider


def test_an_update_asks_for_no_gpu_that_the_pool_does_not_have() -> None:
    for deployment in deployments(render("gpu")).values():
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_a_pod_is_stopped_later_than_its_worker_gives_up() -> None:
    for name in NAMES:
        for pod in pool_pods(render(name)).values():
            grace = int(environment(pod.spec["containers"][0])["DATA_MINER_GRACE_SECONDS"])
            assert pod.spec["terminationGracePeriodSeconds"] >= grace + 30


def test_a_task_is_killed_before_its_container_is() -> None:
    """The task is retried elsewhere with a reason; a container out of memory takes all of them."""
    for pod in pool_pods(render()).values():
        container = pod.spec["containers"][0]
        assert container["resources"]["limits"]["memory"] == "4Gi"
        assert int(environment(container)["DATA_MINER_TASK_MEMORY_MB"]) < 4096


def test_values_of_the_operator_restart_no_worker() -> None:
    """The pod templates of pools are the same whatever the operator is told."""
    changed = {
        "operator": {
            "replicas": 3, "settings": {"workers": 4}, "podAnnotations": {"a": "b"},
            "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
            "extraEnv": [{"name": "X", "value": "1"}], "namespaces": ["mining"],
        },
        "images": {"operator": {"tag": "other"}},
        "commonLabels": {"team": "vision"},
        "backup": {"enabled": True},
        "networkPolicy": {"enabled": False},
        "monitoring": {"podMonitor": {"enabled": True}},
        "database": {"embedded": {"maxConnections": 300}},
        "crds": {"enabled": False},
    }  # fmt: skip
    before, after = pool_pods(render()), pool_pods(render(changed))
    assert {k: json.dumps(v.spec) for k, v in before.items()} == {
        k: json.dumps(v.spec) for k, v in after.items()
    }
    assert {k: v.labels for k, v in before.items()} == {k: v.labels for k, v in after.items()}


def test_another_version_of_the_chart_alone_restarts_nothing() -> None:
    """No pod carries the version of the chart, and no selector can ever change."""
    for name in NAMES:
        for pod in pods(render(name)):
            if not pod.owner.startswith("Pod/"):
                assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod.labels.keys()


def test_with_a_volume_of_one_node_all_workers_are_on_that_node() -> None:
    [pod] = pool_pods(render("namespaced")).values()
    [term] = pod.spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    labels = term["labelSelector"]["matchLabels"]
    assert labels.items() <= pod.labels.items()
    assert labels["app.kubernetes.io/component"] == "worker"


@pytest.mark.parametrize("mode", ["embedded", "pvc"])
@pytest.mark.parametrize("storage_class", ["", "fast"])
def test_what_a_worker_has_in_hand_lies_in_a_bounded_volume_of_its_own(
    mode: str, storage_class: str, tmp_path: Path
) -> None:
    """Also where the store is a shared volume, which nobody could protect from it."""
    scratch = {"sizeLimit": "7Gi", "storageClass": storage_class}
    values = {"storage": {"mode": mode}, "workers": {"pools": {"default": {"scratch": scratch}}}}
    [pod] = pool_pods(render(values)).values()
    container = pod.spec["containers"][0]
    home = PurePosixPath(environment(container)["DATA_MINER_HOME"])
    mounts = {PurePosixPath(m["mountPath"]): m["name"] for m in container["volumeMounts"]}
    folder = home / base_folder(Settings(home=tmp_path)).relative_to(tmp_path)
    inner = max((m for m in mounts if folder.is_relative_to(m)), key=lambda m: len(m.parts))
    [volume] = [each for each in pod.spec["volumes"] if each["name"] == mounts[inner]]
    if storage_class:
        claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
        assert claim["resources"]["requests"]["storage"] == "7Gi"
    else:
        assert volume["emptyDir"] == {"sizeLimit": "7Gi"}


def test_a_worker_waits_for_the_schema_instead_of_failing() -> None:
    for name in NAMES:
        for pod in pool_pods(render(name)).values():
            waiting = pod.spec["initContainers"][0]
            assert waiting["args"] == ["db", "wait"]
            assert "DATA_MINER_DATABASE_URL" in environment(waiting)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_pod_is_one_that_the_program_reads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that nobody reads are mistakes in their names."""
    known = {f"DATA_MINER_{field.upper()}" for field in Settings.__dataclass_fields__}
    for pod in pods(render(name)):
        for container in pod.containers:
            for variable, value in environment({"env": [], **container}).items():
                if variable.startswith("DATA_MINER_") and "OPERATOR" not in variable:
                    assert variable in known, f"{pod.owner}: {variable}"
                    if isinstance(value, str):
                        monkeypatch.setenv(variable, value)
    Settings.from_environment()


def test_datasets_and_videos_of_the_installation_are_all_that_a_project_may_name() -> None:
    objects = render("external")
    for pod in pods(objects):
        if pod.component in {"operator", "worker"}:
            allowed = environment(pod.spec["containers"][0])["DATA_MINER_ALLOWED_PREFIXES"].split()
            assert allowed == [
                *("s3://mining/prod/datasets", "s3://mining/prod/videos"),
                *("/opt/data-miner/examples", "s3://raw-video/"),
            ]


def test_no_prefixes_allow_everything_only_when_that_is_said() -> None:
    open_ = render({"storage": {"restrictUris": False}})
    worker = pool_pods(open_)["default"].spec["containers"][0]
    assert "DATA_MINER_ALLOWED_PREFIXES" not in environment(worker)


def test_operator_and_workers_agree_on_database_storage_and_limits() -> None:
    for name in NAMES:
        objects = render(name)
        [operator] = [p for p in pods(objects) if p.component == "operator"]
        theirs = environment(operator.spec["containers"][0])
        for pod in pool_pods(objects).values():
            own = environment(pod.spec["containers"][0])
            for variable in (
                "DATA_MINER_DATABASE_URL", "DATA_MINER_STORAGE_URI", "DATA_MINER_DATASETS_URI",
                "DATA_MINER_ALLOWED_PREFIXES", "DATA_MINER_HOME", "DATA_MINER_LEASE_SECONDS",
            ):  # fmt: skip
                assert own.get(variable) == theirs.get(variable), f"{name}: {variable}"


def test_a_service_is_there_for_every_host_that_pods_are_told() -> None:
    objects = render()
    worker = environment(pool_pods(objects)["default"].spec["containers"][0])
    one(objects, "Service", "data-miner-database")
    store = one(objects, "Service", "data-miner-store")
    assert worker["DATA_MINER_DATABASE_URL"] == "postgresql://data-miner-database:5432/data_miner"
    assert worker["AWS_ENDPOINT_URL_S3"] == "http://data-miner-store:7070"
    assert store["spec"]["ports"][0]["port"] == 7070
