"""Kinds of text: each bounded, with a pattern for the schema and words for a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from data_miner.spec.base import VALIDATIONS, Cel, Checked, SecretGivenError


def matches(pattern: str, says: str) -> Checked:
    """A pattern, and what it means for a person: `says` follows "must be".

    The pattern is anchored with ^ and $, in the part of the syntax that Python and RE2 share.
    """

    def check(value: str) -> str:
        # `$` alone would let a trailing line break pass.
        if not re.fullmatch(pattern[1:-1], value):
            raise ValueError(f"must be {says}")
        return value

    return Checked(check, {"pattern": pattern})


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about a text, said for Python and for an API server."""

    holds: Callable[[str], bool]
    cel: str
    message: str


def follows(*rules: Rule) -> Checked:
    """Several rules; the first that does not hold is what a person reads."""

    def check(value: str) -> str:
        for rule in rules:
            if not rule.holds(value):
                raise ValueError(rule.message)
        return value

    return Checked(check, {VALIDATIONS: [Cel(r.cel, r.message).as_schema() for r in rules]})


_NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"
_VISIBLE: Final = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
_VISIBLE_SAYS: Final = "text on one line that neither starts nor ends with a space"

Text = Annotated[str, Field(min_length=1, max_length=300), matches(_VISIBLE, _VISIBLE_SAYS)]
"""A phrase that a person wrote: a prompt, a search."""

Word = Annotated[str, Field(min_length=1, max_length=100), matches(_VISIBLE, _VISIBLE_SAYS)]
"""A tag or the name of a licence."""

DnsLabel = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
    ),
]

SecretName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matches(
        r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        "lower-case letters, digits, hyphens and dots, with a letter or digit at both ends",
    ),
]

ModelName = Annotated[
    str,
    Field(min_length=1, max_length=100),
    matches(
        r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$",
        "the name of a model card: lower-case letters, digits, dots, hyphens and underscores",
    ),
]

ClassName = Annotated[
    str,
    Field(min_length=1, max_length=100),
    matches(
        r"^[A-Za-z0-9]([A-Za-z0-9 _.-]*[A-Za-z0-9_])?$",
        "letters, digits, spaces, hyphens, dots and underscores, starting with a letter or digit",
    ),
]

LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=317),
    matches(
        r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
        "a Kubernetes label key, such as team or example.com/team",
    ),
]

LabelValue = Annotated[
    str,
    Field(max_length=63),
    matches(
        r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$",
        "a Kubernetes label value: at most 63 letters, digits, hyphens, dots and underscores",
    ),
]

AnnotationValue = Annotated[str, Field(max_length=65_536)]


_URL: Final = r"^https?://[^/?#@\x00-\x20\x7f]+([/?#][^\x00-\x20\x7f]*)?$"
_URL_SAYS: Final = "a web address that starts with http:// or https://"


def _address(url: str) -> str:
    if re.fullmatch(_URL[1:-1], url):
        return url
    if re.match("[^/?#]*//[^/?#]*@", url):
        raise SecretGivenError(
            "must not hold a user name or password: "
            "put them in a credential and name it in spec.download.secretRef"
        )
    if "@" in url:  # What stands before it may be a password all the same.
        raise SecretGivenError(f"must be {_URL_SAYS}")
    raise ValueError(f"must be {_URL_SAYS}")


Url = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    # Not in CEL: there may be a million of them, which is beyond what its rules may cost.
    Checked(_address, {"pattern": _URL}),
]
"""A web address without a user name or password. What is refused is not repeated if it may hold
one."""

Path = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matches(_NO_CONTROL, "a path without line breaks or control characters"),
]

_SCHEMES: Final = ("file://", "s3://", "gs://")

_LOCATION: Final = (
    Rule(
        lambda text: "://" not in text or text.startswith(_SCHEMES),
        "!self.contains('://') || self.startsWith('file://') || self.startsWith('s3://') "
        "|| self.startsWith('gs://')",
        "must be a path or start with file://, s3:// or gs://",
    ),
    Rule(
        lambda text: "://" not in text or ".." not in text.split("/"),
        "!self.matches('://(.*/)?[.][.](/|$)')",
        'must not hold ".." after file://, s3:// or gs://',
    ),
    Rule(
        lambda text: "://" not in text or "::" not in text,
        "!self.matches('://.*::')",
        'must not hold "::" after file://, s3:// or gs://',
    ),
    Rule(
        lambda text: not text.startswith("file://") or text.startswith("file:///"),
        "!self.startsWith('file://') || self.startsWith('file:///')",
        "must say where: file:///folder/",
    ),
    Rule(
        lambda text: not re.fullmatch("(s3|gs)://+", text),
        "!self.matches('^(s3|gs)://+$')",
        "must say where: s3://bucket/ or gs://bucket/",
    ),
)

Location = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matches(_NO_CONTROL, "a path or URI without line breaks or control characters"),
    follows(*_LOCATION),
]
"""A folder or file: file://, s3://, gs:// or a plain path."""
