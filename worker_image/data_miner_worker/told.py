"""What the catalogue tells an export about the project: for people, outside of the digest.

One pseudo result of the stage ``report`` carries it. Every part may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from data_miner.stage import Context


@dataclass(frozen=True, slots=True)
class ToldVideo:
    """Where a video came from.

    Attributes:
        title: as its site shows it; written by strangers.
        metadata: what discovery and download learnt: licence, channel, uploader, upload_group …
    """

    url: str | None = None
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What failed, or was passed over, for one reason.

    Attributes:
        reason: an error class, or the first word of a reason to skip.
        example: what one of them said; may hold text of strangers.
        failed: False for what was passed over on purpose.
    """

    stage: str
    reason: str
    count: int
    example: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Told:
    """Figures of the project at the time of the export.

    Attributes:
        funnel: how many were left after each step, by the step's name, in order.
        troubles: failures, then what was skipped, each in the catalogue's order.
        costs: totals by name: bytes_downloaded, cpu_seconds, frames_decoded …
        videos: by video_id.
    """

    funnel: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    videos: Mapping[str, ToldVideo] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context) -> Self:
        """What this export was told; unknown parts are passed over."""
        facts = next(iter(context.assignment.inputs.get("report", ())), None)
        given: Mapping[str, Any] = facts.facts if facts else {}
        return cls(
            funnel=_numbers(given.get("funnel")),
            troubles=(
                *_troubles(given.get("failures_by_class"), "error_class", "error", failed=True),
                *_troubles(given.get("skipped"), "reason", "message", failed=False),
            ),
            # A largest value (max_rss_mb) is no cost: it must not be added up or divided.
            costs={
                name: value
                for name, value in _numbers(given.get("costs")).items()
                if not name.startswith("max_")
            },
            videos={
                str(name): ToldVideo(one.get("url"), one.get("title"), one.get("metadata") or {})
                for name, one in (given.get("videos") or {}).items()
            },
        )

    @property
    def upload_groups(self) -> dict[str, str]:
        """By video_id, where somebody said that videos belong together."""
        groups = {name: one.metadata.get("upload_group") for name, one in self.videos.items()}
        return {name: str(group) for name, group in groups.items() if group}


def _troubles(rows: Any, reason: str, example: str, *, failed: bool) -> list[Trouble]:
    return [
        Trouble(
            stage=str(row.get("stage", "")),
            reason=str(row.get(reason, "")),
            count=int(row.get("count", 0)),
            example=" ".join(f"{row.get('subject') or ''}: {row.get(example) or ''}".split()),
            failed=failed,
        )
        for row in rows or ()
    ]


def _numbers(value: Any) -> dict[str, Any]:
    """The numbers of a mapping; anything else in it is passed over."""
    if not isinstance(value, Mapping):
        return {}
    return {
        str(name): number
        for name, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool)
    }
