"""cut: the frames that a wave keeps of a video, as images in the source's own size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from data_miner.stage import Artifact, Context, Done, Outcome, StageError
from data_miner.storage.store import named_failures
from data_miner_worker import given, media


class Cut:
    """Goes back to the source for the few frames that are worth it."""

    name: ClassVar[str] = "cut"

    def run(self, context: Context) -> Outcome:
        with named_failures(f"cut of {context.assignment.subject}"):
            return _images(context)


def _images(context: Context) -> Outcome:
    source = given.artifact(given.only(context, "download"), "source")
    times, chosen_from = _kept(context)
    images = _borrow(context, chosen_from, times)
    reused = len(images)
    missing = sorted(times.keys() - images.keys())
    failed: list[dict[str, Any]] = []
    if missing and source.sha256 != chosen_from:
        # A lost source was fetched again, and its site has another one by now.
        reason = "the source that it was chosen from is not there any more"
        failed = [{"frame": frame, "reason": reason} for frame in missing]
    elif missing:
        for frame, image in _cut(context, context.fetch(source), missing, times):
            if isinstance(image, Artifact):
                images[frame] = image
            else:
                failed.append({"frame": frame, "reason": image})
    context.count("frames_cut", len(images) - reused)
    return Done(
        artifacts=tuple(images[frame] for frame in sorted(images)),
        facts={
            "frames": len(images),
            "source_sha256": chosen_from,
            "failed": failed,
            "reused": reused,
        },
    )


def _kept(context: Context) -> tuple[dict[int, float], str]:
    """The frames of this video that the wave keeps, when each is shown (seconds), and the SHA-256
    of the source that they were chosen from."""
    video = context.assignment.video
    if video is None:
        raise given.missing(context, "the video")
    table = given.table(context, given.only(context, "dedup"), "selection")
    rows = [
        row
        for row in table.to_pylist()
        if row["video_id"] == video.video_id and row["status"] == "kept"
    ]
    if not rows:
        raise given.missing(context, f"no kept frame of {video.video_id}")
    return {row["frame"]: row["pts_seconds"] for row in rows}, rows[0]["source_sha256"]


def _borrow(context: Context, source_sha256: str, times: dict[int, float]) -> dict[int, Artifact]:
    """Images that were cut out of the same content before, as far as they are still there."""
    images: dict[int, Artifact] = {}
    for fact in context.assignment.previous:
        if fact.facts.get("source_sha256") != source_sha256:
            continue
        for image in fact.artifacts:
            frame = image.media.get("frame")
            if image.kind == "image" and frame in times and frame not in images:
                try:
                    context.fetch(image)
                except StageError:
                    continue  # lost or damaged: it is cut anew
                images[frame] = image
    return images


def _cut(
    context: Context, path: Path, frames: list[int], times: dict[int, float]
) -> Iterator[tuple[int, Artifact | str]]:
    """The image of each frame, or why there is none."""
    video, params = context.assignment.video, context.assignment.params
    assert video is not None
    timeline = media.read_timeline(path, context.tick)
    there = [frame for frame in frames if frame < len(timeline)]
    for frame in frames[len(there) :]:
        yield frame, f"the source has only {len(timeline)} frames"
    suffix = "png" if params["format"] == "PNG" else "jpg"
    pictures = media.pictures(path, timeline, there, tick=context.tick, count=context.count)
    for number, picture in enumerate(pictures, start=1):
        context.tick(number / len(frames))
        if picture.rgb is None:
            yield picture.frame, "it cannot be decoded"
            continue
        file = context.scratch / f"{video.video_id}_{picture.frame:06d}.{suffix}"
        file.write_bytes(media.encode_image(picture.rgb, params["format"], params["quality"]))
        height, width = picture.rgb.shape[:2]
        yield (
            picture.frame,
            context.publish(
                file,
                "image",
                {
                    "frame": picture.frame,
                    "pts_seconds": times[picture.frame],
                    "width": width,
                    "height": height,
                },
            ),
        )
