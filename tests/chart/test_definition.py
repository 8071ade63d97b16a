"""The definition of MiningProject only adds: what users have stored stays valid and stays whole.

`released/` holds the definition of the last release (before the first one: of the last commit
without a chart). A release replaces it by its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart import CHART
from support.crd_changes import losses

NAME = "data-miner.io_miningprojects.yaml"
RELEASED = Path(__file__).parent / "released" / NAME
Object = dict[str, Any]


def loaded(path: Path) -> Object:
    """A definition."""
    found: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def spec(crd: Object, *path: str) -> Object:
    """The schema at a path below a project's spec; `[]` is what a list holds."""
    found = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in path:
        found = found["items"] if name == "[]" else found["properties"][name]
    assert isinstance(found, dict)
    return found


def test_the_definition_only_adds_to_that_of_the_last_release() -> None:
    assert losses(loaded(RELEASED), loaded(CHART / "files/crds" / NAME)) == []


Change = Callable[[Object], Any]

TAKES: list[tuple[str, Change, str]] = [
    (
        "a field goes",
        lambda c: spec(c)["properties"].pop("priority"),
        "spec.priority: the field is gone",
    ),
    (
        "a field of a list's entries goes",
        lambda c: spec(c, "sources", "[]")["properties"].pop("files"),
        "spec.sources[].files: the field is gone",
    ),
    (
        "a field is required",
        lambda c: spec(c).setdefault("required", []).append("dedup"),
        "spec.dedup: the field is required now",
    ),
    (
        "a new field is required",
        lambda c: (
            spec(c)["properties"].update(x={"type": "string"}),
            spec(c).setdefault("required", []).append("x"),
        ),
        "spec.x: the field is required now",
    ),
    (
        "a word of an enum goes",
        lambda c: spec(c, "sampling", "strategy")["enum"].remove("Time"),
        "spec.sampling.strategy: Time is not allowed any more",
    ),
    (
        "an enum comes",
        lambda c: spec(c, "filter", "model").update(enum=["a"]),
        "spec.filter.model: only a is allowed now",
    ),
    (
        "a type changes",
        lambda c: spec(c, "priority").update(type="number"),
        "spec.priority: type is number, was integer",
    ),
    (
        "a maximum falls",
        lambda c: spec(c, "priority").update(maximum=1),
        "spec.priority: maximum is 1",
    ),
    (
        "a minimum rises",
        lambda c: spec(c, "priority").update(minimum=1),
        "spec.priority: minimum is 1",
    ),
    (
        "a length is bounded",
        lambda c: spec(c, "filter", "model").update(maxLength=1),
        "spec.filter.model: maxLength is 1",
    ),
    (
        "a list is bounded",
        lambda c: spec(c, "sources").update(maxItems=1),
        "spec.sources: maxItems is 1",
    ),
    (
        "a list may not be empty",
        lambda c: spec(c, "sources").update(minItems=9),
        "spec.sources: minItems is 9",
    ),
    (
        "a pattern changes",
        lambda c: spec(c, "filter", "model").update(pattern="^x$"),
        "spec.filter.model: pattern is ^x$",
    ),
    (
        "a format comes",
        lambda c: spec(c, "filter", "model").update(format="uri"),
        "spec.filter.model: format is uri",
    ),
    (
        "a default changes",
        lambda c: spec(c, "suspend").update(default=True),
        "spec.suspend: the default is True",
    ),
    (
        "a rule comes",
        lambda c: spec(c).setdefault("x-kubernetes-validations", []).append({"rule": "false"}),
        "spec: a new rule: false",
    ),
    (
        "a list is merged otherwise",
        lambda c: spec(c, "sources").update({"x-kubernetes-list-type": "set"}),
        "spec.sources: x-kubernetes-list-type is set",
    ),
    (
        "a bound is left out of what it allows",
        lambda c: spec(c, "priority").update(exclusiveMinimum=True),
        "spec.priority: exclusiveMinimum is new",
    ),
    (
        "a keyword that nobody knows",
        lambda c: spec(c).update(oneOf=[{}]),
        "spec: oneOf changes, which nobody here can judge",
    ),
    (
        "a version goes",
        lambda c: c["spec"]["versions"][0].update(name="v1"),
        "v1alpha1: the version is gone",
    ),
    (
        "a version is not served",
        lambda c: c["spec"]["versions"][0].update(served=False),
        "v1alpha1: is not served any more",
    ),
    (
        "the status is no subresource",
        lambda c: c["spec"]["versions"][0].pop("subresources"),
        "v1alpha1: the subresource status is gone",
    ),
    (
        "a column goes",
        lambda c: c["spec"]["versions"][0]["additionalPrinterColumns"].pop(),
        "v1alpha1: the column Message is gone",
    ),
    (
        "a short name goes",
        lambda c: c["spec"]["names"].update(shortNames=[]),
        "names.shortNames: mp is gone",
    ),
    (
        "the scope changes",
        lambda c: c["spec"].update(scope="Cluster"),
        "scope is Cluster, was Namespaced",
    ),
]

ADDS: list[tuple[str, Change]] = [
    ("a field", lambda c: spec(c)["properties"].update(x={"type": "string", "default": "a"})),
    (
        "a field with a default that is required",
        lambda c: (
            spec(c)["properties"].update(x={"type": "string", "default": "a"}),
            spec(c).setdefault("required", []).append("x"),
        ),
    ),
    ("a word of an enum", lambda c: spec(c, "sampling", "strategy")["enum"].append("New")),
    ("a description", lambda c: spec(c, "priority").update(description="Other words.")),
    ("a maximum that rises", lambda c: spec(c, "sources").update(maxItems=10**6)),
    ("a bound that goes", lambda c: spec(c, "sources").pop("maxItems", None)),
    (
        "a version",
        lambda c: c["spec"]["versions"].append({**c["spec"]["versions"][0], "name": "v1"}),
    ),
    (
        "a column",
        lambda c: c["spec"]["versions"][0]["additionalPrinterColumns"].append({"name": "X"}),
    ),
    ("a field that may be left out", lambda c: spec(c).update(required=[])),
]


@pytest.mark.parametrize(("change", "said"), [c[1:] for c in TAKES], ids=[c[0] for c in TAKES])
def test_whatever_takes_something_away_is_named(change: Change, said: str) -> None:
    before = loaded(RELEASED)
    after = copy.deepcopy(before)
    change(after)

    found = losses(before, after)

    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize("change", [c[1] for c in ADDS], ids=[c[0] for c in ADDS])
def test_what_adds_is_no_loss(change: Change) -> None:
    before = loaded(RELEASED)
    after = copy.deepcopy(before)
    change(after)

    assert losses(before, after) == []
