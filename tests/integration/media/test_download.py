"""download as a stage, against files and a real web server: one clear class for each failure."""

from __future__ import annotations

import http.cookies
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_miner.stage import Done, Later, Outcome, Skip, StageError, StopRequested, Video
from data_miner_worker import media
from data_miner_worker.download import Limits, reach, sites
from data_miner_worker.stages.download import Download
from support.context import Bench, StageContext
from support.http import WebServer
from support.media import H264, H264_TS, VP9, clip, cut_off, sound_only

ANY: dict[str, Any] = {"max_height": 1080, "max_bytes": None, "credential": None}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server that downloads may reach although it is on this machine."""
    monkeypatch.setenv("DATA_MINER_ALLOW_PRIVATE_ADDRESSES", "1")
    monkeypatch.setenv("DATA_MINER_SOCKET_TIMEOUT_SECONDS", "0.5")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with WebServer() as server:
        yield server


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small video."""
    return clip(tmp_path_factory.mktemp("film") / "film", VP9, frames=30)


def _context(tmp_path: Path, url: str, **params: Any) -> StageContext:
    more = {name: params.pop(name) for name in ("credential_files",) if name in params}
    video = Video("clip-1", url, "FILE" if url.startswith("file:") else "MANUAL")
    return Bench(tmp_path / "bench", video).context(
        "download", {**ANY, **params}, credential=more.get("credential_files", {})
    )


def _run(tmp_path: Path, url: str, **params: Any) -> Outcome:
    return Download().run(_context(tmp_path, url, **params))


def _failure(tmp_path: Path, url: str, **params: Any) -> tuple[str, bool]:
    with pytest.raises(StageError) as caught:
        _run(tmp_path, url, **params)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return caught.value.error_class, caught.value.permanent


def test_a_file_is_copied_and_described(tmp_path: Path, film: Path) -> None:
    """The source artifact has the file's content and its facts; the original is not linked."""
    context = _context(tmp_path, film.as_uri())
    done = Download().run(context)
    assert isinstance(done, Done)
    (source,) = done.artifacts
    stored = context.fetch(source)
    assert stored.read_bytes() == film.read_bytes()
    assert not stored.samefile(film)
    assert film.stat().st_nlink == 1
    assert dict(source.media) == {
        "container": "webm",
        "codec": "vp9",
        "width": 128,
        "height": 72,
        "frame_rate": 30.0,
        "duration_seconds": 1.0,
    }
    assert done.facts["source_sha256"] == source.sha256
    assert context.counters == {"downloads": 1, "bytes_downloaded": film.stat().st_size}


def test_what_was_fetched_for_another_project_is_not_fetched_again(
    tmp_path: Path, film: Path, web: WebServer
) -> None:
    """A taller or equal download serves: no request, no counter."""
    url = web.put("/film.webm", film)
    bench = Bench(tmp_path / "bench", Video("clip-1", url, "MANUAL"))
    first_context = bench.context("download", ANY)
    first = Download().run(first_context)
    assert isinstance(first, Done)
    lent = bench.fact(first_context, first)
    context = bench.context("download", {**ANY, "max_height": 480}, previous=(lent,))
    second = Download().run(context)
    assert isinstance(second, Done)
    assert second.artifacts == first.artifacts
    assert second.facts == first.facts
    assert not context.counters
    assert web.gets["/film.webm"] == 1


def test_a_direct_address_is_fetched_exactly_once(
    tmp_path: Path, film: Path, web: WebServer
) -> None:
    """One GET, every byte once, no probing request before."""
    context = _context(tmp_path, web.put("/film.webm", film))
    done = Download().run(context)
    assert isinstance(done, Done)
    assert (web.gets["/film.webm"], web.heads["/film.webm"]) == (1, 0)
    assert context.counters["requests"] == 1
    assert web.bytes_sent["/film.webm"] == film.stat().st_size
    assert context.fetch(done.artifacts[0]).read_bytes() == film.read_bytes()
    assert any(progress == 1.0 for progress, _ in context.ticks)


