"""The table of accepted and refused projects, run against the models.

`tests/cluster/test_crd.py` runs it against an API server.
"""

from __future__ import annotations

import json

import pytest

from data_miner.errors import SpecError
from data_miner.spec import canonical, load_project, project_of
from support.crd_cases import CASES, Case, ids


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_the_models_say_the_same(case: Case) -> None:
    """A project of the table is accepted, or refused with lines that say where."""
    if not case.refused_at:
        assert canonical(project_of(case.object()))
        return

    with pytest.raises(SpecError) as caught:
        project_of(case.object())
    assert all(line.startswith(case.refused_at) for line in str(caught.value).splitlines())


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_a_file_says_the_same(case: Case) -> None:
    """A file with the same project is accepted or refused as the object is."""
    data = case.object()
    data["metadata"].pop("annotations", None)  # A file's have bounds of their own.
    text = json.dumps(data)
    if "\\u0000" in text:
        with pytest.raises(SpecError, match="holds a NUL character"):
            load_project(text)
    elif case.refused_at:
        with pytest.raises(SpecError):
            load_project(text)
    else:
        assert load_project(text) == project_of(data)


def test_the_table_is_long_enough() -> None:
    """At least sixty of them, a good part of each kind, each of them another object."""
    refused = [case for case in CASES if case.refused_at]

    assert len(CASES) >= 60
    assert len(refused) >= 30
    assert len(CASES) - len(refused) >= 30
    assert len({json.dumps(case.object()) for case in CASES}) == len(CASES)


def test_no_refusal_repeats_a_password() -> None:
    """Whatever is wrong with an address beside it, its password is in no message."""
    urls = (
        "https://me:s3cret@a/b", "ftp://me:s3cret@a/b c", "//me:s3cret@a", "x://s3cret@",
        "https:///me:s3cret@a", "me:s3cret@a",
    )  # fmt: skip
    for url in urls:
        spec = {"sources": [{"urls": {"items": ["nothing", url]}}]}
        with pytest.raises(SpecError) as caught:
            project_of(Case("", spec).object())
        assert "s3cret" not in str(caught.value)
