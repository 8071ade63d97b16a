"""Settings of the operator's process: read once from the environment, then passed down."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

from data_miner.errors import SpecError
from data_miner_operator.lease import Times

PREFIX: Final = "DATA_MINER_OPERATOR_"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Every field is set by ``DATA_MINER_OPERATOR_<NAME>``; times are seconds."""

    namespaces: str = ""
    """Namespaces to serve, separated by commas; empty serves the whole cluster."""
    own_namespace: str = ""
    """Where the operator runs: its Lease, its worker pools' Jobs and its identity. Empty takes the
    service account's, else the kubeconfig's."""
    folder: str = ""
    """Relative paths in a project count from here, in the workers' file systems; empty is the
    installation's home."""
    credentials_file: str = ""
    """YAML with the names of the credentials that workers have; empty checks none."""
    lease_name: str = "data-miner-operator"
    """Of the Lease by which replicas elect one of them."""
    lease_seconds: float = 15
    """How long a leader that says nothing is respected."""
    lease_deadline_seconds: float = 10
    """A leader that could not renew for so long stops acting."""
    lease_retry_seconds: float = 2
    """Between two renewals."""
    workers: float = 8
    """Projects that are reconciled at once."""
    resync_seconds: float = 60
    """How often everything is listed, for what a watch has lost."""
    scale_seconds: float = 5
    """How often the size of the worker pools is decided on."""
    stop_seconds: float = 10
    """How long a stopping operator finishes what it has in hand."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Raises SpecError naming the variable and what is allowed."""
        source = os.environ if environ is None else environ
        values: dict[str, str | float] = {}
        for item in fields(cls):
            name = PREFIX + item.name.upper()
            text = source.get(name, "")
            if text == "":
                continue
            values[item.name] = text if item.type == "str" else _number(name, text)
        found = cls(**values)  # type: ignore[arg-type]  # each is of its field's type
        found.check()
        return found

    def check(self) -> None:
        """Raises SpecError for what cannot be."""
        if not self.lease_retry_seconds < self.lease_deadline_seconds < self.lease_seconds:
            raise SpecError(
                f"{PREFIX}LEASE_RETRY_SECONDS, _LEASE_DEADLINE_SECONDS and _LEASE_SECONDS: "
                "each must be less than the next"
            )
        if not 1 <= self.workers <= 64:
            raise SpecError(f"{PREFIX}WORKERS={self.workers:g}: expected 1 to 64")
        for name in (*self.served, self.own_namespace):
            if name and not _NAME.fullmatch(name):
                raise SpecError(f"{name!r}: is no name of a namespace")

    @property
    def served(self) -> tuple[str, ...]:
        """Namespaces to serve, each once; none for the whole cluster."""
        return tuple(dict.fromkeys(n.strip() for n in self.namespaces.split(",") if n.strip()))

    @property
    def times(self) -> Times:
        return Times(self.lease_seconds, self.lease_deadline_seconds, self.lease_retry_seconds)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise SpecError(f"{name}={text!r}: expected a number") from None
    if not 0 < number < float("inf"):
        raise SpecError(f"{name}={text!r}: expected a number greater than 0")
    return number