def test_a_broken_connection_is_taken_up_where_it_broke(
    tmp_path: Path, film: Path, web: WebServer
) -> None:
    """The second request asks for the rest alone, and only if it is still the same file."""
    half = film.stat().st_size // 2
    url = web.put("/film.webm", film, cut_after=half, headers={"ETag": '"one"'})
    context = _context(tmp_path, url)
    done = Download().run(context)
    assert isinstance(done, Done)
    assert context.fetch(done.artifacts[0]).read_bytes() == film.read_bytes()
    _, again = web.headers["/film.webm"]
    assert context.counters["requests"] == 2
    start = int(again["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= half
    assert again["If-Range"] == '"one"'
    assert web.bytes_sent["/film.webm"] == film.stat().st_size - start


def test_a_server_without_ranges_is_asked_for_all_again(
    tmp_path: Path, film: Path, web: WebServer
) -> None:
    """The beginning is not kept twice."""
    url = web.put("/film.webm", film, cut_after=500, ranges=False)
    context = _context(tmp_path, url)
    done = Download().run(context)
    assert isinstance(done, Done)
    assert context.fetch(done.artifacts[0]).read_bytes() == film.read_bytes()


def test_a_redirect_is_followed(tmp_path: Path, film: Path, web: WebServer) -> None:
    """To the file, once."""
    web.put("/film.webm", film)
    url = web.put("/moved", status=302, headers={"Location": "/film.webm"})
    assert isinstance(_run(tmp_path, url), Done)
    assert web.gets["/film.webm"] == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, ("not_found", True)),
        (410, ("not_found", True)),
        (403, ("denied", True)),
        (500, ("server_error", False)),
    ],
)
def test_statuses_become_classes(
    tmp_path: Path, web: WebServer, status: int, expected: tuple[str, bool]
) -> None:
    """And the server is asked once, not until it gives in."""
    url = web.put("/film.mp4", b"no", status=status)
    assert _failure(tmp_path, url) == expected
    assert web.gets["/film.mp4"] == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttling_site_means_later(tmp_path: Path, web: WebServer, status: int) -> None:
    """As long as it says, and no attempt is used."""
    url = web.put("/film.mp4", b"", status=status, headers={"Retry-After": "120"})
    outcome = _run(tmp_path, url)
    assert isinstance(outcome, Later)
    assert (outcome.seconds, outcome.reason.split(":")[0]) == (120, "throttled")


def test_a_silent_server_is_a_timeout(tmp_path: Path, web: WebServer) -> None:
    """It may be tried again."""
    assert _failure(tmp_path, web.put("/film.mp4", silent=True)) == ("timeout", False)


def test_nobody_listening_is_unreachable(tmp_path: Path, web: WebServer) -> None:
    """It may be tried again."""
    web.__exit__(None, None, None)
    assert _failure(tmp_path, web.url("/film.mp4")) == ("unreachable", False)


def test_a_page_instead_of_a_video_is_not_a_video(tmp_path: Path, web: WebServer) -> None:
    """HTML without anything to play."""
    page = b"<!doctype html><html><head><title>Hello</title></head><body>Hi</body></html>"
    url = web.put("/page", page, content_type="text/html")
    assert _failure(tmp_path, url) == ("not_a_video", True)


def test_html_under_a_videos_name_is_not_a_video(tmp_path: Path, web: WebServer) -> None:
    """Whatever its type says."""
    url = web.put("/film.mp4", b"<html><body>error</body></html>", content_type="video/mp4")
    assert _failure(tmp_path, url) == ("not_a_video", True)


def test_a_page_with_a_video_gives_the_video(tmp_path: Path, film: Path, web: WebServer) -> None:
    """An embedded video is found and fetched, with the page's title."""
    web.put("/film.webm", film, content_type="video/webm")
    page = (
        b"<!doctype html><html><head><title>My film</title></head><body>"
        b'<video src="/film.webm" type="video/webm"></video></body></html>'
    )
    url = web.put("/page", page, content_type="text/html")
    context = _context(tmp_path, url)
    done = Download().run(context)
    assert isinstance(done, Done)
    assert context.fetch(done.artifacts[0]).read_bytes() == film.read_bytes()
    assert "My film" in done.records["video"]["title"]


