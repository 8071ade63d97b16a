"""What every pod of every way to install keeps to: Pod Security "restricted", and our own rules."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from typer.testing import CliRunner

from data_miner import __version__
from data_miner.cli.main import app
from support.chart import NAMES, PodTemplate, environment, of_kind, one, pods, refusal, render
from support.pod_security import problems

SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY")


def all_pods() -> list[PodTemplate]:
    """The pods of every case."""
    return [pod for name in NAMES for pod in pods(render(name))]


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_passes_pod_security_restricted(name: str) -> None:
    found = pods(render(name))
    assert {pod.owner: problems(pod.spec) for pod in found} == {pod.owner: [] for pod in found}


def test_a_pod_that_breaks_a_rule_of_pod_security_is_seen() -> None:
    """The judge above can say no: each rule, broken once."""
    [operator] = [pod for pod in pods(render()) if pod.component == "operator"]
    broken = json.loads(json.dumps(operator.spec))
    broken["hostNetwork"] = True
    broken["securityContext"]["seccompProfile"] = {"type": "Unconfined"}
    broken["securityContext"]["runAsUser"] = 0
    broken["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    container = broken["containers"][0]
    container["securityContext"] = {"capabilities": {"add": ["SYS_ADMIN"]}, "privileged": True}
    container["ports"][0]["hostPort"] = 80
    assert len(problems(broken)) == 10


def test_every_root_file_system_is_read_only() -> None:
    assert all(
        container["securityContext"]["readOnlyRootFilesystem"] is True
        for pod in all_pods()
        for container in pod.containers
    )


def test_every_container_asks_for_cpu_and_memory_and_has_a_limit_of_memory() -> None:
    for pod in all_pods():
        for container in pod.containers:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), pod.owner
            assert "memory" in resources["limits"], pod.owner
            assert "cpu" not in resources["limits"], f"{pod.owner} would be throttled"


def test_only_the_operator_and_the_test_have_a_token_of_the_api() -> None:
    with_token = {
        pod.component for pod in all_pods() if pod.spec["automountServiceAccountToken"] is not False
    }
    assert with_token == {"operator", "test"}


def test_accounts_mount_no_token_by_themselves() -> None:
    accounts = [each for name in NAMES for each in of_kind(render(name), "ServiceAccount")]
    assert all(each["automountServiceAccountToken"] is False for each in accounts)


def test_no_pod_is_told_of_the_services_around_it() -> None:
    """DATA_MINER_DATABASE_PORT and the like of a Service would be read as settings."""
    assert all(pod.spec["enableServiceLinks"] is False for pod in all_pods())


def test_every_volume_that_is_mounted_is_there_and_none_is_there_for_nothing() -> None:
    for name in NAMES:
        objects = render(name)
        for pod in pods(objects):
            have = {volume["name"] for volume in pod.spec.get("volumes", ())}
            mounted = {
                mount["name"] for each in pod.containers for mount in each.get("volumeMounts", ())
            }
            assert mounted == have, f"{name}: {pod.owner}"


def test_no_way_to_install_has_a_volume_that_the_chart_does_not_keep_for_itself() -> None:
    """What `extraVolumes` may be called depends on all of these names."""
    for pod in all_pods():
        if pod.component == "worker":
            for volume in pod.spec["volumes"]:
                name = volume["name"]
                extra = {"extraVolumes": [{"name": name, "emptyDir": {}}]}
                said = refusal({"workers": {"pools": {"default": extra}}})
                assert f"{name} is a volume of the chart" in said


def test_volumes_in_memory_or_on_the_nodes_disk_are_bounded() -> None:
    for pod in all_pods():
        for volume in pod.spec.get("volumes", ()):
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"], f"{pod.owner}: {volume['name']}"


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_value_is_anywhere_but_in_secrets(name: str) -> None:
    """Passwords that the chart makes are in no other object, and variables refer to Secrets."""
    objects = render(name)
    made = [
        value
        for secret in of_kind(objects, "Secret")
        for value in (secret.get("data") or {}).values()
    ]
    others = json.dumps([each for each in objects if each["kind"] != "Secret"])
    assert not [value for value in made if value in others]
    for pod in pods(objects):
        for container in pod.containers:
            for variable, value in environment({"env": [], **container}).items():
                if SECRET_NAMES.search(variable) and not variable.endswith("_FILE"):
                    assert "secretKeyRef" in value, f"{pod.owner}: {variable}"


def test_no_url_of_a_database_holds_a_password() -> None:
    for pod in all_pods():
        for container in pod.containers:
            url = environment({"env": [], **container}).get("DATA_MINER_DATABASE_URL", "")
            assert isinstance(url, dict) or "@" not in url, pod.owner


def test_one_value_moves_every_image_to_another_registry() -> None:
    for pod in pods(render("external")):
        for container in pod.containers:
            assert container["image"].startswith("registry.example.com/mirror/"), pod.owner
        assert pod.spec["imagePullSecrets"] == [{"name": "mirror"}]


POOL_IMAGES: tuple[tuple[dict[str, str], dict[str, str], str], ...] = (
    ({}, {}, f"data-miner-worker:{__version__}"),
    ({}, {"tag": "9"}, "data-miner-worker:9"),
    (
        {},
        {"registry": "own.example.com:5000"},
        f"own.example.com:5000/data-miner-worker:{__version__}",
    ),
    (
        {},
        {"registry": "own.example.com/a", "repository": "b/c"},
        f"own.example.com/a/b/c:{__version__}",
    ),
    ({"imageRegistry": "m.example.com"}, {"repository": "b/c"}, f"m.example.com/b/c:{__version__}"),
    (
        {"imageRegistry": "m.example.com"},
        {"registry": "own.example.com", "repository": "b/c", "tag": "1"},
        "m.example.com/b/c:1",
    ),
)


@pytest.mark.parametrize(("everywhere", "image", "expected"), POOL_IMAGES)
def test_a_pool_has_an_image_of_its_own_whose_registry_can_be_replaced_too(
    everywhere: dict[str, str], image: dict[str, str], expected: str
) -> None:
    objects = render({"global": everywhere, "workers": {"pools": {"default": {"image": image}}}})
    [worker] = [pod for pod in pods(objects) if pod.component == "worker"]
    assert {each["image"] for each in worker.containers} == {expected}


def test_a_digest_counts_before_the_tag() -> None:
    [operator] = [pod for pod in pods(render("external")) if pod.component == "operator"]
    digest = "0" * 63 + "1"
    assert operator.spec["containers"][0]["image"] == (
        f"registry.example.com/mirror/data-miner-operator@sha256:{digest}"
    )


def test_no_image_is_called_latest() -> None:
    images = {each["image"] for pod in all_pods() for each in pod.containers}
    assert not [image for image in images if image.endswith(":latest") or ":" not in image]


def test_every_command_of_a_pod_is_one_that_the_program_has() -> None:
    """With all its options: a name that is not there would end each pod with a page of help."""
    run = {
        tuple(container["args"])
        for pod in all_pods()
        for container in pod.containers
        if "/data-miner-" in f"/{container['image']}" and "command" not in container
    }
    assert {arguments[0] for arguments in run} == {"db", "models", "operator", "worker"}
    for arguments in sorted(run):
        said = CliRunner().invoke(app, [*arguments, "--help"])
        assert said.exit_code == 0, said.output
    assert CliRunner().invoke(app, ["worker", "--pol=default", "--help"]).exit_code


def test_probes_ask_only_what_the_process_itself_can_answer() -> None:
    """Liveness that asked the database would restart the fleet when that is away."""
    for pod in all_pods():
        if pod.component not in {"operator", "worker", "store"}:
            continue
        [container] = pod.spec["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = container[probe]["httpGet"]["path"]
            assert path in {"/startupz", "/readyz", "/livez", "/healthz", "/health"}, pod.owner


def test_disruption_budgets_never_block_a_drain() -> None:
    """Not even of one pod that is not healthy, nor of workers whose successors find no room."""
    for name in NAMES:
        for budget in of_kind(render(name), "PodDisruptionBudget"):
            spec = budget["spec"]
            assert "minAvailable" not in spec
            assert spec["maxUnavailable"] == (
                "100%" if "-worker-" in budget["metadata"]["name"] else 1
            )
            assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_credential_is_a_folder_of_files_in_the_pools_that_may_have_it() -> None:
    values = {
        "workers": {"pools": {"default": {}, "gpu": {"gpu": {"count": 1}}}},
        "credentials": [
            {"name": "cookies", "secretName": "site", "namespaces": ["doors"], "pools": ["default"]}
        ],
    }
    objects = render(values)
    mounts = {
        pod.labels["data-miner.io/pool"]: {
            mount["mountPath"] for mount in pod.spec["containers"][0]["volumeMounts"]
        }
        for pod in pods(objects)
        if pod.component == "worker"
    }
    assert "/etc/data-miner/credentials/cookies" in mounts["default"]
    assert "/etc/data-miner/credentials/cookies" not in mounts["gpu"]
    names = one(objects, "ConfigMap", "data-miner-credentials")["data"]["names.yaml"]
    assert yaml.safe_load(names) == {"cookies": ["doors"]}
