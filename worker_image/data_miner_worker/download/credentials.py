"""The cookies that a recipe's credential holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from data_miner.stage import Context, StageError

COOKIES: Final = "cookies.txt"
"""The file of a credential that holds cookies, in Netscape's format."""


def cookies(context: Context) -> Path | None:
    """The file of cookies; None when the recipe names no credential.

    Raises StageError("credential_unusable") when the credential has no such file.
    """
    name = context.assignment.params.get("credential")
    if not name:
        return None
    files = context.credential
    if COOKIES not in files:
        raise StageError(
            "credential_unusable", f"credential {name!r} has no file {COOKIES}", permanent=True
        )
    return files[COOKIES]
