"""How far a project is and when it may be done: coarse, and calm while nothing happens."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from data_miner.catalog.counts import StageCount
from data_miner.catalog.progress import Progress
from data_miner.pipeline import BY_NAME, Scope

TOLERANCE: Final = 0.1
"""A time of arrival stays as it is while the new one differs by less than this share of what is
left."""
_STEPS_SECONDS: Final = ((600, 60), (7_200, 300), (86_400, 1_800))
"""Rounded to so many seconds when less than so many are left; to the hour otherwise."""
_MOST_SECONDS: Final = 365 * 86_400.0


def images_kept(progress: Progress) -> int | None:
    """Images that the dataset would have by now; None for a project that judges no frames."""
    names = {stage.stage for stage in progress.stages}
    if "dedup" in names:
        return progress.funnel.unique
    return progress.funnel.passed if "filter" in names else None


def videos_ended(progress: Progress) -> int:
    """Videos that went through their own stages, were skipped or have failed."""
    own = [stage for stage in progress.stages if BY_NAME[stage.stage].scope is Scope.VIDEO]
    if not own:
        return 0
    stopped_before = own[0].total - own[-1].total
    return max(0, min(own[0].total, stopped_before + _ended(own[-1])))


def percent(progress: Progress, target_images: int | None, *, complete: bool) -> int:
    """0 to 100, where 100 is for a complete project alone.

    The greater one of two shares counts, since either ends the mining: of the videos that have
    ended, and of the images wanted that are kept.
    """
    if complete:
        return 100
    selected = progress.funnel.selected
    shares = [videos_ended(progress) / selected if selected else 0.0]
    if target_images:
        shares.append((images_kept(progress) or 0) / target_images)
    return max(0, min(99, math.floor(100 * max(shares))))


def seconds_left(progress: Progress, target_images: int | None) -> float | None:
    """Time until all is done at the present width; None when nothing runs or nothing is known.

    What a video has cost so far, all stages together, is what each one to come will cost.
    """
    running = sum(stage.running for stage in progress.stages)
    ended = videos_ended(progress)
    spent = sum(s.done * s.mean_seconds for s in progress.stages if s.mean_seconds is not None)
    if not running or not ended or not spent:
        return None
    left = float(max(0, progress.funnel.selected - ended))
    kept = images_kept(progress)
    if target_images and kept:
        left = min(left, ended * max(0, target_images - kept) / kept)
    ending = sum(s.left * s.mean_seconds for s in progress.stages if s.mean_seconds is not None)
    return min(_MOST_SECONDS, max(left * spent / ended, ending) / running)


def arrival(left_seconds: float | None, before: datetime | None, now: datetime) -> datetime | None:
    """The time of arrival to show, given the one that is shown now.

    While nothing runs the old one stays until it has passed: an idle project writes nothing.
    """
    if before is not None and before <= now:
        before = None
    if left_seconds is None:
        return before
    new = now + timedelta(seconds=left_seconds)
    if before is not None and abs((new - before).total_seconds()) <= TOLERANCE * left_seconds:
        return before
    step = next((step for limit, step in _STEPS_SECONDS if left_seconds < limit), 3_600)
    rounded = math.ceil(new.timestamp() / step) * step
    shown = datetime.fromtimestamp(rounded, UTC)
    # Rounding makes more of a difference than the tolerance when little is left.
    if before is not None and abs((shown - before).total_seconds()) <= step:
        return before
    return shown


def _ended(stage: StageCount) -> int:
    return stage.done + stage.skipped + stage.failed
