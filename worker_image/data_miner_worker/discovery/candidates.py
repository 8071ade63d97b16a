"""What discovery knows of a video, on its way to the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A video that a source has."""

    video_id: str
    url: str
    source_type: str
    """``SEARCH`` for what a site found, ``URL`` for a channel's or playlist's, ``MANUAL`` for an
    address that the project names, ``FILE`` for files and for addresses out of one."""
    source_info: str | None = None
    """The words, page or place that led to it."""
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unusable: str | None = None
    """A reason that is known already why it cannot be taken."""
    on_page: bool = False
    """Whether a site can be asked for more about it."""

    def record(self, rank: int, query: str | None, skip_reason: str | None) -> dict[str, Any]:
        """As the catalogue takes it."""
        return {
            "video_id": self.video_id,
            "url": self.url,
            "source_type": self.source_type,
            "source_info": self.source_info,
            "title": self.title,
            "metadata": dict(self.metadata),
            "rank": rank,
            "query": query,
            "skip_reason": skip_reason,
        }
