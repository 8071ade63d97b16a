"""The only door to yt-dlp: what a site has, and the video behind one of its pages.

yt-dlp runs in this process, which is a task's own. Some sites want a JavaScript runtime for their
best formats; yt-dlp finds one (deno) on the PATH where there is one. Nothing else of the user's is
taken: no plugins, no settings. No other program fetches in its place (ffmpeg, rtmpdump): only what
this process itself connects to can be kept from addresses inside.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yt_dlp
import yt_dlp.networking.exceptions
import yt_dlp.utils
from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.globals import plugin_dirs
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

from data_miner.stage import Skip, StageError
from data_miner_worker.download.direct import read_cookies
from data_miner_worker.download.failures import Instead, for_message, for_status, too_large
from data_miner_worker.download.limits import Limits, Progress
from data_miner_worker.download.reach import guarded

Json = Any
Tick = Callable[[], None]

plugin_dirs.value = []
_NO_FFMPEG: Final = "/nonexistent/ffmpeg"
_KEPT: Final = (
    "id",
    "title",
    "duration",
    "channel",
    "channel_id",
    "uploader",
    "license",
    "tags",
    "categories",
    "upload_date",
    "live_status",
    "age_limit",
    "language",
    "extractor",
    "webpage_url",
)
"""What is worth knowing of a video; descriptions and comments are not kept."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page that one of yt-dlp's extractors is made for."""

    extractor: str
    """Its name, such as ``youtube`` or ``vimeo``."""
    video_id: str | None
    """The site's id of the video where the address says it."""


@cache
def known_page(url: str) -> Page | None:
    """Who is made for this address, asked without the network; None for any other address."""
    for extractor in _extractors():
        if extractor.IE_NAME != "generic" and extractor.suitable(url):
            return Page(extractor.IE_NAME, extractor.get_temp_id(url))
    return None


def download(url: str, folder: Path, limits: Limits, progress: Progress) -> tuple[Path, Json]:
    """Fetch the video behind a page: its picture alone where the site keeps sound apart.

    Returns the file, somewhere in `folder`, and what the site says about the video.

    Raises:
        StageError: as `for_message` and `for_status` name it; ``forbidden_address``.
        Instead: too large, still live, or the site wants us to come later.
    """
    small, web = f"[height<=?{limits.max_height}]", "[protocol!^=rtmp]"
    options = {
        "format": f"bv{small}{web}/b{small}{web}/wv{web}/w{web}",
        "outtmpl": {"default": str(folder / "media.%(ext)s")},
        "paths": {"home": str(folder), "temp": str(folder)},
        "playlist_items": "1",
        "match_filter": _accept(limits),
        "progress_hooks": [_hook(limits, progress)],
        "fixup": "never",
    }
    with _client(url, folder, limits, lambda: progress(None), options) as client:
        info = _first(client.extract_info(url, download=True))
    files = (info or {}).get("requested_downloads") or []
    if not files or not Path(files[0]["filepath"]).is_file():
        raise StageError("not_a_video", f"{url}: there is no video behind it", permanent=True)
    return Path(files[0]["filepath"]), describe(info)


def listing(url: str, limit: int, folder: Path, limits: Limits, tick: Tick) -> list[Json]:
    """The first `limit` videos of a search, channel or playlist, as far as its pages tell.

    `url` may be yt-dlp's ``ytsearchN:words``. Each entry has ``url`` and what `describe` keeps.
    Raises as `download` does.
    """
    options = {"extract_flat": True, "playlistend": limit, "skip_download": True}
    with _client(url, folder, limits, tick, options) as client:
        info = client.extract_info(url, download=False)
        entries = _flat(client, info, limit, tick)
    return entries[:limit]


def metadata(url: str, folder: Path, limits: Limits, tick: Tick) -> Json:
    """All that `describe` keeps of one video, without fetching it. Raises as `download` does."""
    options = {"skip_download": True, "playlist_items": "1", "ignore_no_formats_error": True}
    with _client(url, folder, limits, tick, options) as client:
        info = _first(client.extract_info(url, download=False))
    if not info:
        raise StageError("not_a_video", f"{url}: there is no video behind it", permanent=True)
    return describe(info)


def describe(info: Mapping[str, Json]) -> Json:
    """What is kept of a video's metadata, as JSON."""
    kept = {name: info[name] for name in _KEPT if info.get(name) not in (None, [], "")}
    if "duration" in kept:
        kept["duration_seconds"] = float(kept.pop("duration"))
    if "license" in kept:
        kept["licence"] = kept.pop("license")
    return kept


