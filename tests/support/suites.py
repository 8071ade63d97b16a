"""What the suites that need a cluster of their own tell pytest, each from its conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from support.go_programs import BuildError
from support.users_cluster import wanted


def mark(config: pytest.Config, marker: str, meaning: str) -> None:
    """Tell pytest of the marker of tests that are left out on a user's cluster."""
    config.addinivalue_line("markers", f"{marker}: {meaning}; left out on a user's cluster")


def leave_out_on_a_users_cluster(
    config: pytest.Config, items: list[pytest.Item], marker: str
) -> None:
    """Leave out the tests with the marker where a user has named a cluster."""
    if not wanted():
        return
    out = [item for item in items if item.get_closest_marker(marker)]
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=out)


def build_first(session: pytest.Session, folder: Path, build: Callable[[], object]) -> None:
    """Build what the tests in `folder` run on, if any are to run: where no test's time limit runs
    and progress is seen. What fails here fails the tests, with its one line.
    """
    if session.config.option.collectonly or not any(
        folder in item.path.parents for item in session.items
    ):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext(), suppress(BuildError):
        build()
