"""Paths of a project file: made absolute, and kept within what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_miner.errors import SpecError
from data_miner.local.resolve import check_project_reach, resolve_paths
from data_miner.spec import MiningProject, project_from


def project(*sources: dict[str, Any], export_uri: str | None = None) -> MiningProject:
    """A project with these sources."""
    spec: dict[str, Any] = {"sources": list(sources)}
    if export_uri is not None:
        spec["export"] = {"uri": export_uri}
    return project_from(
        {
            "apiVersion": "data-miner.io/v1alpha1",
            "kind": "MiningProject",
            "metadata": {"name": "p"},
            "spec": spec,
        },
        where="test",
    )


def test_relative_paths_count_from_the_project_s_folder(tmp_path: Path) -> None:
    """Files, URL lists and the export are made absolute; URIs stay as they are."""
    made = resolve_paths(
        project(
            {"files": {"uri": "clips"}},
            {"files": {"uri": "s3://bucket/clips/"}},
            {"urls": {"file": "list.txt"}},
            export_uri="out",
        ),
        tmp_path,
    )
    files, bucket, urls = made.spec.sources

    assert files.files is not None
    assert files.files.uri == str(tmp_path / "clips")
    assert bucket.files is not None
    assert bucket.files.uri == "s3://bucket/clips/"
    assert urls.urls is not None
    assert urls.urls.file == str(tmp_path / "list.txt")
    assert made.spec.export is not None
    assert made.spec.export.uri == str(tmp_path / "out")


@pytest.mark.parametrize(
    ("sources", "export_uri", "named"),
    [
        ([{"files": {"uri": "/etc"}}], None, "spec.sources[0].files.uri"),
        ([{"files": {"uri": "/data/../etc"}}], None, "spec.sources[0].files.uri"),
        ([{"files": {"uri": "/data/a"}}, {"urls": {"file": "/x"}}], None, "spec.sources[1].urls"),
        ([{"files": {"uri": "/data/a"}}], "s3://other/sets", "spec.export.uri"),
        ([{"files": {"uri": "/database"}}], None, "spec.sources[0].files.uri"),
    ],
)
def test_what_lies_outside_is_refused_by_its_path_in_the_spec(
    sources: list[dict[str, Any]], export_uri: str | None, named: str
) -> None:
    """A URI outside of the allowed prefixes is an error that names where it stands."""
    with pytest.raises(SpecError, match="outside of what is allowed") as refused:
        check_project_reach(project(*sources, export_uri=export_uri), "/data s3://sets")

    assert named in str(refused.value)


def test_what_lies_inside_passes_and_so_does_all_without_a_list() -> None:
    """Prefixes allow what is below them; an empty list allows everything."""
    inside = project({"files": {"uri": "/data/clips"}}, export_uri="s3://sets/doors/")
    check_project_reach(inside, "/data s3://sets")
    check_project_reach(project({"files": {"uri": "/anywhere"}}), "")

    assert inside.spec.export is not None
