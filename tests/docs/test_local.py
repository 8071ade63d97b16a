"""The commands of the documents that need nothing but a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.documents import documents, run, script

RUNNER = "local"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", [name for name in documents() if script(name, RUNNER)])
def test_the_commands_do_what_the_document_says(
    folder: Path, tmp_path: Path, document: str
) -> None:
    """In their order, in one shell, in a home that is empty at first."""
    environment = {"HOME": str(tmp_path), "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    print(run(script(document, RUNNER), folder, environment))  # noqa: T201 - shown when it fails
