"""What documents and messages call a file of the repository is one."""

from __future__ import annotations

import re
import subprocess

from support.documents import documents
from support.go_programs import ROOT

FOLDERS = (
    "benchmarks", "crds", "docs", "examples", "helm", "locks", "ml_models", "operator", "scripts",
    "src", "tests", "worker_image",
)  # fmt: skip
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./*-]*)(?:::\w+)?`")
TYPED = re.compile(r"(?:^| )\.?/?((?:examples|helm|crds|scripts|docs)/[\w./-]+)", re.MULTILINE)
PAGE = "docs/[a-z0-9/-]+[.](md|log)"


def test_every_path_in_a_document_is_there() -> None:
    """In the text as code, and in commands; a star stands for any name."""
    found = {
        (name, path)
        for name in documents()
        for pattern in (PATH, TYPED)
        for path in pattern.findall((ROOT / name).read_text(encoding="utf-8"))
    }
    assert len(found) > 60
    assert sorted(f"{name}: {path}" for name, path in found if not _is_there(path)) == []


def test_every_page_that_the_sources_name_is_there() -> None:
    """In comments, messages, values and the notes of the chart."""
    listed = subprocess.run(
        ["git", "grep", "--untracked", "-hoIE", PAGE],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert len(set(listed)) > 10
    assert sorted(page for page in set(listed) if not (ROOT / page).is_file()) == []


def _is_there(path: str) -> bool:
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()
