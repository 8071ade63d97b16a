"""A control plane for the tests that watch an installation, and Prometheus built first."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cluster_fixtures import api, control_plane, crds
from support.controlplane_build import binaries
from support.prometheus import programs
from support.suites import build_first

__all__ = ["api", "control_plane", "crds"]
HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs, if need be."""
    build_first(session, HERE, programs)
    build_first(session, HERE, binaries)
