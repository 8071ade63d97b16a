"""Sentences for people, short enough for a status and harmless to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from data_miner.outside import shown

ELLIPSIS: Final = "…"


def line(text: str, limit_bytes: int) -> str:
    """The text on one line, without secrets and control characters, in so many UTF-8 bytes."""
    return cut(" ".join(shown(text).split()), limit_bytes)


def cut(text: str, limit_bytes: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis; nothing fits in under 3."""
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    room = limit_bytes - len(ELLIPSIS.encode())
    if room < 0:
        return ""
    return encoded[:room].decode(errors="ignore").rstrip() + ELLIPSIS


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of several names, and how many more there are: ``a, b, c and 2 more``."""
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def many(number: int, one: str, more: str) -> str:
    """A number with the right word: ``1 pod``, ``2 pods``."""
    return f"{number} {one if number == 1 else more}"
