"""Where PostgreSQL's programs come from."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from data_miner.errors import DatabaseError
from data_miner.postgres.account import Account
from data_miner.postgres.programs import find_programs

ME = Account(uid=os.getuid(), gid=os.getgid(), lent=False)


def _programs(folder: Path, version: str) -> None:
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{version}'\n")
        (folder / name).chmod(0o755)


def test_the_wheel_has_version_18(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the versions in the wheel the newest is taken, and its launcher is not imported."""
    monkeypatch.delenv("DATA_MINER_PG_BIN", raising=False)
    programs = find_programs(ME)
    assert programs.major == 18
    assert programs.postgres.is_file()
    assert programs.initdb.is_file()


def test_a_named_folder_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DATA_MINER_PG_BIN wins over the wheel."""
    _programs(tmp_path, "postgres (PostgreSQL) 16.2 (Debian)")
    monkeypatch.setenv("DATA_MINER_PG_BIN", str(tmp_path))
    assert (find_programs(ME).folder, find_programs(ME).major) == (tmp_path, 16)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("postgres (PostgreSQL) 14.9", "is PostgreSQL 14; 15 or newer is needed"),
        ("gibberish", "does not run here"),
        (None, "no postgres and initdb in that folder"),
    ],
)
def test_programs_that_will_not_do_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str | None, line: str
) -> None:
    """Too old, not PostgreSQL, or not there: one line each."""
    if version:
        _programs(tmp_path, version)
    monkeypatch.setenv("DATA_MINER_PG_BIN", str(tmp_path))
    with pytest.raises(DatabaseError, match=line):
        find_programs(ME)


def test_missing_programs_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the line says how to install it."""
    monkeypatch.delenv("DATA_MINER_PG_BIN", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DatabaseError, match=r"pip install 'data-miner\[local\]'"):
        find_programs(ME)