def test_a_playlist_of_pieces_becomes_one_video(tmp_path: Path, web: WebServer) -> None:
    """HLS in two pieces whose clocks each begin at zero: one file, all frames with their times."""
    piece = clip(tmp_path / "piece", H264_TS, frames=30)
    web.put("/0.ts", piece, content_type="video/mp2t")
    web.put("/1.ts", piece, content_type="video/mp2t")
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    lines += ["#EXTINF:1.0,", "0.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:1.0,", "1.ts"]
    playlist = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    url = web.put("/film.m3u8", playlist, content_type="application/vnd.apple.mpegurl")
    context = _context(tmp_path, url)
    done = Download().run(context)
    assert isinstance(done, Done)
    assert (web.gets["/0.ts"], web.gets["/1.ts"]) == (1, 1)
    assert context.counters["requests"] == web.gets.total() + web.heads.total()
    timeline = media.read_timeline(context.fetch(done.artifacts[0]))
    assert len(timeline) == 60
    assert timeline.positions is not None


def test_a_stream_that_is_not_over_is_skipped(tmp_path: Path, web: WebServer) -> None:
    """A playlist without an end."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXTINF:1.0,", "0.ts", ""]
    kind = "application/vnd.apple.mpegurl"
    outcome = _run(tmp_path, web.put("/film.m3u8", "\n".join(lines).encode(), content_type=kind))
    assert outcome == Skip("Live: the stream is not over")
    assert web.gets["/0.ts"] == 0


def test_stopping_ends_what_an_extractor_does(tmp_path: Path, film: Path, web: WebServer) -> None:
    """yt-dlp swallows many things, but not this."""
    web.put("/film.webm", film, content_type="video/webm")
    page = b'<!doctype html><video src="/film.webm" type="video/webm"></video>'
    context = _context(tmp_path, web.put("/page", page, content_type="text/html"))
    context.stop_after_ticks = 2
    with pytest.raises(StopRequested):
        Download().run(context)
    assert web.gets["/film.webm"] == 0


def test_too_many_bytes_are_skipped(tmp_path: Path, film: Path, web: WebServer) -> None:
    """A choice of the project, no failure; for files as well."""
    for url in (web.put("/film.webm", film), film.as_uri()):
        outcome = _run(tmp_path / url[:4], url, max_bytes=100)
        assert isinstance(outcome, Skip)
        assert outcome.reason.startswith("TooLarge: ")


def test_cookies_of_the_credential_are_sent_to_their_site_alone(
    tmp_path: Path, film: Path, web: WebServer
) -> None:
    """The file of cookies is read and not written."""
    jar = tmp_path / "cookies.txt"
    rows = [
        ["127.0.0.1", "FALSE", "/", "FALSE", "0", "key", "of-this-site"],
        ["other.test", "FALSE", "/", "FALSE", "0", "key", "of-another-site"],
    ]
    text = "# Netscape HTTP Cookie File\n" + "".join("\t".join(row) + "\n" for row in rows)
    jar.write_text(text)
    url = web.put("/film.webm", film)
    files = {"cookies.txt": jar}
    assert isinstance(_run(tmp_path, url, credential="site", credential_files=files), Done)
    sent = http.cookies.SimpleCookie(web.headers["/film.webm"][0]["Cookie"])
    assert {name: morsel.value for name, morsel in sent.items()} == {"key": "of-this-site"}
    assert jar.read_text() == text


def test_a_credential_without_cookies_is_named(tmp_path: Path, web: WebServer) -> None:
    """Missing, or no file of cookies."""
    url = web.put("/film.webm", b"")
    assert _failure(tmp_path, url, credential="site") == ("credential_unusable", True)
    wrong = tmp_path / "cookies.txt"
    wrong.write_bytes(b"\xff\x00 nothing of the kind")
    files = {"cookies.txt": wrong}
    assert _failure(tmp_path / "2", url, credential="site", credential_files=files) == (
        "credential_unusable",
        True,
    )


def test_addresses_inside_are_not_reached(
    tmp_path: Path, film: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked, by number or by name."""
    monkeypatch.setenv("DATA_MINER_ALLOW_PRIVATE_ADDRESSES", "")
    web.put("/film.webm", film)
    for number, host in enumerate(["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"]):
        url = web.url("/film.webm", host=host)
        assert _failure(tmp_path / str(number), url) == ("forbidden_address", True)
    assert not web.gets


