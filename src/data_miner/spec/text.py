"""Kinds of text: each bounded, with a pattern for the schema and words for a person."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from data_miner.spec.base import SecretGivenError


@dataclass(frozen=True, slots=True)
class Matches:
    """Metadata of a text field: a pattern for the schema, and what it means for a person."""

    pattern: str
    """Anchored with ^ and $, in the part of the syntax that Python and RE2 share."""
    says: str
    """Follows "must be"."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, value: str) -> str:
        # `$` alone would let a trailing line break pass.
        if not re.fullmatch(self.pattern[1:-1], value):
            raise ValueError(f"must be {self.says}")
        return value


_NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"
_VISIBLE: Final = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
_VISIBLE_SAYS: Final = "text on one line that neither starts nor ends with a space"

Text = Annotated[str, Field(min_length=1, max_length=300), Matches(_VISIBLE, _VISIBLE_SAYS)]
"""A phrase that a person wrote: a prompt, a search."""

Word = Annotated[str, Field(min_length=1, max_length=100), Matches(_VISIBLE, _VISIBLE_SAYS)]
"""A tag or the name of a licence."""

DnsLabel = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
    ),
]

SecretName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        "lower-case letters, digits, hyphens and dots, with a letter or digit at both ends",
    ),
]

ModelName = Annotated[
    str,
    Field(min_length=1, max_length=100),
    Matches(
        r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$",
        "the name of a model card: lower-case letters, digits, dots, hyphens and underscores",
    ),
]

ClassName = Annotated[
    str,
    Field(min_length=1, max_length=100),
    Matches(
        r"^[A-Za-z0-9]([A-Za-z0-9 _.-]*[A-Za-z0-9_])?$",
        "letters, digits, spaces, hyphens, dots and underscores, starting with a letter or digit",
    ),
]

LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=317),
    Matches(
        r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
        "a Kubernetes label key, such as team or example.com/team",
    ),
]

LabelValue = Annotated[
    str,
    Field(max_length=63),
    Matches(
        r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$",
        "a Kubernetes label value: at most 63 letters, digits, hyphens, dots and underscores",
    ),
]

AnnotationValue = Annotated[str, Field(max_length=65_536)]


def _no_password(url: str) -> str:
    if "@" in url.split("/")[2]:
        raise SecretGivenError(
            "must not hold a user name or password: "
            "put them in a credential and name it in spec.download.secretRef"
        )
    return url


Url = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    Matches(
        r"^https?://[^/?#\x00-\x20\x7f]+([/?#][^\x00-\x20\x7f]*)?$",
        "a web address that starts with http:// or https://",
    ),
    AfterValidator(_no_password),
]


def _reachable(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if separator and scheme not in {"file", "s3", "gs"}:
        raise ValueError("must be a path or start with file://, s3:// or gs://")
    if separator and ".." in rest.split("/"):
        raise ValueError('must not hold ".." after file://, s3:// or gs://')
    if separator and "::" in rest:
        raise ValueError('must not hold "::" after file://, s3:// or gs://')
    if separator and not (rest.startswith("/") if scheme == "file" else rest.strip("/")):
        example = {"file": "file:///folder/", "s3": "s3://bucket/", "gs": "gs://bucket/"}[scheme]
        raise ValueError(f"must say where: {example}")
    return value


Path = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Matches(_NO_CONTROL, "a path without line breaks or control characters"),
]

Location = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Matches(_NO_CONTROL, "a path or URI without line breaks or control characters"),
    AfterValidator(_reachable),
]
"""A folder or file: file://, s3://, gs:// or a plain path."""
