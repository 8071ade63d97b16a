"""What every part of a MiningProject has in common: strict, frozen, and named for YAML and Python.

The models become a Kubernetes schema, so each field is described and bounded, no field is a union
of models, and what a validator refuses is said a second time beside it, for an API server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule between fields that does not hold."""

    path: tuple[str | int, ...]
    """Where, from the model that has the rule, in the YAML's names; empty for the model itself."""
    message: str


class RulesBrokenError(ValueError):
    """One or more rules of one model do not hold."""

    def __init__(self, broken: tuple[Broken, ...]) -> None:
        super().__init__("; ".join(b.message for b in broken))
        self.broken = broken


class SecretGivenError(ValueError):
    """The value holds a secret: it must be shown to nobody."""


@dataclass(frozen=True, slots=True)
class Cel:
    """A rule in the Common Expression Language, as an API server checks it."""

    rule: str
    """True when the value, called `self`, is right; defaults are filled in already."""
    message: str
    """What a person reads when it is not."""
    message_expression: str = ""
    """The message with what was given in it, for texts of few letters: a number written out is
    beyond what a rule may cost."""
    field_path: str = ""
    """The field that is to blame, from the value, as ``.every``; empty for the value itself."""
    reason: str = "FieldValueInvalid"

    def as_schema(self) -> dict[str, Any]:
        """An item of a schema's ``x-kubernetes-validations``."""
        said = {"rule": self.rule, "message": self.message}
        if self.message_expression:
            said["messageExpression"] = self.message_expression
        if self.field_path:
            said["fieldPath"] = self.field_path
        if self.reason != "FieldValueInvalid":  # That is what absent means.
            said["reason"] = self.reason
        return said


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Metadata of a field: what Python checks, and beside it the schema that says the same."""

    check: Callable[[Any], Any]
    """Gives the value back; raises ValueError."""
    schema: Mapping[str, Any]
    """Keys for the field's schema."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), **self.schema}


class SpecModel(BaseModel):
    """A part of a MiningProject: frozen, strict, camelCase in YAML and snake_case in Python.

    As for a Kubernetes API server, a key whose value is null counts as absent, and 5.0 is a whole
    number.
    """

    cel: ClassVar[tuple[Cel, ...]] = ()
    """The rules between fields for an API server: those of `broken_rules`, and what only a cluster
    can know, such as that a value must not change."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        allow_inf_nan=False,
    )

    def broken_rules(self) -> Iterator[Broken]:
        """The rules between fields that do not hold; called when every field is valid by itself."""
        yield from ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        if cls.cel:
            resolved = handler.resolve_ref_schema(schema)
            resolved[VALIDATIONS] = [rule.as_schema() for rule in cls.cel]
        return schema

    @model_validator(mode="before")
    @classmethod
    def _as_an_api_server_reads(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = _whole_by_key(cls)
        return {
            k: int(v) if isinstance(v, float) and known.get(k) and v.is_integer() else v
            for k, v in data.items()
            if v is not None or k not in known
        }

    @model_validator(mode="after")
    def _rules_hold(self) -> SpecModel:
        broken = tuple(self.broken_rules())
        if broken:
            raise RulesBrokenError(broken)
        return self


@cache
def _whole_by_key(model: type[SpecModel]) -> Mapping[str, bool]:
    """Every key that a model knows, under both of its names, and whether it is a whole number."""
    known = {}
    for name, field in model.model_fields.items():
        kinds = set(get_args(field.annotation) or (field.annotation,))
        known[name] = known[str(field.alias)] = kinds - {NoneType} == {int}
    return known
