"""discover as a stage: files, buckets, addresses and lists of a site, in a decided order."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_miner.stage import Done, Later, StageError, Video
from data_miner_worker.download import sites
from data_miner_worker.stages.discover import Discover
from data_miner_worker.stages.download import Download
from support.context import Bench, StageContext
from support.http import WebServer
from support.media import VP9, clip
from support.objects import Bucket

ALL: dict[str, Any] = {
    "duration": {"min": None, "max": None},
    "licences": [],
    "exclude_tags": [],
    "exclude_title": [],
    "live": "Skip",
}
NONE = dict.fromkeys(("search", "channel", "playlist", "urls", "files"))


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Videos of one and of two seconds."""
    folder = tmp_path_factory.mktemp("films")
    return {n: clip(folder / f"film{n}", VP9, frames=30 * n, size=(64, 36)) for n in (1, 2)}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server that may be reached although it is on this machine."""
    monkeypatch.setenv("DATA_MINER_ALLOW_PRIVATE_ADDRESSES", "1")
    monkeypatch.setenv("DATA_MINER_SOCKET_TIMEOUT_SECONDS", "5")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with WebServer() as server:
        yield server


def _context(tmp_path: Path, kind: str, source: dict[str, Any], **select: Any) -> StageContext:
    params = {
        "sources": [NONE, {**NONE, kind: source}],
        "select": {**ALL, **select},
        "credential": None,
    }
    return Bench(tmp_path / "bench").context("discover", params, subject="p7/1")


def _videos(tmp_path: Path, kind: str, source: dict[str, Any], **select: Any) -> list[Any]:
    done = Discover().run(_context(tmp_path, kind, source, **select))
    assert isinstance(done, Done)
    videos: list[Any] = done.records["videos"]
    assert [video["rank"] for video in videos] == list(range(len(videos)))
    wanted = sum(video["skip_reason"] is None for video in videos)
    assert done.facts == {"found": len(videos), "selected": wanted}
    return videos


def _files(tmp_path: Path, uri: Path | str, glob: str = "**/*", **select: Any) -> list[Any]:
    return _videos(tmp_path, "files", {"uri": str(uri), "glob": glob}, **select)


def _failure(tmp_path: Path, kind: str, source: dict[str, Any]) -> tuple[str, bool]:
    with pytest.raises(StageError) as caught:
        Discover().run(_context(tmp_path, kind, source))
    assert "\n" not in str(caught.value)
    return caught.value.error_class, caught.value.permanent


def test_a_folder_is_listed_in_order_without_what_is_no_video(
    tmp_path: Path, films: dict[int, Path]
) -> None:
    """By path; hidden files and folders, other suffixes and second copies are passed over."""
    folder = tmp_path / "raw [1]"
    places = {"b/two.webm": 2, "a.webm": 1, ".hidden.webm": 1, ".old/a.webm": 2, "copy.webm": 1}
    for name, number in places.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(films[number], folder / name)
    (folder / "notes.txt").write_text("no video")
    videos = _files(tmp_path, folder)
    assert [video["url"] for video in videos] == [
        (folder / "a.webm").as_uri(),
        (folder / "b" / "two.webm").as_uri(),
        (folder / "copy.webm").as_uri(),
    ]
    first = videos[0]
    assert re.fullmatch(r"a-[0-9a-f]{8}", first["video_id"])
    assert (first["source_type"], first["title"], first["skip_reason"]) == ("FILE", "a", None)
    assert first["source_info"] == str(folder)
    assert first["metadata"] == {"bytes": films[1].stat().st_size}


def test_an_id_does_not_depend_on_where_a_file_lies(tmp_path: Path, films: dict[int, Path]) -> None:
    """Moved to another folder it is the same video; twice below one folder it counts once."""
    for folder in ("here", "there/deep", "there/again"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(films[1], tmp_path / folder / "Film.webm")
    (here,) = _files(tmp_path / "1", tmp_path / "here")
    (there,) = _files(tmp_path / "2", tmp_path / "there")
    assert here["video_id"] == there["video_id"]
    assert there["url"].endswith("/there/again/Film.webm")


def test_one_file_may_be_named_exactly(tmp_path: Path, films: dict[int, Path]) -> None:
    """Whatever its suffix, as a path or as a file:// URI."""
    path = tmp_path / "film.dat"
    shutil.copy(films[1], path)
    (by_path,) = _files(tmp_path / "1", path)
    (by_uri,) = _files(tmp_path / "2", path.as_uri())
    (by_glob,) = _files(tmp_path / "3", tmp_path, "film.dat")
    assert by_path["video_id"] == by_uri["video_id"] == by_glob["video_id"]


