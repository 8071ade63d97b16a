"""Where models are: who reads them from where, with whose keys, and the Job that makes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from support.chart import PodTemplate, environment, one, pods, render

BUCKET = {"mode": "s3", "s3": {"uri": "s3://mining/prod", "existingSecret": "mining-bucket"}}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def parts(values: Mapping[str, Any] | str) -> dict[str, PodTemplate]:
    """Operator, worker, and the Job that makes a model if there is one."""
    found = {pod.component: pod for pod in pods(render(values))}
    return {name: found[name] for name in ("operator", "worker", "model") if name in found}


def variables(pod: PodTemplate) -> dict[str, Any]:
    """Of its first container that is no init container."""
    return environment(pod.spec["containers"][0])


def secrets(pod: PodTemplate) -> set[str]:
    """Secrets that its keys for a bucket come from."""
    env = variables(pod)
    return {env[name]["secretKeyRef"]["name"] for name in KEYS if name in env}


def option(pod: PodTemplate, name: str) -> list[str]:
    """Values that the container's command is given for an option."""
    prefix = f"--{name}="
    arguments = pod.spec["containers"][0]["args"]
    return [each.removeprefix(prefix) for each in arguments if each.startswith(prefix)]


def mounts(pod: PodTemplate) -> dict[str, Mapping[str, Any]]:
    """Of its first container, by the volume's name."""
    return {each["name"]: each for each in pod.spec["containers"][0]["volumeMounts"]}


def volume(pod: PodTemplate, name: str) -> Mapping[str, Any]:
    """The volume of this name."""
    [found] = [each for each in pod.spec["volumes"] if each["name"] == name]
    return dict(found)


def test_without_values_nobody_pulls_and_the_operator_has_no_key_of_the_bucket() -> None:
    found = parts("default")
    assert "model" not in found
    assert secrets(found["operator"]) == set()
    for pod in found.values():
        assert not [name for name in variables(pod) if name.startswith("DATA_MINER_MODELS")]


def test_a_model_is_published_where_operator_and_workers_look_for_it() -> None:
    """Beside the artifacts, with the account that the installation has; an own place is theirs."""
    for values, uri in (
        ({}, "s3://data-miner/models"),
        ({"storage": BUCKET}, "s3://mining/prod/models"),
        ({"storage": BUCKET, "uri": "s3://weights/onnx"}, "s3://weights/onnx"),
        ({"storage": {"mode": "pvc"}, "uri": "s3://weights"}, "s3://weights"),
    ):
        store = {"uri": values.get("uri", "")}
        models = {"source": "store", "store": store, "export": {"enabled": True}}
        found = parts({"storage": values.get("storage", {}), "models": models})
        assert option(found["model"], "out") == [uri]
        for name in ("operator", "worker"):
            assert variables(found[name])["DATA_MINER_MODELS_URI"] == uri
            assert "DATA_MINER_MODELS_DIRS" not in variables(found[name])


@pytest.mark.parametrize(
    ("storage", "secret", "expected"),
    [
        ({}, "", ({"data-miner-store"}, {"data-miner-store"})),
        (BUCKET, "", ({"mining-bucket"}, {"mining-bucket"})),
        (BUCKET, "weights", ({"mining-bucket"}, {"weights"})),
        ({"mode": "pvc"}, "weights", ({"weights"}, {"weights"})),
        # The cloud gives the right to their accounts.
        ({"mode": "pvc"}, "", (set(), set())),
    ],
)
def test_a_worker_has_the_account_of_its_storage_and_others_that_of_the_models(
    storage: dict[str, Any], secret: str, expected: tuple[set[str], set[str]]
) -> None:
    """One process can have one account; who writes models need not be who may read artifacts."""
    store = {"existingSecret": secret, "uri": "s3://weights" if storage.get("mode") else ""}
    models = {"source": "store", "store": store, "export": {"enabled": True}}
    found = parts({"storage": storage, "models": models})
    workers, others = expected
    assert secrets(found["worker"]) == workers
    assert secrets(found["operator"]) == secrets(found["model"]) == others


def test_all_speak_to_the_server_that_has_the_models() -> None:
    own = {"endpoint": "http://minio:9000", "region": "eu-west-1", "uri": "s3://weights"}
    models = {"source": "store", "store": own, "export": {"enabled": True}}
    for pod in parts({"storage": {"mode": "pvc"}, "models": models}).values():
        assert variables(pod)["AWS_ENDPOINT_URL_S3"] == "http://minio:9000"
        assert variables(pod)["AWS_DEFAULT_REGION"] == "eu-west-1"
    models = {"source": "store", "export": {"enabled": True}}
    for pod in parts({"models": models}).values():
        assert variables(pod)["AWS_ENDPOINT_URL_S3"] == "http://data-miner-store:7070"


