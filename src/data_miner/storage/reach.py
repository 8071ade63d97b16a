"""Which URIs a spec may name: the operator's allow-list, judged by whole path segments."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from data_miner.errors import SpecError


def check_reach(uri: str, allowed_prefixes: str, *, what: str) -> None:
    """Raise SpecError unless `uri` lies at or below one of the prefixes (separated by spaces).

    No prefixes allow everything. Paths are compared after following links and ``..``; in the key
    of an object ``..`` is refused, whatever it would mean to somebody.
    """
    prefixes = allowed_prefixes.split()
    if not prefixes:
        return
    wanted = _segments(uri)
    for prefix in prefixes:
        bound = _segments(prefix)
        if wanted is not None and bound is not None and wanted[: len(bound)] == bound:
            return
    raise SpecError(f"{what}: {uri} is outside of what is allowed here: {', '.join(prefixes)}")


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
