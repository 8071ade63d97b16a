"""Which credentials the workers have: names only, from a file that the installation writes.

The operator never sees a credential. The file is YAML: each name with the list of the namespaces
that may use it; an empty list lets all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_miner import telemetry
from data_miner.errors import SpecError

_log = telemetry.logger()


class Credentials:
    """Reads the file again when it has changed. Raises SpecError if it cannot be read at first."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._state: tuple[int, int, int] | None = None
        self._known: Mapping[str, frozenset[str]] = {}
        if file is not None:
            self._take(file)

    def read(self) -> Mapping[str, frozenset[str]] | None:
        """Namespaces by name, or None when there is no file to check against.

        What was read last holds while the file cannot be read or says something that cannot be.
        """
        if self._file is None:
            return None
        try:
            self._take(self._file)
        except SpecError as error:
            _log.warning("the list of credentials stays as it was", problem=str(error))
        return self._known

    def _take(self, file: Path) -> None:
        try:
            stat = file.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if state == self._state:
                return
            self._state = state
            self._known = parse(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{file}: the list of credentials cannot be read") from error


def parse(text: str, where: str) -> Mapping[str, frozenset[str]]:
    """The list in a file's text. Raises SpecError with one line."""
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: is not YAML") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SpecError(f"{where}: must map each credential's name to a list of namespaces")
    found: dict[str, frozenset[str]] = {}
    for name, namespaces in data.items():
        if not isinstance(name, str) or not (
            namespaces is None
            or (isinstance(namespaces, list) and all(isinstance(n, str) for n in namespaces))
        ):
            raise SpecError(f"{where}: {name}: must be a list of namespaces, empty for all")
        found[name] = frozenset(namespaces or ())
    return found
