"""A project that is written out and read again is the same project."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings

from data_miner.fingerprint import canonical_json
from data_miner.spec import MiningProject, canonical, load_project, project_from
from support.any_project import PROJECTS


class _Quoting(yaml.SafeDumper):
    """Writes text in quotes: PyYAML leaves 0E0 bare, which is a number to YAML 1.2 and to us."""


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@settings(max_examples=60, deadline=None)
@given(data=PROJECTS)
def test_read_write_read(data: dict[str, Any]) -> None:
    """Reading what was written gives the same project, as data, as JSON and as YAML."""
    project = project_from(data)
    written = canonical(project)

    assert project_from(written) == project
    assert canonical(project_from(written)) == written
    assert MiningProject.model_validate_json(canonical_json(written)) == project
    assert load_project(json.dumps(written)) == project
    assert load_project(yaml.dump(written, Dumper=_Quoting, allow_unicode=True)) == project
