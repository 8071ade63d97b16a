"""What must stay true of the repository itself."""

from __future__ import annotations

import operator
import re
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

import data_miner

ROOT = Path(__file__).parents[2]
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?(?P<specifier>[^;]*)")
# Written in pieces, so that this file does not contain what it looks for.
HOSTS = ["py" + "pi.org", "pypi." + "python", "python" + "hosted.org", "registry.npm" + "js"]
PLACES = ["/wo" + "rk/", "/ro" + "ot/", "/home" + "/runner"]


@cache
def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def without(package: str, lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(package)]


def tracked_text() -> dict[str, str]:
    """Path to content of every file that git tracks or would, binaries left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    texts = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        raw = path.read_bytes()
        if b"\0" not in raw:
            texts[name] = raw.decode("utf-8", errors="replace")
    return texts


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(file: str) -> dict[str, list[tuple[str, int]]]:
    """Canonical name to the versions in a lock file, each with its number of hashes."""
    found: dict[str, list[tuple[str, int]]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / file).read_text(encoding="utf-8")):
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        if match:
            hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
            found.setdefault(canonical(match[1]), []).append((match[2], hashes))
    return found


def requirements(*extras: str, groups: tuple[str, ...] = ()) -> list[str]:
    """Direct dependencies of the project with these extras and groups, extras of its own opened."""
    table = project()["project"]
    assert isinstance(table, dict)
    wanted = list(table["dependencies"])
    for extra in extras:
        for item in table["optional-dependencies"][extra]:
            own = re.fullmatch(r"data-miner\[(\w+)\]", item)
            wanted += requirements(own[1]) if own else [item]
    dependency_groups = project()["dependency-groups"]
    assert isinstance(dependency_groups, dict)
    for group in groups:
        wanted += dependency_groups[group]
    return wanted


def test_the_operator_folder_does_not_hide_the_standard_library() -> None:
    """`import operator` in the repository's root is Python's own module."""
    code = "import sys; sys.path.insert(0, '.'); import operator; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(found).parent == Path(sysconfig.get_path("stdlib"))
    assert operator.__file__ == found
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_tests_are_not_a_package() -> None:
    """Two test files may have one name, and a folder called operator hides nothing."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("needle", HOSTS + PLACES)
def test_no_machine_and_no_registry_is_named(needle: str) -> None:
    """No tracked text names a package registry's host or the folder of whoever wrote it."""
    texts = tracked_text()
    assert len(texts) > 50
    assert [name for name, text in texts.items() if needle in text] == []


def test_no_lock_file_holds_an_address() -> None:
    """Where packages come from is the machine's business."""
    files = list((ROOT / "locks").glob("*.txt"))
    assert len(files) == 9
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"://|--index|--find-links|--extra-index", text), file


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("locks/runtime.txt", requirements("local")),
        ("locks/dev.txt", requirements("local", "operator", groups=("dev",))),
        ("locks/worker.txt", requirements("worker")),
        ("locks/worker-gpu.txt", requirements("worker-gpu")),
        ("locks/operator.txt", without("pyarrow", requirements("operator"))),
        ("locks/export.txt", requirements("export")),
        ("locks/build.txt", (ROOT / "locks/build.in").read_text().splitlines()[1:]),
        (
            "locks/demo-models.txt",
            (ROOT / "ml_models/demo/requirements.in").read_text().splitlines()[1:],
        ),
    ],
)
def test_every_dependency_is_locked_by_hash(file: str, wanted: list[str]) -> None:
    """A lock file holds a version that fits for each direct dependency, and hashes for all."""
    from packaging.specifiers import SpecifierSet

    versions = locked(file)
    assert [name for name, found in versions.items() if not all(n for _, n in found)] == []
    for line in wanted:
        match = REQUIREMENT.match(line)
        assert match, line
        found = versions.get(canonical(match["name"]))
        assert found, f"{file} lacks {line}: run make lock"
        for number, _ in found:
            assert number in SpecifierSet(match["specifier"].strip()), f"{line}: run make lock"


@pytest.mark.parametrize("name", ["worker", "worker-gpu", "operator", "export"])
def test_an_image_holds_what_the_tests_run_on(name: str) -> None:
    """What is both in an image's lock and in dev.txt has one version."""
    image, dev = locked(f"locks/{name}.txt"), locked("locks/dev.txt")
    both = image.keys() & dev.keys()
    assert len(both) > 20
    assert {n: {v for v, _ in image[n]} for n in both} == {n: {v for v, _ in dev[n]} for n in both}


def test_the_tests_run_on_what_the_demo_runs_on() -> None:
    """dev.txt has the version of everything that runtime.txt has."""
    runtime, dev = locked("locks/runtime.txt"), locked("locks/dev.txt")
    assert {n: [v for v, _ in f] for n, f in runtime.items()} == {
        n: [v for v, _ in dev[n]] for n in runtime
    }


def test_the_version_is_written_once() -> None:
    """The installed distribution has the version that the package says."""
    table = project()["project"]
    assert isinstance(table, dict)
    assert table["dynamic"] == ["version"]
    assert version("data-miner") == data_miner.__version__
    pattern = re.compile(rf'version\w*\s*[=:]\s*"{re.escape(data_miner.__version__)}"')
    named = [n for n, t in tracked_text().items() if n.endswith(".py") and pattern.search(t)]
    assert named == ["src/data_miner/__init__.py"]


def test_make_lists_every_target() -> None:
    """`make help` has a line for each target that a person may type."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert phony
    said = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert sorted(re.findall(r"^  make (\S+)", said, re.MULTILINE)) == sorted(phony[1].split())
