"""Stages are found by name, and only the one that is asked for is imported."""

from __future__ import annotations

import pytest

from data_miner_worker.lookup import EXTRA, find_stage


def test_a_name_that_is_no_stage_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists the pipeline."""
    monkeypatch.delenv(EXTRA, raising=False)

    with pytest.raises(LookupError, match="discover, download, extract"):
        find_stage("transmogrify")


def test_extra_modules_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests put their own stages before the real ones through the environment."""
    monkeypatch.setenv(EXTRA, "support.stages")

    assert type(find_stage("download")).__module__ == "support.stages"
