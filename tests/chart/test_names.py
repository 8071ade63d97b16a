"""Names that YAML would take for something else: whoever chose them gets them, as text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data_miner_operator.credentials import parse
from support.chart import Object, one, render


def named(name: str, word: str) -> tuple[dict[str, Any], ...]:
    """Ways to install in which everything that a person may name is called this.

    `word` is for what has to begin with a letter.
    """
    place = {"priorityClassName": name, "nodeSelector": {"pool": name}}
    common = {
        "nameOverride": name, "fullnameOverride": name, "imagePullSecrets": [name],
        "serviceAccounts": {"operator": {"name": name}, "worker": {"name": name}},
        "operator": {**place, "namespaces": [name], "podLabels": {"team": name}},
        "credentials": [{"name": name, "secretName": name, "namespaces": [name]}],
        "workers": {
            "defaults": {
                **place, "runtimeClassName": name, "scratch": {"storageClass": name},
                "podLabels": {"team": name}, "extraEnv": [{"name": "X", "value": name}],
            },
            "pools": {"default": None, word: {}},
        },
    }  # fmt: skip
    return (
        {
            **common,
            "database": {
                "name": word,
                "embedded": {**place, "existingSecret": name, "passwordKey": name,
                             "storageClass": name},
            },
            "storage": {"embedded": {**place, "existingSecret": name, "storageClass": name}},
            "models": {"source": "claim", "claim": {"existingClaim": name, "subPath": name}},
            "backup": {"enabled": True, "existingClaim": name},
        },
        {
            **common,
            "database": {
                "mode": "external",
                "external": {"existingSecret": name, "urlKey": name, "listenUrlKey": name},
            },
            "storage": {"mode": "pvc", "pvc": {"existingClaim": name}},
            "models": {"source": "image", "image": {"reference": name, "subPath": name}},
        },
        {
            **common,
            "database": {
                "mode": "external",
                "external": {"existingSecret": name, "host": "db", "userKey": name,
                             "passwordKey": name},
            },
            "storage": {"mode": "pvc", "pvc": {"storageClass": name}},
        },
        {
            **common,
            "database": {
                "mode": "cnpg",
                "name": word,
                "cnpg": {"clusterName": word, "storageClass": name, "imageName": name},
            },
            "storage": {
                "mode": "s3",
                "s3": {"uri": "s3://raw", "existingSecret": name, "region": name},
            },
            "backup": {"enabled": False},
        },
    )  # fmt: skip


PLAIN = ("qqq", "www")
ODD = (("123", "on"), ("null", "null"), ("0x1f", "true"), ("2001-01-01", "off"))


def rendered(number: int, name: str, word: str) -> list[Object]:
    """What is made of one of them, in a release and a namespace of that name."""
    objects = []
    for each in render(named(name, word)[number], release=name, namespace=name):
        if each["kind"] == "Job":  # called by a hash of what is in it
            each["metadata"]["name"] = "job"
        if each["kind"] == "Secret":  # made by chance
            del each["data"]
        if each["kind"] != "CustomResourceDefinition":
            objects.append(each)
    return objects


def renamed(thing: Any, name: str, word: str) -> Any:
    """The same with these for the plain names, as text."""
    if isinstance(thing, dict):
        return {renamed(key, name, word): renamed(one, name, word) for key, one in thing.items()}
    if isinstance(thing, list):
        return [renamed(each, name, word) for each in thing]
    if isinstance(thing, str):
        return thing.replace(PLAIN[0], name).replace(PLAIN[1], word)
    return thing


def ordered(objects: list[Object]) -> list[str]:
    """To be compared: Helm orders them by their names."""
    return sorted(json.dumps(each, sort_keys=True, default=repr) for each in objects)


@pytest.mark.parametrize("number", range(len(named(*PLAIN))))
@pytest.mark.parametrize(("name", "word"), ODD)
def test_a_name_that_yaml_takes_for_something_else_is_a_name(
    name: str, word: str, number: int
) -> None:
    plain = [renamed(each, name, word) for each in rendered(number, *PLAIN)]
    assert ordered(rendered(number, name, word)) == ordered(plain)


@pytest.mark.parametrize("name", ["on", "no", "null", "123", "0x1f"])
def test_the_operator_reads_a_credential_by_the_name_that_was_given(name: str) -> None:
    values = {"credentials": [{"name": name, "secretName": name, "namespaces": [name]}]}
    file = one(render(values), "ConfigMap", "data-miner-credentials")["data"]["names.yaml"]
    assert parse(file, "names.yaml") == {name: {name}}
