"""Making a data folder: under a temporary name, so that a crash leaves none or a whole one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data_miner.errors import DatabaseError
from data_miner.postgres.account import Account
from data_miner.postgres.folders import durable_rename, new_folder
from data_miner.postgres.programs import Programs

DATABASE = "data_miner"
SUPERUSER = "data_miner"
TEMPORARY = "data.new-"
BUILTIN_LOCALE = 17
"""From this version on C.UTF-8 is PostgreSQL's own and the same on every machine."""


def prepare_data(data: Path, programs: Programs, account: Account, *, durable: bool) -> None:
    """Make the data folder unless it is there. The caller holds the start lock.

    Only a database that may be lost (a test's) is not `durable`.

    Raises DatabaseError when it belongs to another major version or cannot be made.
    """
    for leftover in data.parent.glob(f"{TEMPORARY}*"):
        # A killed program's initdb may still be writing; what stays is removed the next time.
        shutil.rmtree(leftover, ignore_errors=True)
    if data.exists():
        _check_version(data, programs)
        return
    made = new_folder(data.parent, TEMPORARY)
    try:
        if account.lent:
            os.chown(made, account.uid, account.gid)
        _initialise(made, programs, account)
        if durable:
            account.run([programs.initdb, "--sync-only", f"--pgdata={made}"])
        durable_rename(made, data)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _initialise(data: Path, programs: Programs, account: Account) -> None:
    locale = ["--locale=C.UTF-8"]
    if programs.major >= BUILTIN_LOCALE:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Trust is right here: the only door is a socket in a folder that nobody else may enter.
    options = ["--encoding=UTF8", "--auth=trust", "--data-checksums", f"--username={SUPERUSER}"]
    account.run([programs.initdb, *locale, *options, "--no-sync", f"--pgdata={data}"])
    account.run(
        [programs.postgres, "--single", "-F", "-D", data, "postgres"],
        stdin=f"CREATE DATABASE {DATABASE};\n",
    )


def _check_version(data: Path, programs: Programs) -> None:
    try:
        found = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise DatabaseError(f"{data} is not a database: {error}") from None
    if found != str(programs.major):
        raise DatabaseError(
            f"the database in {data} was made by PostgreSQL {found} and {programs.folder} has"
            f" {programs.major}: set DATA_MINER_PG_BIN to the programs of PostgreSQL {found}, or"
            " move the data with pg_upgrade"
        )
