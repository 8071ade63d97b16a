"""What is wrong with a MiningProject, in words: where, what was given, what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from data_miner.spec import schema
from data_miner.spec.base import RulesBrokenError, SecretGivenError
from data_miner.spec.schema import Path
from data_miner.spec.yaml_text import Node

_GIVEN_LENGTH: Final = 60
_KEY: Final = "[key]"
"""How pydantic marks that a key of a map is wrong, and not its value."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    path: Path
    """Where, in the YAML's names; a number is a place in a list, from 0."""
    message: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.message}" if self.path else self.message


def problems(error: ValidationError, node: Node | None = None) -> tuple[Problem, ...]:
    """Everything that an attempt to validate a whole MiningProject found, in the models' order.

    `node` is the YAML that was validated, if there is one: it knows what was really written.
    """
    found = [d for d in error.errors(include_url=False) if not _follows_from_another(d)]
    return tuple(problem for details in found for problem in _explain(details, node))


def shown(path: Path) -> str:
    """A path as a person writes it: ``spec.sources[0].search``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").replace("-", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def nearest(given: str, allowed: tuple[str, ...]) -> str | None:
    """The name that was probably meant: a misspelling, another case, snake_case."""
    folded = {_fold(name): name for name in allowed}
    match = difflib.get_close_matches(_fold(given), folded, n=1, cutoff=0.6)
    return folded[match[0]] if match else None


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _follows_from_another(details: ErrorDetails) -> bool:
    """Whether it is only there because something else is wrong, which is said anyway."""
    if details["type"] == "default_factory_not_called":
        return True
    # Of a list only the items that are right count as its length.
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _explain(details: ErrorDetails, node: Node | None) -> Iterator[Problem]:
    path: Path = details["loc"]
    if path and path[-1] == _KEY:
        yield Problem(path[:-2], f"key {_quoted(str(path[-2]))}: {_reason(details)}")
    elif details["type"] == "extra_forbidden":
        yield Problem(path, _unknown_key(path))
    elif details["type"] == "missing":
        yield Problem(path, f"is missing; must be {_allowed(path)}")
    elif isinstance(raised := details.get("ctx", {}).get("error"), RulesBrokenError):
        for broken in raised.broken:
            yield Problem((*path, *broken.path), broken.message)
    elif isinstance(raised, SecretGivenError):
        yield Problem(path, str(raised))
    else:
        given = _given(details["input"], path, node)
        yield Problem(path, f"got {given}; {_reason(details)}{_hint(details, path, given)}")


def _reason(details: ErrorDetails) -> str:
    """What is allowed: a validator's own words, or else what the schema says."""
    raised = details.get("ctx", {}).get("error")
    if isinstance(raised, ValueError):
        return str(raised)
    if details["loc"] and details["loc"][-1] == _KEY:
        return "must be text of 1 to 317 characters"
    return f"must be {_allowed(details['loc'])}"


def _allowed(path: Path) -> str:
    field = schema.at(path)
    assert field is not None, f"no schema at {path}"
    return schema.words(field)


def _given(value: Any, path: Path, node: Node | None) -> str:
    """What was written, short."""
    if node is not None:
        found, exact = node.find(path)
        if exact and found.text:
            return _cut(found.text)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "a section" if value else "an empty section"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)} items" if value else "an empty list"
    if isinstance(value, bool):  # Asked first, since 0 is equal to False.
        return "true" if value else "false"
    return "nothing" if value is None else _cut(str(value))


def _quoted(text: str) -> str:
    return json.dumps(_cut(text), ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _GIVEN_LENGTH else f"{text[: _GIVEN_LENGTH - 1]}…"


def _hint(details: ErrorDetails, path: Path, given: str) -> str:
    field = schema.at(path) or {}
    value = details["input"]
    if details["type"] == "string_type" and isinstance(value, bool | int | float):
        return f'; put it in quotes: "{given}"'
    if details["type"] in {"int_type", "float_type", "bool_type"} and isinstance(value, str):
        zero = "; without a leading zero" if re.fullmatch("[-+]?0[0-9]+", value) else ""
        unquoted = re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?|true|false", value)
        return zero or ("; without quotes" if unquoted else "")
    if details["type"] == "tuple_type" and isinstance(value, str):
        return f"; write [{given}]"
    meant = nearest(value, schema.choices(field)) if isinstance(value, str) else None
    return f"; did you mean {meant}?" if meant and len(schema.choices(field)) > 1 else ""


def _unknown_key(path: Path) -> str:
    name = str(path[-1])
    allowed = tuple((schema.at(path[:-1]) or {}).get("properties", ()))
    meant = nearest(name, allowed)
    if meant:
        return f"unknown key; did you mean {meant}?"
    elsewhere = [
        ".".join(place)
        for place, section in schema.walk()
        if to_camel(name) in section.get("properties", {}) and place
    ]
    # A name of many sections (model, url) would say nothing.
    if len(elsewhere) == 1:
        return f"unknown key; it belongs in {elsewhere[0]}"
    return f"unknown key; allowed here: {', '.join(allowed)}"