def test_an_empty_folder_has_no_videos(tmp_path: Path) -> None:
    """That is no failure."""
    (tmp_path / "empty").mkdir()
    assert _files(tmp_path, tmp_path / "empty") == []


@pytest.mark.parametrize("name", ["missing", "missing.mp4", "a 'b' 🎬/../missing"])
def test_what_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    """One clear line with the place."""
    source = {"uri": str(tmp_path / name), "glob": "**/*"}
    assert _failure(tmp_path, "files", source) == ("not_found", True)


def test_an_unreadable_file_is_left_out_with_a_reason(
    tmp_path: Path, films: dict[int, Path]
) -> None:
    """A link to nowhere does not hide the others."""
    folder = tmp_path / "raw"
    folder.mkdir()
    shutil.copy(films[1], folder / "b.webm")
    (folder / "a.webm").symlink_to("/nowhere/at/all.webm")
    lost, found = _files(tmp_path, folder)
    assert lost["skip_reason"].startswith("Unreadable: ")
    assert found["skip_reason"] is None


def test_files_are_selected_by_their_duration(tmp_path: Path, films: dict[int, Path]) -> None:
    """Read from the header, before anything is copied; what is no video passes to the download."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, film in films.items():
        shutil.copy(film, folder / f"film{number}.webm")
    (folder / "text.mp4").write_text("no video at all")
    videos = _files(tmp_path, folder, duration={"min": None, "max": 1.5})
    assert [video["skip_reason"] for video in videos] == [
        None,
        "TooLong: 2 s, at most 1.5 s",
        None,
    ]


def test_a_bucket_is_listed_like_a_folder(
    tmp_path: Path, films: dict[int, Path], s3: Bucket
) -> None:
    """Same ids as on disk, and the download reads the object; what is not there is not found."""
    s3.client.create_bucket(Bucket="raw")
    for name, number in {"in/a.webm": 1, "in/deep/b.webm": 2, "out/c.webm": 1}.items():
        s3.client.put_object(Bucket="raw", Key=name, Body=films[number].read_bytes())
    s3.client.put_object(Bucket="raw", Key="in/notes.txt", Body=b"no video")
    videos = _files(tmp_path, "s3://raw/in/")
    assert [video["url"] for video in videos] == [
        "s3://raw/in/a.webm",
        "s3://raw/in/deep/b.webm",
    ]
    (tmp_path / "disk").mkdir()
    shutil.copy(films[1], tmp_path / "disk" / "a.webm")
    (on_disk,) = _files(tmp_path / "2", tmp_path / "disk")
    assert videos[0]["video_id"] == on_disk["video_id"]
    bench = Bench(tmp_path / "d", Video("b", videos[1]["url"], "FILE"))
    params = {"max_height": 1080, "max_bytes": None, "credential": None}
    context = bench.context("download", params)
    done = Download().run(context)
    assert isinstance(done, Done)
    assert context.fetch(done.artifacts[0]).read_bytes() == films[2].read_bytes()
    for number, uri in enumerate(["s3://raw/nothing/", "s3://no-such-bucket/x/"]):
        source = {"uri": uri, "glob": "*"}
        assert _failure(tmp_path / str(number), "files", source) == ("not_found", True)


def test_addresses_keep_their_order_and_get_ids(tmp_path: Path) -> None:
    """A site's id where there is one; a plain address gets its name and a digest; no request."""
    items = [
        "https://media.example.org/Entrance%20Hall.mp4?x=1",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://vimeo.com/12345",
        "https://youtu.be/dQw4w9WgXcQ",
    ]
    videos = _videos(tmp_path, "urls", {"items": items, "file": None})
    assert [video["url"] for video in videos] == items[:3]
    assert re.fullmatch(r"entrance-hall-[0-9a-f]{8}", videos[0]["video_id"])
    assert [video["video_id"] for video in videos[1:]] == ["dQw4w9WgXcQ", "vimeo-12345"]
    assert {video["source_type"] for video in videos} == {"MANUAL"}


