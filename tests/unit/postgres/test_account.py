"""Who runs the embedded server, what it may reach, and how its failures are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_miner.errors import DatabaseError, SpecError
from data_miner.postgres.account import Account, current_account, explain

NO_SUCH_USER = 54321


def test_a_user_id_without_a_name_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """initdb needs a name, so its absence is told before anything is made."""
    monkeypatch.setattr(os, "geteuid", lambda: NO_SUCH_USER)
    with pytest.raises(DatabaseError, match=r"user id 54321 has no name .*DATA_MINER_DATABASE_URL"):
        current_account()


def test_root_lends_the_server_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody by default, or the one that DATA_MINER_PG_UID names."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("DATA_MINER_PG_UID", raising=False)
    assert (current_account().uid, current_account().lent) == (65534, True)
    monkeypatch.setenv("DATA_MINER_PG_UID", "1")
    assert current_account().uid == 1
    for refused in ("0", "nobody", "-1"):
        monkeypatch.setenv("DATA_MINER_PG_UID", refused)
        with pytest.raises(SpecError, match="DATA_MINER_PG_UID="):
            current_account()
    monkeypatch.setenv("DATA_MINER_PG_UID", str(NO_SUCH_USER))
    with pytest.raises(DatabaseError, match="54321 has no name"):
        current_account()


@pytest.mark.parametrize(
    ("mode", "lent", "enters"),
    [(0o755, True, True), (0o711, True, True), (0o700, True, False), (0o700, False, True)],
)
def test_a_lent_account_enters_what_others_may_enter(mode: int, lent: bool, enters: bool) -> None:
    """Permission bits of every folder on the way decide, and only for an account that is lent."""
    account = Account(uid=65533, gid=65533, lent=lent)
    folder = Path("/tmp") / f"dm-mode-{os.getpid()}-{mode:o}-{lent}"
    folder.mkdir(mode=0o755)
    inner = folder / "inner"
    inner.mkdir(mode=0o755)
    file = inner / "file"
    file.touch(mode=0o644)
    try:
        folder.chmod(mode)
        assert account.can_enter(inner) == enters
        assert account.can_reach(file) == enters
        file.chmod(0o600)
        assert account.can_reach(file) == (not lent)
    finally:
        file.unlink()
        inner.rmdir()
        folder.rmdir()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("a\nPANIC:  could not write: No space left on device\n", "the disk is full; free some"),
        ("FATAL:  could not create shared memory segment: x\n", "not enough memory"),
        ("note\nFATAL:  this is why\nHINT: never mind\n", "FATAL:  this is why"),
        ("initdb: error: invalid locale\n", "initdb: error: invalid locale"),
        ("something\nelse\n\n", "else"),
        ("", "it failed without a word"),
    ],
)
def test_a_failure_is_told_in_one_line(output: str, line: str) -> None:
    """The telling line of what PostgreSQL wrote, with what to do where that is known."""
    said = explain("postgres", output)
    assert said.startswith("postgres: ")
    assert line in said
    assert "\n" not in said
