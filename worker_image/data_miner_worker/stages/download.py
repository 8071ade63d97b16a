"""download: the source of a video, once for all projects that want it alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from data_miner.stage import Artifact, Context, Done, Outcome, StageError
from data_miner_worker import given, media
from data_miner_worker.download import Instead, Limits, copying, direct, socket_timeout_seconds
from data_miner_worker.download.credentials import cookies

_SUFFIXES: Final = {"mpegts": "ts", "mpeg": "mpg", "matroska": "mkv", "asf": "wmv", "ogg": "ogv"}


@dataclass(frozen=True, slots=True)
class _Fetched:
    path: Path
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Download:
    """Copies a file, or fetches what is behind an address."""

    name: ClassVar[str] = "download"

    def run(self, context: Context) -> Outcome:
        earlier = context.assignment.previous
        if earlier:
            return Done(artifacts=earlier[0].artifacts, facts=dict(earlier[0].facts))
        try:
            fetched = _fetch(context)
        except Instead as instead:
            return instead.outcome
        size = fetched.path.stat().st_size
        try:
            path, probe = _with_usable_times(context, fetched.path)
        except StageError as error:
            raise _about_the_video(error, context, fetched.path) from error
        named = path.rename(context.scratch / f"source.{_suffix(probe.container)}")
        source = context.publish(named, "source", probe.facts())
        context.count("downloads")
        context.count("bytes_downloaded", size)
        return Done(
            artifacts=(source,),
            facts=_facts(source, size),
            records={"video": {"title": fetched.title, "metadata": dict(fetched.metadata)}},
        )


def _about_the_video(error: StageError, context: Context, path: Path) -> StageError:
    """The same failure under the name that the user knows: where the video comes from."""
    video = context.assignment.video
    if video is None:
        return error
    said = str(error).removeprefix(f"{path.name}: ")
    return StageError(error.error_class, f"{video.url}: {said}", permanent=error.permanent)


def _facts(source: Artifact, size: int) -> dict[str, Any]:
    return {"source_sha256": source.sha256, "bytes_downloaded": size, **source.media}


def _fetch(context: Context) -> _Fetched:
    """Raises StageError, Instead."""
    video = context.assignment.video
    if video is None:
        raise given.missing(context, "the video")
    params = context.assignment.params
    limits = Limits(
        max_bytes=params["max_bytes"],
        max_height=params["max_height"],
        cookies=cookies(context),
        timeout_seconds=socket_timeout_seconds(),
        asked=lambda: context.count("requests"),
    )
    target = context.scratch / "fetched"
    if not video.url.startswith(("http://", "https://")):
        if video.source_type != "FILE":
            raise StageError(
                "unsupported_scheme", f"{video.url}: this is no web address", permanent=True
            )
        copying.fetch(video.url, target, limits, context.tick)
        return _Fetched(target)
    # Only who fetches from the web pays for the import of yt-dlp.
    from data_miner_worker.download import sites  # noqa: PLC0415

    if sites.known_page(video.url) is None:
        try:
            direct.fetch(video.url, target, limits, context.tick)
        except direct.NoMediaError:
            target.unlink(missing_ok=True)
        else:
            return _Fetched(target)
    folder = context.scratch / "site"
    folder.mkdir()
    path, about = sites.download(video.url, folder, limits, context.tick)
    return _Fetched(path, about.get("title"), about)


def _with_usable_times(context: Context, path: Path) -> tuple[Path, media.Probe]:
    """The file, rewritten if it was put together from pieces whose clocks each begin anew.

    So its frames can be found without decoding all of them. Raises what media.probe raises.
    """
    probe = media.probe(path)
    if probe.container != "mpegts":
        return path, probe
    before = media.read_times(path, context.tick)
    if before.usable:
        return path, probe
    rewritten = path.with_name("rewritten.mkv")
    media.rewrite(path, rewritten, context.tick)
    after = media.read_times(rewritten, context.tick)
    if not after.usable or after.packets < before.packets:
        return path, probe
    return rewritten, media.probe(rewritten)


def _suffix(container: str) -> str:
    return _SUFFIXES.get(container, container if container.isalnum() else "bin")
