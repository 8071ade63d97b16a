"""What an image of the product holds and says, and what it must not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.images import buildah, building, state
from support.images.catalogue import IMAGES
from support.images.container import Open

UID = 65532
BUILDERS = {
    *("pip", "pip3", "uv", "hatchling", "wheel", "easy_install"),
    *("gcc", "cc", "c++", "g++", "clang", "as", "ld", "make", "cmake", "go", "cargo", "rustc"),
    *("git", "curl", "wget", "ssh"),
}
LIBRARIES = {"pip", "setuptools", "wheel", "ensurepip", "pkg_resources", "_distutils_hack"}


def entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file and folder of an image by its path inside, links not followed."""
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            yield Path("/") / path.relative_to(root), path.lstat()


def test_its_user_is_a_number_and_not_root(product: str) -> None:
    """Kubernetes can check runAsNonRoot only by number."""
    config = buildah.configuration(building.ensure(product))["config"]
    assert config["User"] == f"{UID}:{UID}"


def test_it_says_what_it_is(product: str) -> None:
    """Title, licence and version are the OCI's labels; nothing tells of the builder."""
    labels = buildah.configuration(building.ensure(product))["config"]["Labels"]
    assert labels.pop("org.opencontainers.image.description")
    assert labels == {
        "org.opencontainers.image.title": f"data-miner-{product}",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": building.product_version(),
    }


def test_it_starts_the_program_with_the_command_of_its_name(product: str) -> None:
    """Without arguments it is a worker, or the operator, with metrics and probes on port 8080."""
    config = buildah.configuration(building.ensure(product))["config"]
    assert config["Entrypoint"] == ["data-miner"]
    assert config["Cmd"] == [product, "--metrics-port", "8080"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_nothing_builds_or_installs_in_it(product: str, opened: Open) -> None:
    """No pip, no setuptools, no compiler, no client that fetches things."""
    root = opened(product).root
    found = [path for path, _ in entries(root)]
    programs = {p for p in found if p.parent.name in {"bin", "sbin"} and p.name in BUILDERS}
    packages = {p for p in found if p.name.split("-")[0] in LIBRARIES and "python" in str(p.parent)}
    own = {p for p in packages if "setuptools" in str(p) or "site-packages" in str(p)}
    assert (programs, own or packages) == (set(), set())
    assert [p for p in found if p.suffix == ".whl"] == []


def test_nobody_wins_a_privilege_in_it(product: str, opened: Open) -> None:
    """No file is setuid or setgid, and none carries capabilities."""
    root = opened(product).root
    raised = [
        path
        for path, found in entries(root)
        if stat.S_ISREG(found.st_mode)
        and (
            found.st_mode & (stat.S_ISUID | stat.S_ISGID)
            or "security.capability" in os.listxattr(root / path.relative_to("/"))
        )
    ]
    assert raised == []


def test_its_user_owns_nothing_but_the_home(product: str, opened: Open) -> None:
    """A program that was taken over cannot change what is run next."""
    root = opened(product).root
    owned, open_to_all = [], []
    for path, found in entries(root):
        if UID in {found.st_uid, found.st_gid}:
            owned.append(str(path))
        # /dev is the runtime's: it lays its own over what debootstrap put there.
        world = found.st_mode & stat.S_IWOTH and not stat.S_ISLNK(found.st_mode)
        if world and path.parts[1] != "dev":
            open_to_all.append(str(path))
    assert owned == ["/var/lib/data-miner"]
    assert set(open_to_all) <= {"/tmp", "/var/tmp", "/run/lock"}


def test_it_holds_no_address_of_the_builder(product: str, opened: Open) -> None:
    """No settings of pip or uv, no place of a build, no direct link."""
    root = opened(product).root
    names = {"pip.conf", "uv.toml", "direct_url.json", "uv_cache.json", ".netrc"}
    assert [path for path, _ in entries(root) if path.name in names] == []
    assert not (root / "build").exists()


def test_the_licence_comes_with_it(product: str, opened: Open) -> None:
    """LICENSE and NOTICE, and those of every package."""
    root = opened(product).root
    assert sorted(p.name for p in (root / "usr/share/licenses/data-miner").iterdir()) == [
        "LICENSE",
        "NOTICE",
    ]


def test_it_is_no_heavier_than_promised(product: str) -> None:
    """What a node downloads stays below the limit; `scripts/images sizes` prints it."""
    size, limit = building.compressed_bytes(product) / 1e6, IMAGES[product].limit_mb
    print(f"{product}: {size:.1f} MB of {limit} MB")  # noqa: T201  # for a person
    assert limit
    assert size <= limit


def test_a_release_moves_few_bytes(opened: Open) -> None:
    """The product is a layer of its own, the same in both images, above packages and base."""
    layers = {
        name: buildah.configuration(building.ensure(name))["rootfs"]["diff_ids"]
        for name in ("worker", "operator")
    }
    assert layers["worker"][-1] == layers["operator"][-1]
    assert layers["worker"][:-2] == layers["operator"][:-2]
    site = next((opened("worker").root / "opt/data-miner/venv/lib").glob("python3*"))
    own = [p for p in (site / "site-packages").glob("data_miner*") if p.is_dir()]
    weight = sum(p.stat().st_size for folder in own for p in folder.rglob("*") if p.is_file())
    assert weight < 12e6


@pytest.mark.timeout(600)
def test_two_builds_give_one_image(product: str) -> None:
    """Built again with nothing of the first build, it has the same layers and the same settings."""
    key = state.key(product)
    first = buildah.configuration(building.ensure(product))
    again = building.rebuilt(product)
    try:
        second = buildah.configuration(again)
    finally:
        buildah.remove(again)
    assert state.key(product) == key, "the sources were changed meanwhile: run it again"
    assert second["rootfs"] == first["rootfs"]
    assert second["config"] == first["config"]
