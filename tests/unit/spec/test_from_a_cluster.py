"""What an API server gave is read for what is wanted, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from data_miner.errors import SpecError
from data_miner.spec import canonical, project_of


def obj(spec: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "data-miner.io/v1alpha1",
        "kind": "MiningProject",
        "metadata": {"name": "doors", "namespace": "team-a", **metadata},
        "spec": spec,
        "status": {"phase": "Mining"},
    }


WANTED = {"sources": [{"search": {"query": "doors"}}]}


def test_labels_and_annotations_of_any_size_are_passed_over() -> None:
    """What the API server allows in metadata refuses no project."""
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 250_000}
    annotations |= {f"example.com/{index}": "y" for index in range(100)}
    labels = {"A" * 63: "", f"{'a.' * 126}a/b": "c"}

    project = project_of(obj(WANTED, annotations=annotations, labels=labels, finalizers=["a/b"]))

    assert (project.metadata.namespace, project.metadata.name) == ("team-a", "doors")
    assert canonical(project) == canonical(project_of(obj(WANTED)))


def test_each_wrong_thing_is_a_line_that_starts_with_its_path() -> None:
    """An operator can put the lines into a condition as they are."""
    with pytest.raises(SpecError) as caught:
        project_of(obj({**WANTED, "weight": 0, "dedup": {"threshold": 2}}))

    assert str(caught.value).splitlines() == [
        "spec.dedup.threshold: got 2; must be a number above 0, at most 1",
        "spec.weight: got 0; must be a whole number from 1 to 100",
    ]


@pytest.mark.parametrize("what", [{}, {"metadata": None}, {"metadata": [], "spec": []}])
def test_what_is_no_project_is_refused_with_words(what: dict[str, Any]) -> None:
    """Nothing but a SpecError comes out, whatever was there."""
    with pytest.raises(SpecError):
        project_of(what)
