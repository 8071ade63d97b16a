"""The CustomResourceDefinition as a document: complete, bounded, and what the models say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args

import pytest
import yaml
from hypothesis import given, settings
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from pydantic import AfterValidator, BeforeValidator, PlainValidator, WrapValidator

import data_miner.spec.status as status_models
from data_miner.compiler import ModelInfo, compile_project
from data_miner.spec import canonical, load_project, project_from
from data_miner.spec.base import VALIDATIONS, Checked, SpecModel
from data_miner.spec.crd import definition, render
from data_miner.spec.duration import parse_duration
from support.any_project import PROJECTS
from support.crd_cases import CASES, ids

ROOT: Final = Path(__file__).parents[3]
FILE: Final = ROOT / "crds/data-miner.io_miningprojects.yaml"
VERSION: Final[dict[str, Any]] = definition()["spec"]["versions"][0]
ROOT_SCHEMA: Final[dict[str, Any]] = VERSION["schema"]["openAPIV3Schema"]

ALLOWED_KEYS: Final = {
    "default", "description", "enum", "exclusiveMinimum", "format", "items", "maxItems",
    "maxLength", "maximum", "minItems", "minLength", "minimum", "pattern", "properties",
    "required", "type", "x-kubernetes-list-map-keys", "x-kubernetes-list-type", VALIDATIONS,
}  # fmt: skip
"""All that the definition uses; unions, free maps and unknown fields are not among it."""


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")


NODES: Final = {
    path: schema
    for part in ("spec", "status")
    for path, schema in nodes(ROOT_SCHEMA["properties"][part], part)
}
MODELS: Final = [
    model for model in SpecModel.__subclasses__() if model.__module__.startswith("data_miner.spec.")
]


def test_the_file_is_up_to_date() -> None:
    """What is in crds/ is what the models say; `make generate` writes it."""
    assert FILE.read_text("utf-8") == render()


def test_the_file_is_what_was_meant() -> None:
    """A YAML reader finds the definition in it, without aliases."""
    text = render()

    assert yaml.safe_load(text) == definition()
    assert not [e for e in yaml.parse(text, yaml.SafeLoader) if isinstance(e, yaml.AliasEvent)]


def test_it_is_small() -> None:
    """Below 60 KB: `kubectl apply` keeps a copy in an annotation, and a chart holds it whole."""
    assert len(render().encode()) < 60_000


@pytest.mark.parametrize("path", NODES)
def test_every_value_is_bounded_and_structural(path: str) -> None:
    """Each value has one type, bounds, and for a list what its merging means."""
    schema = NODES[path]
    kind = schema["type"]

    assert schema.keys() <= ALLOWED_KEYS
    assert not path.endswith("[]") or "description" not in schema or schema["description"]
    assert path.endswith("[]") or schema["description"].strip()
    if kind == "string":
        assert "maxLength" in schema or "enum" in schema or schema["format"] == "date-time"
    elif kind in ("integer", "number"):
        assert "minimum" in schema
        assert "maximum" in schema
    elif kind == "array":
        assert "maxItems" in schema
        assert schema["x-kubernetes-list-type"] in ("atomic", "set", "map")
    elif kind == "object":
        assert schema["properties"]
    else:
        assert kind == "boolean"


@pytest.mark.parametrize("path", [path for path in NODES if "default" in NODES[path]])
def test_defaults_are_allowed(path: str) -> None:
    """A default is a value that could have been written."""
    schema = NODES[path]

    Draft4Validator(closed(schema)).validate(schema["default"])


def test_status_lists_merge_by_key() -> None:
    """Conditions and stages are maps by their names, for writers that own some of them."""
    status = ROOT_SCHEMA["properties"]["status"]["properties"]
    keys = {name: status[name]["x-kubernetes-list-map-keys"] for name in ("conditions", "stages")}

    assert keys == {"conditions": ["type"], "stages": ["name"]}
    assert status["conditions"]["maxItems"] == 16
    assert status["conditions"]["items"]["required"] == [
        "type", "status", "lastTransitionTime", "reason", "message",
    ]  # fmt: skip


def test_a_condition_is_a_metav1_condition() -> None:
    """Its fields are Kubernetes' own, and no others."""
    fields = ROOT_SCHEMA["properties"]["status"]["properties"]["conditions"]["items"]["properties"]

    assert fields.keys() == {
        "type", "status", "observedGeneration", "lastTransitionTime", "reason", "message",
    }  # fmt: skip


def test_every_part_of_a_status_may_be_absent() -> None:
    """The operator writes what it knows; only what names a list's items is required."""
    required = {path: schema["required"] for path, schema in NODES.items() if "required" in schema}

    assert {path for path in required if path.startswith("status")} == {
        "status.conditions[]", "status.stages[]",
    }  # fmt: skip


def test_it_goes_by_its_names() -> None:
    """Short name and category, and no place in a listing of everything."""
    names = definition()["spec"]["names"]

    assert names["shortNames"] == ["mp"]
    assert names["categories"] == ["data-miner"]
    assert VERSION["subresources"] == {"status": {}}


