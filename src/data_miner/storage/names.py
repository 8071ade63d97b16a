"""Names inside a store. Every name is made of hexadecimal digits here: none comes from a user."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

OBJECTS = "objects"
CACHE = "cache"
TEMPORARY = ".tmp-"
"""What files that are still being written begin with."""
LEAVING = ".gone-"
"""What an object is called between the sweeper's first and second look at it."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_CHUNK_BYTES = 1 << 20


def object_name(sha256: str, suffix: str) -> str:
    """``objects/aa/<sha256><suffix>``; a suffix that is not plain is left out.

    Raises ValueError when `sha256` is not 64 lower-case hexadecimal digits.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 digest: {sha256!r}")
    kept = suffix if _SUFFIX.fullmatch(suffix) else ""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}{kept}"


def object_digest(name: str) -> str | None:
    """The SHA-256 in an object's file name; None for a name that is no object's."""
    digest = PurePosixPath(name).name.removeprefix(LEAVING)[:64]
    return digest if _SHA256.fullmatch(digest) else None


def cache_name(key: str) -> str:
    """``cache/aa/<sha256 of the key>``: any text is a fit key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{CACHE}/{digest[:2]}/{digest}"


def suffix_of(path: Path | str) -> str:
    """The last suffix in lower case, empty when it is not a plain one."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def digest_of(path: Path, alive: Callable[[], None] = lambda: None) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and size in bytes of a file's content; calls `alive` on the way."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            alive()
    return digest.hexdigest(), size
