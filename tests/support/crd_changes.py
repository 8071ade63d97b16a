"""What a change of a definition takes away from who uses the one before: whatever is not adding.

Objects that were stored, and clients that were written, with the one before must go on: what was
allowed stays allowed, what was kept stays kept, what was left out means the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]

_WORDS: Final = frozenset({"description", "title", "example", "externalDocs"})
"""For people: they change nothing."""
_MOST: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
_LEAST: Final = ("minimum", "minLength", "minItems", "minProperties")
_SAME: Final = (
    "type", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    "x-kubernetes-embedded-resource",
)  # fmt: skip
_LOOSER: Final = (
    "nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string",
)  # fmt: skip
"""True allows more."""
_TIGHTER: Final = ("exclusiveMinimum", "exclusiveMaximum", "uniqueItems")
"""True allows less."""
_STRICTER_WHEN_NEW: Final = ("pattern", "format")
_KNOWN: Final = frozenset(
    {*_WORDS, *_MOST, *_LEAST, *_SAME, *_LOOSER, *_TIGHTER, *_STRICTER_WHEN_NEW}
    | {"properties", "required", "enum", "default", "items", "additionalProperties"}
    | {"x-kubernetes-validations"}
)


def losses(before: Schema, after: Schema) -> list[str]:
    """One line for each thing that the CustomResourceDefinition `before` had and `after` has not.

    Empty when `after` only adds. What this function cannot judge is a loss.
    """
    return list(_definition(before["spec"], after["spec"]))


def _definition(before: Schema, after: Schema) -> Iterator[str]:
    for field in ("group", "scope"):
        yield from _same(field, before[field], after[field])
    for field in ("kind", "listKind", "plural", "singular"):
        yield from _same(f"names.{field}", before["names"].get(field), after["names"].get(field))
    for field in ("shortNames", "categories"):
        gone = set(before["names"].get(field, ())) - set(after["names"].get(field, ()))
        yield from (f"names.{field}: {name} is gone" for name in sorted(gone))
    versions = {version["name"]: version for version in after["versions"]}
    for version in before["versions"]:
        name = version["name"]
        if name in versions:
            yield from _version(name, version, versions[name])
        else:
            yield f"{name}: the version is gone"


def _version(name: str, before: Schema, after: Schema) -> Iterator[str]:
    if before["served"] and not after["served"]:
        yield f"{name}: is not served any more"
    for field in before.get("subresources", {}):
        if field not in after.get("subresources", {}):
            yield f"{name}: the subresource {field} is gone"
    columns = {column["name"] for column in after.get("additionalPrinterColumns", ())}
    for column in before.get("additionalPrinterColumns", ()):
        if column["name"] not in columns:
            yield f"{name}: the column {column['name']} is gone"
    yield from _schema(
        name, before["schema"]["openAPIV3Schema"], after["schema"]["openAPIV3Schema"]
    )


def _schema(path: str, before: Schema, after: Schema) -> Iterator[str]:
    for keyword in sorted({*before, *after} - _KNOWN):
        if before.get(keyword) != after.get(keyword):
            yield f"{path}: {keyword} changes, which nobody here can judge"
    for keyword in _SAME:
        yield from _same(f"{path}: {keyword}", before.get(keyword), after.get(keyword))
    yield from _bounds(path, before, after)
    yield from _words(path, before, after)
    yield from _children(path, before, after)


def _bounds(path: str, before: Schema, after: Schema) -> Iterator[str]:
    for keyword in _MOST:
        old, new = before.get(keyword), after.get(keyword)
        if new is not None and (old is None or new < old):
            yield f"{path}: {keyword} is {new}, was {_told(old)}"
    for keyword in _LEAST:
        old, new = before.get(keyword), after.get(keyword)
        if new is not None and (old is None or new > old) and new != 0:
            yield f"{path}: {keyword} is {new}, was {_told(old)}"
    for keyword in _LOOSER:
        if before.get(keyword) and not after.get(keyword):
            yield f"{path}: {keyword} is gone"
    for keyword in _TIGHTER:
        if after.get(keyword) and not before.get(keyword):
            yield f"{path}: {keyword} is new"


def _words(path: str, before: Schema, after: Schema) -> Iterator[str]:
    if "enum" in after:
        gone = [word for word in before.get("enum", ()) if word not in after["enum"]]
        if "enum" not in before:
            yield f"{path}: only {_list(after['enum'])} is allowed now"
        elif gone:
            yield f"{path}: {_list(gone)} is not allowed any more"
    for keyword in _STRICTER_WHEN_NEW:
        if keyword in after and before.get(keyword) != after[keyword]:
            yield f"{path}: {keyword} is {after[keyword]}, was {_told(before.get(keyword))}"
    if before.get("default") != after.get("default"):
        old, new = _told(before.get("default")), _told(after.get("default"))
        yield f"{path}: the default is {new}, was {old}"
    rules = {rule["rule"] for rule in before.get("x-kubernetes-validations", ())}
    for rule in after.get("x-kubernetes-validations", ()):
        if rule["rule"] not in rules:
            yield f"{path}: a new rule: {rule['rule']}"


def _children(path: str, before: Schema, after: Schema) -> Iterator[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    for name, schema in old.items():
        if name in new:
            yield from _schema(f"{path}.{name}", schema, new[name])
        elif not after.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{name}: the field is gone"
    for name in after.get("required", ()):
        if name not in before.get("required", ()) and "default" not in new.get(name, {}):
            yield f"{path}.{name}: the field is required now"
    for keyword, end in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword not in before:
            continue
        if isinstance(before[keyword], Mapping) and isinstance(after.get(keyword), Mapping):
            yield from _schema(path + end, before[keyword], after[keyword])
        elif before[keyword] and before[keyword] != after.get(keyword):
            yield f"{path}: {keyword} is {_told(after.get(keyword))}, was {_told(before[keyword])}"


def _same(what: str, before: object, after: object) -> Iterator[str]:
    if before != after:
        yield f"{what} is {_told(after)}, was {_told(before)}"


def _told(value: object) -> str:
    return "not there" if value is None else str(value)


def _list(words: Sequence[object]) -> str:
    return " or ".join(str(word) for word in words)
