"""From an object to what the catalogue shall hold."""

from __future__ import annotations

import pytest

from data_miner.errors import SpecError
from data_miner_operator.reconcile.wanted import (
    compiled,
    credentials_of,
    models_named,
    models_of,
    read,
)
from support.reconciling import MODELS, SITE, an_object, found, seen, spec


def test_relative_paths_count_from_the_folder_of_the_site() -> None:
    """Those of sources and of the export; a URI stays as it is."""
    wanted = spec(
        sources=[{"files": {"uri": "clips"}}, {"urls": {"file": "list.txt"}}],
        export={"uri": "s3://bucket/out"},
    )
    project = read(an_object(spec=wanted), SITE)
    assert project.spec.sources[0].files
    assert project.spec.sources[0].files.uri == "/data/clips"
    assert project.spec.sources[1].urls
    assert project.spec.sources[1].urls.file == "/data/list.txt"
    assert project.spec.export
    assert project.spec.export.uri == "s3://bucket/out"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"sources": [{"files": {"uri": "~/clips"}}]}, "spec.sources[0].files.uri"),
        ({"sources": [{"urls": {"file": "~nobody-here/x"}}]}, "spec.sources[0].urls.file"),
        ({"export": {"uri": "~"}}, "spec.export.uri"),
    ],
)
def test_nobody_has_a_home_folder_in_a_cluster(changes: dict[str, object], path: str) -> None:
    """The operator's own is not that of the workers."""
    with pytest.raises(SpecError, match="stands for no folder") as raised:
        read(an_object(spec=spec(**changes)), SITE)
    assert str(raised.value).startswith(f"{path}:")


def test_an_invalid_spec_is_refused_with_all_its_paths() -> None:
    """One line a problem."""
    wrong = spec(priority=5000, weight=0)
    with pytest.raises(SpecError) as raised:
        read(an_object(spec=wrong), SITE)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["spec.priority", "spec.weight"]


def test_the_same_object_wants_the_same() -> None:
    """The digest depends on the spec and the models alone."""
    facts = seen().models
    one, other = (compiled(read(an_object(uid=uid), SITE), facts) for uid in ("a", "b"))
    assert one.digest == other.digest
    assert one.compiled[0].stage == "discover"


def test_another_spec_or_another_model_wants_something_else() -> None:
    """An edit changes the digest, and so does a model that was replaced."""
    facts = dict(seen().models)
    plain = compiled(read(an_object(), SITE), facts).digest
    edited = compiled(read(an_object(spec=spec(priority=1)), SITE), facts).digest
    facts["tiny-clip"] = found("another-clip")
    replaced = compiled(read(an_object(), SITE), facts).digest
    assert len({plain, edited, replaced}) == 3


def test_models_and_credentials_are_named_once_each() -> None:
    """Filter, dedup and detectors; the credential of the downloads."""
    project = read(an_object(spec=spec(download={"secretRef": {"name": "cookies"}})), SITE)
    assert models_of(project.spec) == MODELS
    assert credentials_of(project.spec) == ("cookies",)
    bare = read(an_object(spec=spec(filter=None, dedup=None, detect=None, export=None)), SITE)
    assert models_of(bare.spec) == ()
    assert credentials_of(bare.spec) == ()


def test_an_object_that_is_not_valid_names_no_models() -> None:
    """It has to be mended first."""
    assert models_named(an_object()) == MODELS
    assert models_named(an_object(spec={"sources": "none"})) == ()
