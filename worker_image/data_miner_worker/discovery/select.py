"""Which videos are wanted, judged on what is known of them: pure functions.

What is not known lets a video pass, except a licence where only some are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

Select = Mapping[str, Any]
"""A project's ``select`` section: its fields in snake_case, durations in seconds."""
Metadata = Mapping[str, Any]
"""``duration_seconds``, ``licence``, ``tags``, ``live_status``; what is not there is not known."""

_ON_AIR: Final = frozenset({"is_live", "is_upcoming"})


def skip_reason(select: Select, title: str | None, metadata: Metadata) -> str | None:
    """Why a video is left out, as a CamelCase word and words; None when it is wanted."""
    return (
        _duration(select["duration"], metadata.get("duration_seconds"))
        or _live(select["live"], metadata.get("live_status"))
        or _licence(select["licences"], metadata.get("licence"))
        or _words("ExcludedTag", select["exclude_tags"], metadata.get("tags") or ())
        or _words("ExcludedTitle", select["exclude_title"], [title or ""])
    )


def needs_more(select: Select, title: str | None, metadata: Metadata) -> bool:
    """Whether `select` asks for something that is not known of a video yet."""
    bounds = select["duration"]
    return (
        (bool(bounds["min"] or bounds["max"]) and "duration_seconds" not in metadata)
        or (bool(select["licences"]) and "licence" not in metadata)
        or (bool(select["exclude_tags"]) and "tags" not in metadata)
        or (bool(select["exclude_title"]) and not title)
    )


def _duration(bounds: Mapping[str, float | None], seconds: float | None) -> str | None:
    shortest, longest = bounds["min"], bounds["max"]
    if seconds is None:
        return None
    if shortest is not None and seconds < shortest:
        return f"TooShort: {seconds:g} s, at least {shortest:g} s"
    if longest is not None and seconds > longest:
        return f"TooLong: {seconds:g} s, at most {longest:g} s"
    return None


def _live(wanted: str, status: str | None) -> str | None:
    return "Live: the stream is not over" if wanted == "Skip" and status in _ON_AIR else None


def _licence(allowed: Iterable[str], licence: str | None) -> str | None:
    names = list(allowed)
    if not names:
        return None
    if not licence:
        return f"Licence: unknown, allowed are {', '.join(names)}"
    if any(_is_licence(name, licence) for name in names):
        return None
    return f"Licence: {licence}, allowed are {', '.join(names)}"


def _is_licence(name: str, licence: str) -> bool:
    """Whether a site's words mean the licence that a person named, such as creativeCommon."""
    wanted, given = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (name, licence))
    if wanted.startswith("creativecommon") and given.startswith("cc"):
        return True
    return bool(wanted) and given.startswith(wanted)


def _words(reason: str, excluded: Iterable[str], texts: Iterable[str]) -> str | None:
    """Whole words, in their order, without regard to case: cover does not match discover."""
    spoken = [tokens(text) for text in texts]
    for phrase in excluded:
        wanted = tokens(phrase)
        if wanted and any(_contains(words, wanted) for words in spoken):
            return f"{reason}: {phrase}"
    return None


def tokens(text: str) -> list[str]:
    """The words of a text, for comparing."""
    return re.findall(r"\w+", text.casefold())


def _contains(words: list[str], wanted: list[str]) -> bool:
    width = len(wanted)
    return any(words[at : at + width] == wanted for at in range(len(words) - width + 1))
