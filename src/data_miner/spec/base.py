"""What every part of a MiningProject has in common: strict, frozen, and named for YAML and Python.

The models become a Kubernetes schema, so each field is described and bounded, and no field is a
union of models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


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


class SpecModel(BaseModel):
    """A part of a MiningProject: frozen, strict, camelCase in YAML and snake_case in Python.

    A key whose value is null counts as absent, as it does for a Kubernetes API server.
    """

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

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = set(cls.model_fields) | {str(f.alias) for f in cls.model_fields.values()}
        return {k: v for k, v in data.items() if v is not None or k not in known}

    @model_validator(mode="after")
    def _rules_hold(self) -> SpecModel:
        broken = tuple(self.broken_rules())
        if broken:
            raise RulesBrokenError(broken)
        return self
