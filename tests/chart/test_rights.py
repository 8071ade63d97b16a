"""The rights that the chart gives are those of the operator's table, and nobody else has any."""

from __future__ import annotations

from typing import Any

import pytest

from data_miner_operator import rbac
from support.chart import NAMES, Object, of_kind, pods, render

KINDS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
OPERATOR = "data-miner-operator"


def granted(objects: list[Object]) -> dict[tuple[str, str, str], Any]:
    """Who may do what, by kind, namespace and name; the order of rules means nothing."""
    found = {}
    for each in objects:
        if each["kind"] not in KINDS:
            continue
        meta = each["metadata"]
        content = (
            sorted((sorted(rule.items()) for rule in each["rules"]), key=repr)
            if "rules" in each
            else (each["roleRef"], each["subjects"])
        )
        found[each["kind"], meta.get("namespace", ""), meta["name"]] = content
    return found


def of_the_operator(objects: list[Object]) -> dict[tuple[str, str, str], Any]:
    """Those of them that are the operator's."""
    return {key: what for key, what in granted(objects).items() if key[2].startswith(OPERATOR)}


@pytest.mark.parametrize("served", [(), ("doors", "shelves"), ("mining", "doors"), ("mining",)])
def test_the_operator_may_do_what_its_table_says_and_nothing_else(served: tuple[str, ...]) -> None:
    objects = render({"operator": {"namespaces": list(served)}})
    assert of_the_operator(objects) == granted(rbac.render("mining", served, OPERATOR))


def test_with_named_namespaces_nothing_of_the_cluster_is_asked_for() -> None:
    """Whoever may only act in namespaces can install that."""
    objects = render("namespaced")
    kinds = {each["kind"] for each in objects}
    assert not kinds & {
        "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass",
    }  # fmt: skip
    assert {each["metadata"]["namespace"] for each in of_kind(objects, "Role")} == {
        "mining", "doors", "shelves",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_has_a_wildcard(name: str) -> None:
    for role in [*of_kind(render(name), "Role"), *of_kind(render(name), "ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_operator_and_the_test_are_given_rights(name: str) -> None:
    objects = render(name)
    subjects = {
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(objects, kind)
        for subject in binding["subjects"]
    }
    assert subjects <= {OPERATOR, "data-miner-test"}


def test_the_account_that_has_the_rights_is_the_one_that_the_operator_runs_as() -> None:
    for values in ({}, {"serviceAccounts": {"operator": {"create": False, "name": "mine"}}}):
        objects = render(values)
        [operator] = [pod for pod in pods(objects) if pod.component == "operator"]
        names = {
            subject["name"]
            for binding in of_kind(objects, "ClusterRoleBinding")
            for subject in binding["subjects"]
        }
        assert names == {operator.spec["serviceAccountName"]}


def test_who_may_edit_a_namespace_may_edit_its_projects() -> None:
    roles = {
        role["metadata"]["name"]: role
        for role in of_kind(render(), "ClusterRole")
        if "aggregate" in str(role["metadata"]["labels"])
    }
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {
        name: sorted(k.removeprefix(prefix) for k in role["metadata"]["labels"] if prefix in k)
        for name, role in roles.items()
    } == {
        "mining-data-miner-view": ["admin", "edit", "view"],
        "mining-data-miner-edit": ["admin", "edit"],
    }


def test_a_release_that_is_at_home_where_another_one_serves_has_roles_of_its_own() -> None:
    """Also under the same name: Helm takes no object that another release has."""
    served = render({"operator": {"namespaces": ["first", "second"]}}, namespace="first")
    at_home = render({"operator": {"namespaces": ["second"]}}, namespace="second")

    def names(objects: list[Object]) -> set[tuple[str, str]]:
        return {
            (each["kind"], each["metadata"]["name"])
            for each in objects
            if each["metadata"].get("namespace") == "second"
        }

    assert names(served)
    assert not names(served) & names(at_home)
