"""Images of the present sources for the tests here: built before the first one, kept afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path

import pytest

from support.controlplane_build import BuildError
from support.images import buildah, building
from support.images.catalogue import IMAGES
from support.images.container import Container, Open

HERE = Path(__file__).parent
BUILT = ("worker", "operator", "postgres")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build where no test's time limit runs and progress is seen."""
    if session.config.option.collectonly or not any(
        HERE in item.path.parents for item in session.items
    ):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext(), suppress(BuildError):
        for name in BUILT:  # what fails here fails the tests, with its one line
            building.ensure(name)


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
