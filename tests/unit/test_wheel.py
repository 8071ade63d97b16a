"""What is installed without the repository: the same packages, where programs look for them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from support.images.catalogue import PRODUCT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The distribution, built by the tools that the images build it with."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "build", "--quiet", "--wheel", "--no-build-isolation", "--offline"]
    subprocess.run([*command, "--out-dir", str(folder), str(ROOT)], check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_holds_five_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No tests, no caches, and nothing under a name of its own that others may have."""
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {
        "data_miner",
        "data_miner_export",
        "data_miner_models",
        "data_miner_operator",
        "data_miner_worker",
    }
    assert not [name for name in names if "__pycache__" in name]


def test_every_entry_point_leads_to_a_module_of_it(wheel: zipfile.ZipFile) -> None:
    """Commands and lookups of other packages are found by these alone."""
    (path,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    points = ConfigParser(delimiters=("=",))
    points.read_string(wheel.read(path).decode())
    modules = [value.split(":")[0] for section in points.values() for value in section.values()]
    assert len(modules) >= 6
    there = set(wheel.namelist())
    for module in modules:
        assert f"{module.replace('.', '/')}.py" in there


def test_every_file_of_the_packages_is_in_it(wheel: zipfile.ZipFile) -> None:
    """Also what is no Python: models, styles, SQL, lists."""
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "ml_models/export", "ml_models/data_miner_models"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    there = set(wheel.namelist())
    for path in tracked:
        inside = path.removeprefix("ml_models/export/").removeprefix("ml_models/")
        assert inside in there, path


def test_an_image_is_built_from_all_that_it_is_made_of() -> None:
    """A build sees only what is named for it, and has the wheel made of that."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    for folder in (*wanted["packages"], *wanted["force-include"]):
        assert [path for path in PRODUCT if folder == path or folder.startswith(f"{path}/")], folder