@cache
def _extractors() -> list[Any]:
    return list(gen_extractor_classes())


@contextmanager
def _client(
    url: str, folder: Path, limits: Limits, tick: Tick, options: Mapping[str, Any]
) -> Iterator[Any]:
    """A yt-dlp that says nothing, writes nowhere else, and whose errors have names."""
    base = {
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "logger": _Logger(tick),
        "noplaylist": True,
        "cachedir": False,
        "socket_timeout": limits.timeout_seconds,
        "retries": 3,
        "extractor_retries": 2,
        "fragment_retries": 5,
        "ffmpeg_location": _NO_FFMPEG,
        "external_downloader": {"default": "native"},
        "hls_prefer_native": True,
        "cookiefile": _own_cookies(limits.cookies, folder),
    }
    # Some questions are asked without the options; what is on the PATH must not answer them.
    FFmpegPostProcessor._ffmpeg_location.set(_NO_FFMPEG)
    with guarded() as guard:
        try:
            with yt_dlp.YoutubeDL({**base, **options}) as client:
                ask = client.urlopen

                def counted(request: Any) -> Any:
                    limits.asked()
                    return ask(request)

                client.urlopen = counted  # extractors and downloaders go through it
                yield client
        except yt_dlp.utils.YoutubeDLError as error:
            guard.check()
            raise _named(error, url) from error
        except OSError as error:
            guard.check()
            raise for_message(str(error), url) from error


def _own_cookies(cookies: Path | None, folder: Path) -> str | None:
    """A copy: yt-dlp writes its file of cookies when it ends."""
    if cookies is None:
        return None
    read_cookies(cookies)
    own = folder / "cookies.txt"
    shutil.copyfile(cookies, own)
    own.chmod(0o600)
    return str(own)


def _named(error: Exception, url: str) -> Exception:
    cause: Any = error
    for _ in range(6):
        if isinstance(cause, yt_dlp.networking.exceptions.HTTPError):
            status = for_status(cause.status, dict(cause.response.headers), url)
            # A site's own words say more than "forbidden".
            return for_message(str(error), url) if cause.status == 403 else status
        if isinstance(cause, yt_dlp.utils.GeoRestrictedError):
            return StageError("geo_blocked", f"{url}: not shown from here", permanent=True)
        if isinstance(cause, yt_dlp.utils.UserNotLive):
            return Instead(Skip("Live: the channel is not live"))
        if isinstance(cause, yt_dlp.utils.UnsupportedError):
            return StageError(
                "not_a_video", f"{url}: this is a page without a video", permanent=True
            )
        cause = getattr(cause, "exc_info", [None] * 2)[1] or getattr(cause, "cause", None)
        if cause is None:
            break
    return for_message(str(error), url)


def _accept(limits: Limits) -> Callable[..., None]:
    def decide(info: Mapping[str, Any], *, incomplete: bool = False) -> None:
        del incomplete
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise Instead(Skip("Live: the stream is not over"))
        size = info.get("filesize")
        if size and limits.max_bytes is not None and size > limits.max_bytes:
            raise too_large(size, limits.max_bytes)

    return decide


def _hook(limits: Limits, progress: Progress) -> Callable[[Mapping[str, Any]], None]:
    def told(status: Mapping[str, Any]) -> None:
        done = status.get("downloaded_bytes") or 0
        total = status.get("total_bytes")
        if limits.max_bytes is not None and max(done, total or 0) > limits.max_bytes:
            raise too_large(max(done, total or 0), limits.max_bytes)
        total = total or status.get("total_bytes_estimate")
        progress(min(done / total, 1.0) if total else None)

    return told


def _first(info: Json) -> Json:
    """A page with several videos counts for its first."""
    while info and "entries" in info:
        info = next((entry for entry in info["entries"] if entry), None)
    return info


def _flat(client: Any, info: Json, limit: int, tick: Tick) -> list[Json]:
    """Entries of a listing; a channel's tabs are lists themselves."""
    found: list[Json] = []
    if not info:
        return found
    if "entries" not in info:
        url = info.get("url") or info.get("webpage_url")
        return [{**describe(info), "url": url}] if url else found
    for entry in info["entries"]:
        tick()
        if len(found) >= limit:
            break
        if entry and entry.get("_type") == "playlist":
            found += _flat(client, entry, limit - len(found), tick)
        elif entry and entry.get("url"):
            found.append({**describe(entry), "url": entry["url"]})
    return found


class _Logger:
    """Every line that yt-dlp says is a sign of life."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick

    def debug(self, _: str) -> None:
        self._tick()

    info = warning = error = debug
