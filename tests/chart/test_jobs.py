"""Jobs of the chart: which come before an upgrade, and which are others than before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from support.chart import NAMES, Object, PodTemplate, of_kind, pods, render

EXTERNAL = {"database": {"mode": "external", "external": {"existingSecret": "mine"}}}
CLASSES = {"priorityClasses": {"create": True}}


def hooks(objects: list[Object]) -> list[Object]:
    """What Helm runs before it changes anything."""
    return [
        each
        for each in objects
        if (each["metadata"].get("annotations") or {}).get("helm.sh/hook") == "pre-upgrade"
    ]


def needs(pod: PodTemplate) -> Iterator[tuple[str, str]]:
    """Kind and name of what has to be there before a pod can start."""
    if "priorityClassName" in pod.spec:
        yield "PriorityClass", pod.spec["priorityClassName"]
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for volume in pod.spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers:
        for variable in container.get("env", ()):
            if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", secret["name"]


@pytest.mark.parametrize("values", [*NAMES, {**EXTERNAL, **CLASSES}], ids=str)
def test_what_comes_before_an_upgrade_needs_nothing_that_the_upgrade_brings(
    values: str | dict[str, Any],
) -> None:
    """It would wait in vain: what the release did not have before comes after all hooks."""
    objects = render(values, upgrade=True)
    first = hooks(objects)
    brought = {(each["kind"], each["metadata"]["name"]) for each in objects if each not in first}
    assert [need for pod in pods(first) for need in needs(pod) if need in brought] == []


def test_an_upgrade_migrates_before_all_else_with_the_class_that_is_named() -> None:
    named = {**EXTERNAL, **CLASSES, "operator": {"priorityClassName": "theirs"}}
    [pod] = pods(hooks(render(named, upgrade=True)))
    assert pod.component == "migrate"
    assert pod.spec["priorityClassName"] == "theirs"


SHARED = {"storage": {"mode": "pvc"}, "backup": {"enabled": True}}
OTHERS: tuple[Mapping[str, Any], ...] = (
    {"operator": {"nodeSelector": {"pool": "control"}}},
    {"operator": {"tolerations": [{"key": "control", "operator": "Exists"}]}},
    {"operator": {"priorityClassName": "theirs"}},
    {"imagePullSecrets": ["mirror"]},
    {"images": {"operator": {"pullPolicy": "Always", "tag": "other"}}},
    {"images": {"operator": {"pullPolicy": "Always"}}},
    {"security": {"runAsUser": 1000}},
    {"database": {"name": "mining"}},
    {"database": {"migration": {"waitSeconds": 60}}},
    {"database": {"migration": {"activeDeadlineSeconds": 60}}},
    {"nameOverride": "other", "fullnameOverride": "data-miner"},
)


def test_a_job_whose_pod_is_another_one_is_another_job() -> None:
    """The API server takes no change of a Job: an upgrade, or a sync of Argo CD, would fail."""
    specs: dict[str, list[Any]] = {}
    for values in (SHARED, *({**SHARED, **other} for other in OTHERS)):
        for job in of_kind(render(values), "Job"):
            known = specs.setdefault(job["metadata"]["name"], [])
            if job["spec"] not in known:
                known.append(job["spec"])
    assert {name: len(known) for name, known in specs.items()} == dict.fromkeys(specs, 1)
    assert {name.split("-")[2] for name in specs} == {"migrate", "storage", "backup"}
