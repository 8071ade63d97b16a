"""Images of the present sources for the tests here: built before the first one, kept afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.images import buildah, building
from support.images.catalogue import IMAGES
from support.images.container import Container, Open
from support.suites import build_first

HERE = Path(__file__).parent
BUILT = ("worker", "operator", "postgres")


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marker."""
    config.addinivalue_line("markers", "large: fetches and builds gigabytes")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the images, if need be."""
    build_first(session, HERE, lambda: [building.ensure(name) for name in BUILT])


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Gives an image by its name, mounted; folders of this machine by where they are seen."""
    with ExitStack() as ends:
        roots: dict[str, Path] = {}

        def give(name: str, binds: dict[Path, str] | None = None) -> Container:
            tag = building.ensure(name)
            if name not in roots:
                roots[name] = ends.enter_context(buildah.mounted(tag))
            point = tmp_path_factory.mktemp("root")
            return Container(roots[name], point, buildah.configuration(tag)["config"], binds or {})

        yield give


@pytest.fixture(params=["worker", "operator"])
def product(request: pytest.FixtureRequest) -> str:
    """Name of an image that users run."""
    name: str = request.param
    assert IMAGES[name].product
    return name