def test_extractors_do_not_reach_addresses_inside(
    tmp_path: Path, film: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for all that yt-dlp asks, where a page sends it as well."""
    web.put("/film.webm", film)
    inside = web.url("/film.webm", host="[::1]")
    url = web.put("/moved", status=302, headers={"Location": inside})
    monkeypatch.setenv("DATA_MINER_ALLOW_PRIVATE_ADDRESSES", "")
    limits = Limits(timeout_seconds=0.5)
    for allowed, asked in (("", {}), ("127.0.0.1", {"/moved"})):
        monkeypatch.setattr(reach, "is_public", allowed.__eq__)
        with pytest.raises(StageError) as caught:
            sites.download(url, tmp_path, limits, lambda _: None)
        assert caught.value.error_class == "forbidden_address"
        assert set(web.gets | web.heads) == set(asked)


def test_a_redirect_to_an_address_inside_is_not_followed(
    tmp_path: Path, film: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server is taken for a public one; where it sends us is not."""
    monkeypatch.setenv("DATA_MINER_ALLOW_PRIVATE_ADDRESSES", "")
    monkeypatch.setattr(reach, "is_public", lambda address: address == "127.0.0.1")
    web.put("/film.webm", film)
    inside = web.url("/film.webm", host="[::1]")
    url = web.put("/moved", status=302, headers={"Location": inside})
    assert _failure(tmp_path, url) == ("forbidden_address", True)
    assert web.gets == {"/moved": 1}


def test_bad_files_have_names(tmp_path: Path, film: Path) -> None:
    """Missing, empty, text, sound, cut off, a folder: one class each."""
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("#EXTM3U\nfile:///etc/hostname\n")
    headless = cut_off(clip(tmp_path / "h", H264, frames=60), tmp_path / "cut.mp4", 10_000)
    cases = {
        tmp_path / "missing.mp4": "not_found",
        empty: "empty_file",
        text: "not_a_video",
        sound_only(tmp_path / "sound.mp4"): "no_video_stream",
        headless: "corrupt",
    }
    for number, (path, expected) in enumerate(cases.items()):
        with pytest.raises(StageError) as caught:
            _run(tmp_path / str(number), path.as_uri())
        assert (caught.value.error_class, caught.value.permanent) == (expected, True), path
        assert str(path) in str(caught.value)


def test_a_file_that_changes_while_it_is_copied_is_tried_again(tmp_path: Path, film: Path) -> None:
    """Half of one version and half of another would be neither."""
    path = tmp_path / "film.webm"
    path.write_bytes(film.read_bytes())
    context = _context(tmp_path, path.as_uri())
    changed: list[bool] = []

    def grow(progress: float | None = None, message: str | None = None) -> None:
        if not changed:
            changed.append(True)
            with path.open("ab") as file:
                file.write(b"more")

    context.tick = grow  # type: ignore[method-assign]  # the moment in which it changes
    with pytest.raises(StageError) as caught:
        Download().run(context)
    assert (caught.value.error_class, caught.value.permanent) == ("source_changed", False)


def test_stopping_ends_a_download(tmp_path: Path, film: Path, web: WebServer) -> None:
    """In the middle of the body."""
    context = _context(tmp_path, web.put("/film.webm", film))
    context.stop_after_ticks = 0
    with pytest.raises(StopRequested):
        Download().run(context)
    assert not list((tmp_path / "bench" / "store").rglob("*.webm"))


def test_names_with_odd_characters_are_files_like_others(tmp_path: Path, film: Path) -> None:
    """Spaces, quotes, percent signs, colons and an emoji."""
    path = tmp_path / "a 'b' %41 c:d 🎬.webm"
    path.write_bytes(film.read_bytes())
    assert isinstance(_run(tmp_path, path.as_uri()), Done)


def test_a_file_that_may_not_be_read_is_denied(tmp_path: Path, film: Path) -> None:
    """Named, for anybody but root, who may read all."""
    path = tmp_path / "film.webm"
    path.write_bytes(film.read_bytes())
    path.chmod(0)
    if os.geteuid() == 0:
        assert isinstance(_run(tmp_path, path.as_uri()), Done)
    else:
        assert _failure(tmp_path, path.as_uri()) == ("denied", True)
