"""Which URIs a spec may name: the operator's allow-list, judged by whole path segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from data_miner.errors import SpecError


def check_reach(uri: str, allowed_prefixes: str, *, what: str) -> None:
    """Raise SpecError unless `uri` lies at or below one of the prefixes (separated by spaces).

    No prefixes allow everything. Paths are compared after following links and ``..``; in the key
    of an object ``..`` is refused, whatever it would mean to somebody.
    """
    prefixes = allowed_prefixes.split()
    if not prefixes:
        return
    # Some read a file:// URI as it stands, and some after decoding it: both must lie inside.
    readings = {uri, unquote(uri)} if uri.startswith("file://") else {uri}
    bounds = [bound for prefix in prefixes if (bound := _segments(prefix)) is not None]
    if all(_is_inside(reading, bounds) for reading in readings):
        return
    raise SpecError(f"{what}: {uri} is outside of what is allowed here: {', '.join(prefixes)}")


def _is_inside(uri: str, bounds: Sequence[tuple[str, ...]]) -> bool:
    wanted = _segments(uri)
    return wanted is not None and any(wanted[: len(bound)] == bound for bound in bounds)


def _segments(uri: str) -> tuple[str, ...] | None:
    """Scheme, host and path segments; None for what must not be compared at all."""
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"}:
        path = Path(uri if not parts.scheme else parts.path).expanduser().resolve()
        return ("file", "", *path.parts[1:])
    segments = [segment for segment in uri.split("://", 1)[1].split("/")[1:] if segment]
    if any(segment in {".", ".."} for segment in segments) or "%" in parts.netloc:
        return None
    return (parts.scheme.lower(), parts.netloc.lower(), *segments)
