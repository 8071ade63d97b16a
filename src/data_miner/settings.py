"""Settings of a process: read once from the environment at its start, then passed down.

A value that cannot be is an error at the start, never a silent default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from data_miner.errors import SpecError
from data_miner.model_stores import ModelStores

PREFIX = "DATA_MINER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every field is set by ``DATA_MINER_<NAME>``; times are seconds."""

    home: Path = Path("~/.data-miner")
    """Folder of a laptop's installation: database, store, datasets, logs."""
    database_url: str = ""
    """PostgreSQL to use instead of the embedded one; empty starts the embedded one in `home`."""
    database_listen_url: str = ""
    """For LISTEN when `database_url` goes through a transaction pooler; empty uses that one."""
    storage_uri: str = ""
    """Where artifacts go (file path, ``file://`` or ``s3://``); empty is ``<home>/store``."""
    datasets_uri: str = ""
    """Where datasets go whose project names no place, each in ``<namespace>/<name>`` below it (a
    path, ``file://`` or ``s3://``); empty is ``<home>/datasets``."""
    models_dirs: str = ""
    """Folders with model cards, separated by ``:``, searched before the bundled ones."""
    models_uri: str = ""
    """Store with models that no folder has (any URI of fsspec, such as ``s3://bucket/models``),
    brought to a machine when they are needed; empty is none."""
    models_cache_dir: str = ""
    """Folder for models of `models_uri`, shared by the processes of a machine; empty is
    ``<home>/model-cache``."""
    models_cache_gb: float = 20
    """What that folder may hold, in GB; the models used longest ago go first."""
    credentials_dir: str = ""
    """Folder with one folder of files per credential; empty is ``<home>/credentials``."""
    allowed_prefixes: str = ""
    """URI prefixes, separated by spaces, that a spec may read and write; empty allows all."""
    lease_seconds: float = 120
    """How long a worker that says nothing keeps its tasks before others may take them."""
    heartbeat_seconds: float = 30
    """How often a worker says that it lives; well below `lease_seconds`."""
    poll_seconds: float = 5
    """Longest wait between two looks for work when no notification comes."""
    backoff_seconds: float = 60
    """Delay after the first failure; doubles with each one up to `backoff_max_seconds`."""
    backoff_max_seconds: float = 3600
    """Longest delay after a failure."""
    lost_backoff_seconds: float = 1
    """Delay after a task's worker vanished; doubles up to `lost_backoff_max_seconds`."""
    lost_backoff_max_seconds: float = 60
    """Longest delay after a task's worker vanished."""
    max_attempts: int = 3
    """So many failures, and a task is tried no more until somebody retries it."""
    max_losses: int = 10
    """So many vanished workers, and a task is tried no more until somebody retries it."""
    sweep_seconds: float = 60
    """How often the planner looks at everything."""
    rescue_seconds: float = 15
    """How often expired leases are looked for."""
    grace_seconds: float = 25
    """How long a stopping worker lets its tasks finish before it hands them back."""
    wait_when_drained: int = 0
    """1 lets a worker that is drained wait until it may go on; without it, it ends. For containers,
    which would be started again."""
    patience_seconds: float = 60
    """How long `run` waits for a database that went away before it gives up."""
    stall_factor: float = 1
    """Multiplies every stage's stall limit."""
    orphan_seconds: float = 86400
    """Age after which a file in the store that no row names is removed."""
    task_memory_mb: int = 4096
    """A task's process that holds more is killed, class ``out_of_memory``; 0 is no limit."""
    tasks_per_child: int = 50
    """A task process is replaced after this many tasks."""
    socket_timeout_seconds: float = 30
    """How long a server that videos come from may say nothing."""
    allow_private_addresses: int = 0
    """1 lets downloads reach addresses inside of a network, such as this machine's own."""
    first_wave: int = 8
    """Videos in the first wave; each one after it has twice as many."""
    provider: str = "auto"
    """Where models run: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``, which must be there;
    ``auto`` is a GPU where there is one."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``DATA_MINER_*``. Raises SpecError naming the variable and what is allowed."""
        source = os.environ if environ is None else environ
        values: dict[str, object] = {}
        for item in fields(cls):
            text = source.get(PREFIX + item.name.upper())
            if text is None or text == "":
                continue
            values[item.name] = _parse(PREFIX + item.name.upper(), str(item.type), text)
        settings = cls(**values)  # type: ignore[arg-type]  # _parse returns the field's type
        return replace(settings, home=settings.home.expanduser().absolute())

    @property
    def storage(self) -> str:
        """The store's URI or path, with the default filled in."""
        return self.storage_uri or str(self.home / "store")

    @property
    def datasets(self) -> str:
        """Path or URI of the folder for datasets, with the default filled in."""
        return self.datasets_uri.rstrip("/") or str(self.home / "datasets")

    @property
    def model_stores(self) -> ModelStores:
        """Where models are; ``<home>/models`` is always one of the folders."""
        named = [Path(p).expanduser() for p in self.models_dirs.split(":") if p]
        return ModelStores(
            folders=(*named, self.home / "models"),
            uri=self.models_uri.rstrip("/"),
            cache=Path(self.models_cache_dir or self.home / "model-cache").expanduser(),
            cache_bytes=int(self.models_cache_gb * 1e9),
        )

    @property
    def credentials(self) -> Path:
        """Folder of the credentials."""
        return Path(self.credentials_dir) if self.credentials_dir else self.home / "credentials"


def _parse(name: str, kind: str, text: str) -> object:
    if kind == "Path":
        return Path(text)
    if kind == "str":
        return text
    try:
        number = int(text) if kind == "int" else float(text)
    except ValueError:
        raise SpecError(f"{name}={text!r}: expected a number") from None
    if not 0 <= number < float("inf"):
        raise SpecError(f"{name}={text!r}: expected a number that is not negative")
    return number