@pytest.mark.parametrize("column", VERSION["additionalPrinterColumns"], ids=lambda c: c["name"])
def test_columns_show_what_there_is(column: dict[str, Any]) -> None:
    """Each column's path leads to a field of the definition."""
    path = column["jsonPath"].removeprefix(".").partition("[")[0]

    assert path in NODES or path == "metadata.creationTimestamp"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_rules_between_fields_are_said_twice(model: type[SpecModel]) -> None:
    """A model with rules in Python has rules for an API server, and the other way round."""
    in_python = "broken_rules" in vars(model)

    assert in_python == bool(model.cel)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_checks_of_one_field_are_said_twice(model: type[SpecModel]) -> None:
    """A validator of a field stands in a `Checked` with its schema, or is a duration's."""
    hints = inspect.get_annotations(model, eval_str=True)
    for name in model.model_fields:
        for found in parts(hints[name]):
            if isinstance(found, Checked):
                assert found.schema
            elif isinstance(found, BeforeValidator):
                assert found.func is parse_duration
            else:
                assert not isinstance(found, AfterValidator | PlainValidator | WrapValidator)


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation's metadata, at any depth."""
    yield from getattr(annotation, "__metadata__", ())
    for inner in get_args(annotation):
        if inner not in (..., NoneType):
            yield from parts(inner)


def test_the_walk_of_annotations_finds_what_is_deep() -> None:
    """The test above sees the checks of an address in a list that may be absent."""
    urls = next(model for model in MODELS if model.__name__ == "Urls")
    found = list(parts(inspect.get_annotations(urls, eval_str=True)["items"]))

    assert sum(isinstance(f, Checked) for f in found) == 1


def test_rules_reach_the_definition() -> None:
    """As many rules are in it as the models and the kinds of text have."""
    rules = [rule for schema in NODES.values() for rule in schema.get(VALIDATIONS, ())]

    assert sum(len(model.cel) for model in MODELS) < len(rules)
    assert all(rule["message"] and "\n" not in rule["message"] for rule in rules)
    assert all(len(rule["rule"]) < 1000 for rule in rules)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema for a validator that takes what is not forbidden for allowed."""
    made = dict(schema)
    if "items" in made:
        made["items"] = closed(made["items"])
    if "properties" in made:
        made["properties"] = {name: closed(field) for name, field in made["properties"].items()}
        made["additionalProperties"] = False
    return made


SPEC: Final = Draft4Validator(closed(ROOT_SCHEMA["properties"]["spec"]))


@settings(max_examples=60, deadline=None)
@given(data=PROJECTS)
def test_what_the_models_accept_the_schema_accepts(data: dict[str, Any]) -> None:
    """A project, as it is stored with all of its defaults, has no fault by the schema alone."""
    spec = canonical(project_from(data))["spec"]

    assert [error.message for error in SPEC.iter_errors(spec)] == []


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_what_the_schema_refuses_the_models_refuse(case: Any) -> None:
    """No project of the table that is accepted has a fault by the schema alone."""
    # An API server drops nulls and takes 5.0 for a whole number before it looks.
    if not case.refused_at:
        spec = _as_read(dict(case.spec))
        assert [error.message for error in SPEC.iter_errors(spec)] == []


def _as_read(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_read(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_as_read(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_a_status_model_takes_what_an_operator_writes() -> None:
    """The largest of them is valid by the schema as well."""
    status = {
        "observedGeneration": 3, "phase": "Mining", "reason": "Working", "projectId": 7,
        "conditions": [{
            "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "Reconciled", "message": "",
        }],
        "images": {"kept": 1, "target": 2, "exported": 0}, "videos": {"found": 1},
        "progress": 50, "eta": "2026-01-01T00:00:00Z",
        "stages": [{"name": "download", "done": 1}], "funnel": {"found": 1, "unique": 1},
        "dataset": {"version": 1, "images": 1, "digest": "0" * 64, "uri": "s3://a/b/v1"},
        "completedAt": "2026-01-01T00:00:00Z", "retried": "1",
    }  # fmt: skip

    status_models.ProjectStatus.model_validate(status)
    Draft4Validator(closed(ROOT_SCHEMA["properties"]["status"])).validate(status)
    assert status.keys() | {"videos"} == ROOT_SCHEMA["properties"]["status"]["properties"].keys()


def test_how_an_object_lives_changes_no_work() -> None:
    """Deletion, expiry, priority, weight and suspension are in no recipe."""
    project = load_project(ROOT / "examples/doors.yaml")
    changes = {
        "deletion_policy": "Delete", "ttl_seconds_after_finished": 5, "priority": 9,
        "weight": 9, "suspend": True,
    }  # fmt: skip
    spec = project.spec.model_copy(update=changes)

    def lookup(name: str) -> ModelInfo:
        return ModelInfo(name, f"digest of {name}", "siglip", {"key": name})

    assert spec != project.spec
    assert compile_project(spec, lookup) == compile_project(project.spec, lookup)