@pytest.mark.parametrize(
    ("limit", "gigabytes"),
    [("20Gi", 19.327), ("500M", 0.45), (5368709120, 4.832), ("1.5Ti", 1484.341)],
)
def test_what_is_pulled_stays_below_the_limit_of_its_volume(
    limit: str | int, gigabytes: float
) -> None:
    """A worker that went over it would be evicted."""
    values = {"models": {"source": "store", "cache": {"sizeLimit": limit}}}
    worker = parts(values)["worker"]
    env = variables(worker)
    assert float(env["DATA_MINER_MODELS_CACHE_GB"]) == gigabytes
    assert mounts(worker)["model-cache"]["mountPath"] == env["DATA_MINER_MODELS_CACHE_DIR"]
    assert volume(worker, "model-cache")["emptyDir"] == {"sizeLimit": limit}


def test_the_cache_can_be_a_volume_that_workers_share() -> None:
    shared = {"hostPath": {"path": "/mnt/models", "type": "Directory"}}
    worker = parts({"models": {"source": "store", "cache": {"volume": shared}}})["worker"]
    assert volume(worker, "model-cache") == {"name": "model-cache", **shared}


def test_a_slow_volume_is_pulled_from_as_a_store_is() -> None:
    """By the workers' own cache; what is mounted is only read."""
    found = parts("external")
    for name in ("operator", "worker"):
        assert variables(found[name])["DATA_MINER_MODELS_URI"] == "file:///models"
        assert mounts(found[name])["models"]["readOnly"] is True
    assert "DATA_MINER_MODELS_CACHE_GB" in variables(found["worker"])
    assert "model-cache" not in mounts(found["operator"])


def test_a_volume_is_written_by_the_job_alone_in_the_folder_that_is_read() -> None:
    claim = {"existingClaim": "models", "subPath": "onnx"}
    models = {"source": "claim", "claim": claim, "export": {"enabled": True}}
    found = parts({"models": models})
    assert (
        option(found["model"], "out")
        == ["/models"]
        == [mounts(found["model"])["models"]["mountPath"]]
    )
    for name, pod in found.items():
        writes = name == "model"
        assert mounts(pod)["models"]["subPath"] == "onnx"
        assert bool(mounts(pod)["models"].get("readOnly")) is not writes
        # Who is first makes the folder, which no volume allows that is read alone.
        assert not volume(pod, "models")["persistentVolumeClaim"].get("readOnly")
    assert secrets(found["model"]) == set()
    found = parts({"models": {"source": "claim", "claim": claim}})
    assert "model" not in found
    for pod in found.values():
        assert volume(pod, "models")["persistentVolumeClaim"]["readOnly"]


def test_the_jobs_name_of_the_model_is_the_operators_and_not_an_option() -> None:
    """What follows it on the command line are options with their values in one word."""
    arguments = parts("store")["model"].spec["containers"][0]["args"]
    assert arguments[:3] == ["models", "export", "$(DATA_MINER_MODEL)"]
    assert all(each.startswith("--") and "=" in each for each in arguments[3:])
    assert "DATA_MINER_MODEL" not in variables(parts("store")["model"])


def test_a_token_of_the_hub_is_referred_to_and_licences_are_named() -> None:
    models = {
        "source": "store",
        "export": {
            "enabled": True,
            "tokenSecret": "hub",
            "tokenKey": "hf",
            "acceptLicences": ["dinov3-license", "other terms"],
        },
    }
    job = parts({"models": models})["model"]
    reference = {"secretKeyRef": {"name": "hub", "key": "hf"}}
    assert variables(job)["HF_TOKEN"] == reference
    assert option(job, "accept-licence") == ["dinov3-license", "other terms"]
    assert "HF_TOKEN" not in variables(parts("backup")["model"])


def test_everything_that_is_begun_lies_on_the_volume_that_is_for_it() -> None:
    """A claim keeps it from one Job to the next."""
    for values, source in (
        ("backup", {"emptyDir": {"sizeLimit": "30Gi"}}),
        ("store", {"persistentVolumeClaim": {"claimName": "model-work"}}),
    ):
        job = parts(values)["model"]
        where = mounts(job)["scratch"]["mountPath"]
        assert option(job, "work") == [where]
        assert variables(job)["HF_HOME"].startswith(f"{where}/")
        assert volume(job, "scratch") == {"name": "scratch", **source}


def test_the_last_words_of_a_failed_pod_stay_until_the_job_is_gone() -> None:
    """The operator reads them; and what a person must mend is not tried at once again."""
    spec = one(render("store"), "CronJob", "data-miner-model")["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    assert spec["suspend"] is True
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
    rules = {rule["action"]: rule for rule in job["podFailurePolicy"]["rules"]}
    assert rules["FailJob"]["onExitCodes"]["values"] == [2, 5, 6]
    assert rules["Ignore"]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert job["ttlSecondsAfterFinished"] == 1800