def test_addresses_come_out_of_a_file(tmp_path: Path) -> None:
    """One a line; empty lines and comments are passed over; what is no address says so."""
    path = tmp_path / "list.txt"
    path.write_text("\ufeff# doors\n\nhttps://x.test/a.mp4\r\n  https://x.test/b.mp4  \nnonsense\n")
    videos = _videos(tmp_path, "urls", {"items": None, "file": str(path)})
    assert [video["url"] for video in videos] == [
        "https://x.test/a.mp4",
        "https://x.test/b.mp4",
        "nonsense",
    ]
    assert [video["skip_reason"] for video in videos] == [None, None, "NotAnAddress: nonsense"]
    assert {(v["source_type"], v["source_info"]) for v in videos} == {("FILE", str(path))}


def test_a_list_of_addresses_is_one_file(tmp_path: Path) -> None:
    """A name that a library would take for a chain of places is the name of a file."""
    path = tmp_path / "list::simplecache"
    path.write_text("https://x.test/a.mp4\n")

    (video,) = _videos(tmp_path, "urls", {"items": None, "file": str(path)})

    assert video["url"] == "https://x.test/a.mp4"


def test_a_list_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """The source fails with the file's name."""
    source = {"items": None, "file": str(tmp_path / "missing.txt")}
    assert _failure(tmp_path, "urls", source) == ("not_found", True)


def test_a_licence_that_is_not_known_is_not_allowed(tmp_path: Path) -> None:
    """Where only some licences are, and nobody can be asked."""
    source = {"items": ["https://x.test/a.mp4"], "file": None}
    (video,) = _videos(tmp_path, "urls", source, licences=["creativeCommon"])
    assert video["skip_reason"].startswith("Licence: unknown")


def _feed(web: WebServer, count: int) -> str:
    items = "".join(
        f"<item><title>Film {n}</title><link>{web.url(f'/{n}.webm')}</link></item>"
        for n in range(count)
    )
    channel = f"<channel><title>Films</title>{items}</channel>"
    text = f'<?xml version="1.0"?><rss version="2.0">{channel}</rss>'
    return web.put("/feed", text.encode(), content_type="application/rss+xml")


def test_a_playlist_is_listed_and_none_of_it_fetched(tmp_path: Path, web: WebServer) -> None:
    """The first ones up to the limit, in the list's order, with their titles."""
    url = _feed(web, 5)
    videos = _videos(tmp_path, "playlist", {"url": url, "limit": 3})
    assert [video["url"] for video in videos] == [web.url(f"/{n}.webm") for n in range(3)]
    assert [video["title"] for video in videos] == ["Film 0", "Film 1", "Film 2"]
    assert {(v["source_type"], v["source_info"], v["query"]) for v in videos} == {
        ("URL", url, None)
    }
    assert set(web.gets) == {"/feed"}


@pytest.mark.parametrize("link", ["file:///etc/hostname", "ftp://127.0.0.1/film.webm"])
def test_a_list_cannot_name_a_file_of_this_machine(
    tmp_path: Path, web: WebServer, link: str
) -> None:
    """What a site calls a video is an address of the web, or it is left out and says so."""
    item = f"<item><title>Film</title><link>{link}</link></item>"
    text = f'<?xml version="1.0"?><rss version="2.0"><channel>{item}</channel></rss>'
    url = web.put("/feed", text.encode(), content_type="application/rss+xml")

    (video,) = _videos(tmp_path, "playlist", {"url": url, "limit": 3})

    assert video["skip_reason"] == f"NotAnAddress: {link}"


