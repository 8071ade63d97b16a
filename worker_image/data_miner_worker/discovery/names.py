"""Ids of videos: at most 64 characters of A-Z, a-z, 0-9, _ and -; pure functions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final
from urllib.parse import unquote, urlsplit

LONGEST: Final = 64
_SLUG_LONGEST: Final = 40
EDGE_BYTES: Final = 64 * 1024
"""How much of a file's beginning and of its end goes into its id."""


def file_id(name: str, size: int, head: bytes, tail: bytes) -> str:
    """Id of a file by its name and content; where it lies does not matter.

    `head` and `tail` are its first and last EDGE_BYTES, or all of it when it is smaller.
    """
    digest = hashlib.sha256(f"{size}:".encode() + head + tail)
    return f"{slug(_stem(name))}-{digest.hexdigest()[:8]}"


def url_id(url: str) -> str:
    """Id of a video behind a plain address."""
    try:
        path = urlsplit(url).path
    except ValueError:  # no address at all, which its candidate says
        path = ""
    name = unquote(path).rstrip("/").rpartition("/")[2]
    return f"{slug(_stem(name))}-{_digest8(url)}"


def site_id(extractor: str, video_id: str) -> str:
    """Id of a video on a site: YouTube's as it is, others with the site's name before it."""
    wanted = video_id if extractor == "youtube" else f"{extractor}-{video_id}"
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted)
    if plain == wanted and len(plain) <= LONGEST:
        return plain
    # The site's name may lose its dots; what makes two ids of a site differ must not be lost.
    if (
        plain == f"{re.sub(r'[^A-Za-z0-9_-]+', '-', extractor)}-{video_id}"
        and len(plain) <= LONGEST
    ):
        return plain
    return f"{plain[: LONGEST - 9]}-{_digest8(wanted)}"


def slug(text: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens, at most 40; ``video`` for nothing."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    return plain[:_SLUG_LONGEST].strip("-") or "video"


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def _digest8(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
