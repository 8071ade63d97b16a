"""Every object is one that Kubernetes and the Prometheus operator know, field by field."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from support.chart import NAMES, render
from support.helm_tools import kubeconform, schemas


@pytest.mark.parametrize("name", NAMES)
def test_every_object_has_only_fields_that_its_kind_has(name: str) -> None:
    objects = [each for each in render(name) if each["kind"] != "Cluster"]
    checked = subprocess.run(
        [
            *(str(kubeconform()), "-strict", "-summary", "-schema-location"),
            f"{schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        ],
        input=yaml.safe_dump_all(objects), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(objects)} resources found" in checked.stdout
    assert "Skipped: 0" in checked.stdout


def test_a_field_that_does_not_exist_is_seen() -> None:
    """The schemas are strict: the check above can fail."""
    wrong = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"portz": [{"port": 1}]},
    }
    checked = subprocess.run(
        [
            *(str(kubeconform()), "-strict", "-schema-location"),
            f"{schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        ],
        input=yaml.safe_dump(wrong), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 1
    assert "portz" in checked.stdout
