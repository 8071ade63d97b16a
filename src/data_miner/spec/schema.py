"""The models' JSON schema, and what it says in words: for messages and for the reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from data_miner.spec.project import MiningProject

Schema = dict[str, Any]
Path = tuple[str | int, ...]


@cache
def _root() -> Schema:
    return MiningProject.model_json_schema(by_alias=True)


def resolved(schema: Schema) -> Schema:
    """A field's schema with its reference followed and "or null" left out.

    What stands beside a reference (description, default) wins over what it refers to.
    """
    options = [o for o in schema.get("anyOf", ()) if o.get("type") != "null"]
    if options:
        schema = {**options[0], **{k: v for k, v in schema.items() if k != "anyOf"}}
    if "$ref" in schema:
        target = _root()["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def at(path: Path) -> Schema | None:
    """The schema of what stands at a path of the YAML; None where nothing may stand."""
    schema = resolved(_root())
    for step in path:
        if isinstance(step, int):
            inner = schema.get("items")
        else:
            # A map whose keys have a pattern has one schema for all its values.
            maps = next(iter(schema.get("patternProperties", {}).values()), None)
            inner = schema.get("properties", {}).get(step, maps)
        if not isinstance(inner, dict):
            return None
        schema = resolved(inner)
    return schema


def walk(path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every object of the YAML, outermost first: its path, `[]` for each item of a list."""
    yield from _walk(path, resolved(_root()))


def _walk(path: tuple[str, ...], schema: Schema) -> Iterator[tuple[tuple[str, ...], Schema]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        inner, step = resolved(field), name
        if inner.get("type") == "array":
            inner, step = resolved(inner["items"]), f"{name}[]"
        if "properties" in inner:
            yield from _walk((*path, step), inner)


def choices(schema: Schema) -> tuple[str, ...]:
    """The words that an enum allows; empty for anything else."""
    return tuple(schema.get("enum", ())) or ((schema["const"],) if "const" in schema else ())


def words(schema: Schema) -> str:
    """What is allowed, as it follows "must be": ``a whole number from 1 to 10000``."""
    options = choices(schema)
    if options:
        return f"one of {', '.join(options)}" if len(options) > 1 else options[0]
    if schema.get("format") == "duration":
        return 'a duration such as "500ms", "2s", "10m", "1h30m" or "30d"'
    if schema["type"] == "object":
        names = schema.get("properties")
        return f"a section with {', '.join(names)}" if names else _pairs(schema)
    return _SIMPLE[schema["type"]](schema)


def _pairs(schema: Schema) -> str:
    return f"key: value pairs, at most {schema['maxProperties']}"


def _items(schema: Schema) -> str:
    return f"a list of {_count(schema, 'Items')} items, each {words(resolved(schema['items']))}"


_SIMPLE: Final[dict[str, Callable[[Schema], str]]] = {
    "array": _items,
    "string": lambda schema: f"text of {_count(schema, 'Length')} characters",
    "integer": lambda schema: f"a whole number{_range(schema)}",
    "number": lambda schema: f"a number{_range(schema)}",
    "boolean": lambda schema: "true or false",
}


def _count(schema: Schema, what: str) -> str:
    low, high = schema.get(f"min{what}", 0), schema[f"max{what}"]
    return f"{low} to {high}" if low != high else f"{low}"


def _range(schema: Schema) -> str:
    if "exclusiveMinimum" in schema:
        return f" above {_plain(schema['exclusiveMinimum'])}, at most {_plain(schema['maximum'])}"
    return f" from {_plain(schema['minimum'])} to {_plain(schema['maximum'])}"


def _plain(value: float) -> str:
    return json.dumps(int(value) if value == int(value) else value)
