"""`scripts/images`: what it says when it cannot, and when it builds anew."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.go_programs import ROOT
from support.images import catalogue, state


def said(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [ROOT / "scripts/images", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_where_buildah_cannot_be_installed_it_names_the_line_that_would(tmp_path: Path) -> None:
    """One line, whatever was asked for."""
    for program in ("sh", "dirname", "env"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    for arguments in (["build", "base"], ["sizes"], ["clean"]):
        code, line = said(*arguments, PATH=str(tmp_path), GO=str(shutil.which("go")))
        install = "apt-get install -y --no-install-recommends buildah debootstrap"
        assert code == 1
        assert line == f"images: missing on this host; on Debian, as root: {install}\n"


def test_an_unknown_image_is_refused_with_those_there_are() -> None:
    """The names are in the message."""
    code, line = said("build", "wroker")
    assert code == 2
    assert line == f"images: no image 'wroker'; there are {', '.join(catalogue.IMAGES)}\n"


def test_a_wrong_command_gets_the_usage() -> None:
    """On stderr, with the exit code of wrong usage."""
    for arguments in (["built"], ["build"], ["all", "worker"]):
        code, text = said(*arguments)
        assert (code, text.splitlines()[0]) == (2, "usage: scripts/images COMMAND")


def test_a_build_sees_what_its_key_counts() -> None:
    """.dockerignore lets in just the files of which the hash is made."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in == {*catalogue.PRODUCT, "locks/*.txt"}
    for name in ("worker", "operator"):
        assert not [path for path in catalogue.IMAGES[name].sources if not path.exists()]


def test_other_sources_are_another_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A changed byte, a changed time of the layers and a changed base give another key."""
    from dataclasses import replace

    file = tmp_path / "code.py"
    file.write_text("a = 1\n")
    worker = catalogue.IMAGES["worker"]
    image = replace(worker, sources=(tmp_path,), bases={"BASE_IMAGE": "base"})
    monkeypatch.setitem(catalogue.IMAGES, "worker", image)
    keys = [state.key("worker")]
    assert state.key("worker") == keys[0]
    file.write_text("a = 2\n")
    keys.append(state.key("worker"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    keys.append(state.key("worker"))
    monkeypatch.setitem(catalogue.IMAGES, "worker", replace(image, bases={}))
    keys.append(state.key("worker"))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "code.pyc").write_text("")
    assert state.key("worker") == keys[-1]
    assert len(set(keys)) == 4
