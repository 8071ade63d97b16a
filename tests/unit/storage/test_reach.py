"""Which URIs a spec may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_miner.errors import SpecError
from data_miner.storage.reach import check_reach


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://bucket/raw/a.mp4", "s3://bucket/raw"),
        ("s3://bucket/raw", "s3://other s3://bucket/raw/"),
        ("file:///data/in/a.mp4", "/data/in"),
        ("/data/in/sub/../a.mp4", "file:///data/in"),
        ("https://anything.example/x", ""),
    ],
)
def test_what_lies_below_a_prefix_is_allowed(uri: str, allowed: str) -> None:
    """Paths, file URIs and objects are compared by whole segments; no list allows all."""
    check_reach(uri, allowed, what="spec.sources[0]")


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://bucket/raw-secret/a", "s3://bucket/raw"),
        ("s3://bucket/raw/../secret", "s3://bucket/raw"),
        ("s3://bucket2/raw/a", "s3://bucket/raw"),
        ("s3://user@bucket/raw/a", "s3://bucket/raw"),
        ("https://bucket/raw/a", "s3://bucket/raw"),
        ("/data/in/../../etc/passwd", "/data/in"),
        ("/data/inside", "/data/in"),
        ("file:///data/in/%2e%2e/%2E%2E/etc/passwd", "/data/in"),
    ],
)
def test_what_lies_elsewhere_is_refused(uri: str, allowed: str) -> None:
    """A neighbour with a longer name, a way up, another host or scheme: one line says which."""
    with pytest.raises(SpecError, match=r"spec\.export\.uri: .* is outside"):
        check_reach(uri, allowed, what="spec.export.uri")


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    """A symbolic link inside an allowed folder counts as where it leads to."""
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "out").symlink_to("/etc")

    with pytest.raises(SpecError):
        check_reach(str(inside / "out" / "passwd"), str(inside), what="x")
