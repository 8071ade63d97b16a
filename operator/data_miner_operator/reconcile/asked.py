"""What an object asks for outside of its spec: in its metadata and its annotations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_miner_operator.facts import GROUP

RECONCILE: Final = f"{GROUP}/reconcile"
"""``disabled`` leaves the project alone until the annotation is gone or says something else."""
ADOPT: Final = f"{GROUP}/adopt"
"""``true`` takes over a project that another cluster or the command line has begun."""
RETRY_FAILED: Final = f"{GROUP}/retry-failed"
"""Any text; each new one makes what has failed ready again, once."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What can be read of an object whatever its spec says."""

    uid: str
    generation: int
    resource_version: str
    deleting: bool
    disabled: bool
    adopt: bool
    retry_token: str
    """At most 64 characters; a longer or an odd one is known by its digest. Empty for none."""
    suspend: bool
    """True only if the spec says so outright, valid or not."""
    keeps: bool
    """True only if the spec says outright that its data shall stay, valid or not."""


def asked(obj: Mapping[str, Any]) -> Asked:
    """Read an object as the API server gave it. What is missing or odd counts as not asked for."""
    metadata = _mapping(obj.get("metadata"))
    annotations = _mapping(metadata.get("annotations"))
    spec = _mapping(obj.get("spec"))
    generation = metadata.get("generation")
    return Asked(
        uid=str(metadata.get("uid") or ""),
        generation=generation if isinstance(generation, int) else 0,
        resource_version=str(metadata.get("resourceVersion") or ""),
        deleting=bool(metadata.get("deletionTimestamp")),
        disabled=_word(annotations.get(RECONCILE)) == "disabled",
        adopt=_word(annotations.get(ADOPT)) == "true",
        retry_token=_token(annotations.get(RETRY_FAILED)),
        suspend=spec.get("suspend") is True,
        keeps=spec.get("deletionPolicy") == "Retain",
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _token(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or _TOKEN.fullmatch(text):
        return text
    return "sha256:" + hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