@pytest.mark.parametrize(
    "text", ["https://[x/a.mp4", "https://x.test:99999/a", "-oout", "file:///a", "gopher://x/"]
)
def test_what_is_no_address_harms_nothing_else(tmp_path: Path, text: str) -> None:
    """It says so itself; the addresses beside it are taken."""
    items = [text, "https://x.test/b.mp4"]

    wrong, right = _videos(tmp_path, "urls", {"items": items, "file": None})

    assert (wrong["skip_reason"], right["skip_reason"]) == (f"NotAnAddress: {text}", None)


def test_a_password_in_a_list_of_addresses_is_not_kept(tmp_path: Path) -> None:
    """The address is left out, and neither its row nor the reason holds the password."""
    path = tmp_path / "list.txt"
    path.write_text("https://ann:hunter2@x.test/a.mp4\n")

    (video,) = _videos(tmp_path, "urls", {"items": None, "file": str(path)})

    assert video["skip_reason"].startswith("HoldsPassword: ")
    assert "hunter2" not in json.dumps(video)


def test_titles_of_a_list_are_selected_by_word(tmp_path: Path, web: WebServer) -> None:
    """Left out with the word that decided, before a byte is fetched."""
    source = {"url": _feed(web, 3), "limit": 10}
    videos = _videos(tmp_path, "channel", source, exclude_title=["1"])
    reasons = [video["skip_reason"] for video in videos]
    assert reasons == [None, "ExcludedTitle: 1", None]


def test_a_list_that_is_gone_is_not_found(tmp_path: Path, web: WebServer) -> None:
    """HTTP 404 of the list itself."""
    source = {"url": web.url("/no-feed"), "limit": 3}
    assert _failure(tmp_path, "playlist", source) == ("not_found", True)


def test_a_throttling_site_is_asked_later(tmp_path: Path, web: WebServer) -> None:
    """The list too can wait without using an attempt."""
    url = web.put("/feed", b"", status=429, headers={"Retry-After": "33"})
    outcome = Discover().run(_context(tmp_path, "playlist", {"url": url, "limit": 3}))
    assert isinstance(outcome, Later)
    assert outcome.seconds == 33


def test_a_site_is_asked_for_what_its_list_left_out(
    tmp_path: Path, films: dict[int, Path], web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where the selection depends on it; what was asked is kept for the next attempt."""
    # The pages of this server count as those of a site, as no real site can be asked here.
    monkeypatch.setattr(sites, "known_page", lambda url: sites.Page("films", url[-1]))
    web.put("/film.webm", films[1], content_type="video/webm")
    for number in (1, 2):
        about = {
            "@context": "https://schema.org",
            "@type": "VideoObject",
            "name": f"Film {number}",
            "contentUrl": web.url("/film.webm"),
            "duration": f"PT{number}M",
        }
        text = f'<html><script type="application/ld+json">{json.dumps(about)}</script></html>'
        web.put(f"/{number}", text.encode(), content_type="text/html")
    source = {"items": [web.url("/1"), web.url("/2")], "file": None}
    videos = _videos(tmp_path / "1", "urls", source)
    assert [video["metadata"] for video in videos] == [{}, {}]
    assert not web.gets
    videos = _videos(tmp_path / "2", "urls", source, duration={"min": None, "max": 90.0})
    assert [(v["video_id"], v["title"], v["skip_reason"]) for v in videos] == [
        ("films-1", "Film 1", None),
        ("films-2", "Film 2", "TooLong: 120 s, at most 90 s"),
    ]
    asked_before = web.gets["/1"]
    context = _context(tmp_path / "3", "urls", source, duration={"min": None, "max": 90.0})
    known = {"asked": {"films-1": {"duration_seconds": 91.0}}}
    object.__setattr__(context.assignment, "checkpoint", known)
    done = Discover().run(context)
    assert isinstance(done, Done)
    assert done.facts == {"found": 2, "selected": 0}
    assert web.gets["/1"] == asked_before
