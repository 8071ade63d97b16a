"""dedup: of frames that look alike, across all videos of a wave and earlier ones, one stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from data_miner.stage import Context, Done, Fact, Outcome
from data_miner_worker import columns, given
from data_miner_worker.dedup import Candidate, Status, canonical_order, choose


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame that passed the filter."""

    video_id: str
    source_sha256: str
    frame: int
    pts_seconds: float
    sharpness: float


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: Status
    representative: tuple[str, int] | None = None
    cosine: float | None = None


class Dedup:
    """Decides for one wave; what earlier waves kept stays."""

    name: ClassVar[str] = "dedup"

    def run(self, context: Context) -> Outcome:
        params = context.assignment.params
        frames = _offered(context)
        order = canonical_order(
            [Candidate(f.source_sha256, f.frame, f.video_id, f.sharpness) for f in frames],
            prefer_sharpest=params["prefer"] == "Sharpest",
        )
        frames = [frames[index] for index in order]
        earlier = _kept_earlier(context)
        target = params["target"]
        room = None if target is None else max(0, target - len(earlier))
        if params["model"] is None:
            verdicts = _all_that_fit(len(frames), room)
        else:
            verdicts = _without_duplicates(context, earlier, frames, params["threshold"], room)
        counts = Counter(verdict.status for verdict in verdicts)
        kept_by_video = Counter(
            frame.video_id
            for frame, verdict in zip(frames, verdicts, strict=True)
            if verdict.status is Status.KEPT
        )
        path = context.scratch / "selection.parquet"
        _write(path, frames, verdicts)
        return Done(
            artifacts=(context.publish(path, "selection"),),
            facts={
                "frames": counts[Status.KEPT],
                "duplicates": counts[Status.DUPLICATE],
                "beyond_target": counts[Status.BEYOND_TARGET],
                "kept_by_video": dict(sorted(kept_by_video.items())),
            },
        )


def _offered(context: Context) -> list[_Frame]:
    """The frames of this wave's videos that passed the filter."""
    sources = given.by_video(given.every(context, "extract"))
    frames = []
    for fact in given.every(context, "filter"):
        if fact.wave != context.assignment.wave or fact.video_id is None:
            continue
        if fact.video_id not in sources:
            raise given.missing(context, f"no extract of {fact.video_id}")
        source_sha256 = sources[fact.video_id].facts["source_sha256"]
        scores = given.table(context, fact, "scores")
        columns_ = ("frame", "pts_seconds", "sharpness", "kept")
        for frame, pts_seconds, sharpness, kept in zip(
            *(scores.column(name).to_pylist() for name in columns_), strict=True
        ):
            if kept:
                frames.append(
                    _Frame(fact.video_id, source_sha256, frame, pts_seconds, sharpness or 0.0)
                )
        context.tick()
    return frames


def _kept_earlier(context: Context) -> list[tuple[str, int]]:
    """(video_id, frame) of what earlier waves kept, in the order in which it was kept."""
    wave = context.assignment.wave or 0
    kept = []
    for fact in given.every(context, "dedup"):
        if (fact.wave or 0) < wave:
            selection = given.table(context, fact, "selection")
            rows = zip(
                *(selection.column(n).to_pylist() for n in ("video_id", "frame", "status")),
                strict=True,
            )
            kept += [(video, frame) for video, frame, status in rows if status == Status.KEPT]
    return kept


def _all_that_fit(count: int, room: int | None) -> list[_Verdict]:
    fitting = count if room is None else min(count, room)
    return [_Verdict(Status.KEPT)] * fitting + [_Verdict(Status.BEYOND_TARGET)] * (count - fitting)


def _without_duplicates(
    context: Context,
    earlier: Sequence[tuple[str, int]],
    frames: Sequence[_Frame],
    threshold: float,
    room: int | None,
) -> list[_Verdict]:
    if not frames:
        return []
    names = [*earlier, *((frame.video_id, frame.frame) for frame in frames)]
    values = _vectors(context, names)
    choice = choose(
        values[: len(earlier)], values[len(earlier) :], threshold, room=room, tick=context.tick
    )
    return [
        _Verdict(status) if at < 0 else _Verdict(status, names[int(at)], float(cosine))
        for status, at, cosine in zip(
            choice.statuses, choice.representatives, choice.cosines, strict=True
        )
    ]


def _vectors(context: Context, names: Sequence[tuple[str, int]]) -> NDArray[np.float16]:
    """float16 (len(names), D), in that order."""
    embedded = given.by_video(given.every(context, "dedup_embed"))
    rows_of: dict[str, list[int]] = {}
    for row, (video_id, _) in enumerate(names):
        rows_of.setdefault(video_id, []).append(row)
    values: NDArray[np.float16] | None = None
    for video_id, rows in rows_of.items():
        found = _of_video(context, embedded.get(video_id), video_id, [names[r][1] for r in rows])
        if values is None:
            values = np.empty((len(names), found.shape[1]), np.float16)
        values[rows] = found
        context.tick()
    assert values is not None
    return values


def _of_video(
    context: Context, fact: Fact | None, video_id: str, frames: Sequence[int]
) -> NDArray[np.float16]:
    if fact is None:
        raise given.missing(context, f"no dedup_embed of {video_id}")
    try:
        return given.unit_vectors(context, fact).rows(np.array(frames, np.int32))
    except LookupError as error:
        raise given.missing(context, f"dedup_embed of {video_id}: {error}") from error


def _write(path: Any, frames: Sequence[_Frame], verdicts: Sequence[_Verdict]) -> None:
    columns.write(
        path,
        columns.SELECTION,
        {
            "video_id": [frame.video_id for frame in frames],
            "source_sha256": [frame.source_sha256 for frame in frames],
            "frame": [frame.frame for frame in frames],
            "pts_seconds": [frame.pts_seconds for frame in frames],
            "status": [str(verdict.status) for verdict in verdicts],
            "representative_video_id": [v.representative and v.representative[0] for v in verdicts],
            "representative_frame": [v.representative and v.representative[1] for v in verdicts],
            "cosine": [verdict.cosine for verdict in verdicts],
        },
    )
