"""What every model keeps to, so that a Kubernetes schema can be made from them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from data_miner.spec import MiningProject, canonical, load_project, reference
from data_miner.spec.base import SpecModel
from data_miner.spec.schema import resolved, words

ROOT: Final = Path(__file__).parents[3]
EXAMPLES: Final = ("doors", "local-files")


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in resolved(schema).get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    if "items" in resolved(schema):
        yield from fields(resolved(schema)["items"], f"{path}[]")


def values(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a value: fields, items of lists, values of maps."""
    schema = resolved(schema)
    yield path, schema
    inner = {**schema.get("properties", {}), **schema.get("patternProperties", {})}
    if "items" in schema:
        inner["[]"] = schema["items"]
    for name, field in inner.items():
        yield from values(field, f"{path}.{name}")


def models(model: type[SpecModel]) -> Iterator[type[SpecModel]]:
    yield model
    for sub in model.__subclasses__():
        yield from models(sub)


ALL_VALUES: Final = dict(values(MiningProject.model_json_schema()))
ALL_FIELDS: Final = dict(fields(MiningProject.model_json_schema()))


def test_the_walk_reaches_everything() -> None:
    """The walk of the schema sees every model's fields."""
    walked = {path.rsplit(".", 1)[-1] for path in ALL_FIELDS}
    declared = {
        str(field.alias)
        for model in models(SpecModel)
        for field in model.model_fields.values()
        if model.__module__.startswith("data_miner.")
    }

    assert declared == walked


@pytest.mark.parametrize("path", ALL_FIELDS)
def test_described(path: str) -> None:
    """Every field has a description of its own, in sentences."""
    assert resolved(ALL_FIELDS[path])["description"].endswith(".")


@pytest.mark.parametrize("path", ALL_VALUES)
def test_bounded_and_structural(path: str) -> None:
    """Every text, list, map and number has bounds, nothing is a union, and words say it all."""
    schema = ALL_VALUES[path]

    wanted = {
        "string": {"maxLength"},
        "array": {"maxItems", "items"},
        "integer": {"minimum", "maximum"},
        "number": {"maximum"},
        "boolean": set(),
        "object": set() if "properties" in schema else {"maxProperties"},
    }[schema["type"]]
    assert wanted <= schema.keys() or {"enum", "const"} & schema.keys()
    assert not {"anyOf", "oneOf", "allOf"} & schema.keys()
    if schema["type"] == "number":
        assert {"minimum", "exclusiveMinimum"} & schema.keys()
    assert words(schema)


def test_absent_is_the_only_other_value_of_an_optional_field() -> None:
    """A field that may be null is null by default, so that null and absent mean the same."""
    optional = [f for f in ALL_FIELDS.values() if {"type": "null"} in f.get("anyOf", ())]

    assert optional
    assert all(field.get("default") is None for field in optional)


def test_frozen() -> None:
    """A spec that was read cannot be changed."""
    project = load_project(ROOT / "examples/doors.yaml")

    with pytest.raises(ValidationError, match="frozen"):
        project.spec.weight = 2


def test_python_names_build_the_same_project() -> None:
    """Python code may use snake_case where YAML has camelCase."""
    spec = {"sources": [{"search": {"query": "a"}}], "download": {"max_height": 720}}
    head = {"api_version": "data-miner.io/v1alpha1", "kind": "MiningProject"}

    project = MiningProject.model_validate({**head, "metadata": {"name": "a"}, "spec": spec})

    assert canonical(project)["spec"]["download"] == {"maxHeight": 720}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    """Each example loads, is called what its file is called, and says the same when written out."""
    project = load_project(ROOT / f"examples/{name}.yaml")

    assert project.metadata.name in {name, f"glass-{name}"}
    assert MiningProject.model_validate(canonical(project)) == project


def test_the_long_example_has_every_section() -> None:
    """doors.yaml shows every section of a spec and every kind of source."""
    spec = canonical(load_project(ROOT / "examples/doors.yaml"))["spec"]
    schema = MiningProject.model_json_schema()["$defs"]

    assert spec.keys() == schema["MiningProjectSpec"]["properties"].keys()
    assert {key for s in spec["sources"] for key in s} == schema["Source"]["properties"].keys()


def test_defaults() -> None:
    """What an absent key means is what the design of the YAML says."""
    text = """\
apiVersion: data-miner.io/v1alpha1
kind: MiningProject
metadata: {name: a}
spec:
  sources: [{search: {query: a}}, {files: {uri: a}}]
  sampling: {}
  filter: {positive: [a]}
  dedup: {}
  detect: {classes: [{name: door}], detectors: [{model: m}]}
  target: {images: 5}
  export: {}
"""
    spec = canonical(load_project(text))["spec"]

    assert spec == {
        "sources": [
            {"search": {"query": "a", "limit": 50}},
            {"files": {"uri": "a", "glob": "**/*"}},
        ],
        "select": {
            "duration": {}, "licences": [], "excludeTags": [], "excludeTitle": [], "live": "Skip",
        },
        "download": {"maxHeight": 1080},
        "sampling": {"strategy": "Time", "every": "2s", "maxFramesPerVideo": 500},
        "filter": {
            "model": "siglip2-base-patch16-256",
            "positive": ["a"], "negative": [], "junk": [], "space": "Probability",
            "thresholds": {
                "positive": 0.3, "negative": 0.3, "junk": 0.3,
                "negativeMargin": 0.1, "junkMargin": 0.05,
            },
        },
        "dedup": {"model": "dinov2-small", "threshold": 0.9, "prefer": "First"},
        "detect": {
            "classes": [{"name": "door", "prompts": ["door"], "minScore": 0.3}],
            "detectors": [{"model": "m"}], "agreement": 1, "nmsIou": 0.5,
        },
        "target": {"images": 5},
        "export": {
            "formats": ["COCO", "YOLO", "Parquet"],
            "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
            "splitLinkThreshold": 0.75,
            "image": {"format": "JPEG", "quality": 95},
        },
        "retention": {}, "suspend": False, "priority": 0, "weight": 1,
        "deletionPolicy": "Retain",
    }  # fmt: skip


def test_validation_leaves_its_input_alone() -> None:
    """Reading plain data does not change it."""
    data = canonical(load_project(ROOT / "examples/doors.yaml"))
    before = copy.deepcopy(data)

    MiningProject.model_validate(data)

    assert data == before


def test_the_reference_is_up_to_date() -> None:
    """docs/reference/spec.md is what the models say; `make generate` writes it."""
    assert (ROOT / "docs/reference/spec.md").read_text("utf-8") == reference.render()


def test_the_reference_names_every_key() -> None:
    """Each field has its row."""
    text = reference.render()

    assert all(f"| `{path.rsplit('.', 1)[-1]}` |" in text for path in ALL_FIELDS)
