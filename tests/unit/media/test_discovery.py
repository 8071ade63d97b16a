"""Ids, globs and what a project selects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_miner_worker.discovery.names import file_id, site_id, slug, url_id
from data_miner_worker.discovery.patterns import is_meant
from data_miner_worker.discovery.select import needs_more, skip_reason

ALL: dict[str, Any] = {
    "duration": {"min": None, "max": None},
    "licences": [],
    "exclude_tags": [],
    "exclude_title": [],
    "live": "Skip",
}


def _select(**wanted: Any) -> dict[str, Any]:
    return {**ALL, **wanted}


@given(st.text(max_size=200), st.text(max_size=100))
def test_every_id_is_plain_and_bounded(name: str, other: str) -> None:
    """Slashes, quotes and emoji never get into an id."""
    ids = [
        file_id(name, 3, b"abc", b"abc"),
        url_id("https://x.test/" + name.encode("utf-8", "replace").hex()),
        site_id(other or "x", name),
    ]
    for one in ids:
        assert 1 <= len(one) <= 64
        assert set(one) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_a_files_id_is_its_content_and_not_its_place() -> None:
    """The same bytes have the same id; another size or edge has another."""
    first = file_id("My Clip (1).mp4", 10, b"a", b"b")
    assert first == file_id("My Clip (1).mp4", 10, b"a", b"b")
    assert first.startswith("my-clip-1-")
    assert len({first, file_id("My Clip (1).mp4", 11, b"a", b"b")}) == 2
    assert file_id("🎬.mp4", 1, b"", b"").startswith("video-")


def test_site_ids_stay_what_they_are() -> None:
    """YouTube's id as it is, others with the site before it; what cannot stay gets a digest."""
    assert site_id("youtube", "-dQw4w9WgXc") == "-dQw4w9WgXc"
    assert site_id("vimeo", "12345") == "vimeo-12345"
    assert site_id("archive.org", "foo") == "archive-org-foo"
    assert site_id("x", "a/b") != site_id("x", "a-b")
    assert site_id("x", "a" * 100) != site_id("x", "a" * 101)


def test_slugs_are_readable() -> None:
    """Accents fall away, the rest becomes hyphens."""
    assert slug("Café: Türen & Tore") == "cafe-turen-tore"


@pytest.mark.parametrize(
    ("name", "glob", "meant"),
    [
        ("a.mp4", "**/*", True),
        ("deep/er/a.MKV", "**/*", True),
        ("deep/a.mp4", "*", False),
        ("a.mp4", "*", True),
        ("a.txt", "**/*", False),
        ("a.txt", "*.txt", True),
        ("notes.txt", "notes.txt", True),
        (".hidden.mp4", "**/*", False),
        (".trash/a.mp4", "**/*", False),
        (".trash/a.mp4", ".trash/a.mp4", True),
        ("x/a.mp4", "x/*.mp4", True),
        ("x/y/a.mp4", "x/*.mp4", False),
        ("x/y/a.mp4", "x/**/*.mp4", True),
        ("x/a.mp4", "x/**/*.mp4", True),
        ("clip7.webm", "clip[0-9].webm", True),
        ("clipx.webm", "clip[!0-9].webm", True),
        ("a+b(1).mp4", "a+b(1).mp4", True),
        ("aab1.mp4", "a+b(1).mp4", False),
    ],
)
def test_globs(name: str, glob: str, meant: bool) -> None:
    """What a source's glob takes and passes over."""
    assert is_meant(name, glob) is meant


@pytest.mark.parametrize(
    ("select", "title", "metadata", "reason"),
    [
        (_select(), None, {}, None),
        (_select(duration={"min": None, "max": 60.0}), None, {"duration_seconds": 61}, "TooLong"),
        (_select(duration={"min": 10.0, "max": None}), None, {"duration_seconds": 9.5}, "TooShort"),
        (_select(duration={"min": 10.0, "max": 60.0}), None, {}, None),
        (_select(duration={"min": 10.0, "max": 60.0}), None, {"duration_seconds": 60}, None),
        (_select(), None, {"live_status": "is_live"}, "Live"),
        (_select(live="Allow"), None, {"live_status": "is_live"}, None),
        (_select(), None, {"live_status": "was_live"}, None),
        (_select(licences=["creativeCommon"]), None, {}, "Licence"),
        (
            _select(licences=["creativeCommon"]),
            None,
            {"licence": "Creative Commons Attribution license (reuse allowed)"},
            None,
        ),
        (_select(licences=["creativeCommon"]), None, {"licence": "CC-BY-SA-4.0"}, None),
        (_select(licences=["creativeCommon"]), None, {"licence": "Standard"}, "Licence"),
        (_select(exclude_tags=["cover"]), None, {"tags": ["Discover", "covers"]}, None),
        (_select(exclude_tags=["cover"]), None, {"tags": ["rock COVER song"]}, "ExcludedTag"),
        (_select(exclude_tags=["best of"]), None, {"tags": ["The Best-Of 2020"]}, "ExcludedTag"),
        (_select(exclude_tags=["best of"]), None, {"tags": ["of the best"]}, None),
        (_select(exclude_title=["game"]), "Endgame explained", {}, None),
        (_select(exclude_title=["game"]), "A new Game!", {}, "ExcludedTitle"),
    ],
)
def test_selection(
    select: dict[str, Any], title: str | None, metadata: dict[str, Any], reason: str | None
) -> None:
    """Each rule, on both sides; what is not known passes, but for the licence."""
    found = skip_reason(select, title, metadata)
    assert (found is None) if reason is None else (found or "").startswith(f"{reason}: ")


def test_a_site_is_asked_only_for_what_decides() -> None:
    """Nothing to decide, or all known: no request."""
    assert not needs_more(ALL, None, {})
    assert needs_more(_select(exclude_tags=["a"]), "t", {"duration_seconds": 1})
    assert not needs_more(_select(exclude_tags=["a"]), "t", {"tags": ["b"]})
    assert needs_more(_select(duration={"min": 1.0, "max": None}), "t", {})
