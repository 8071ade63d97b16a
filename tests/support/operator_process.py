"""The operator as a real process, with the account that it has in a pod."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from data_miner_operator import rbac
from support import processes
from support.api_proxy import ApiProxy
from support.cluster import Cluster
from support.kube_client import access_of
from support.waiting import eventually

START_SECONDS = 60.0


@dataclass
class OperatorProcess:
    """One replica. Its log and its port lie in `home`."""

    home: Path
    environment: dict[str, str]
    arguments: tuple[str, ...]
    name: str = "operator"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """What it has said, over all its lives."""
        return self.home / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of its present life."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Begin a life; returns when it is ready, if asked to wait."""
        self.home.mkdir(parents=True, exist_ok=True)
        before = self.said().count('"event": "metrics"')
        command = [sys.executable, "-m", "data_miner_operator", "--metrics-port", "0"]
        self._process = processes.start(
            [*command, *self.arguments], environment=self.environment, log=self.log
        )
        eventually(
            lambda: self.said().count('"event": "metrics"') > before or self.ended is not None,
            seconds=START_SECONDS,
            what="it serves its metrics",
        )
        assert self.ended is None, self.said()
        if ready:
            self.wait_for("/readyz")

    @property
    def ended(self) -> int | None:
        """Exit status; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def terminate(self, *, seconds: float = 20) -> int:
        """SIGTERM; returns its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            processes.end(self._process)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop it where it is: it exists and does nothing until `thaw`."""
        processes.signal_tree(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        processes.signal_tree(self.pid, signal.SIGCONT)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of its log, over all its lives; about one event, if one is named."""
        found = [json.loads(line) for line in self.said().splitlines() if line.endswith("}")]
        return [line for line in found if event in {"", line["event"]}]

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of one of its paths; 0 when it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port()}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode().strip()
        except (URLError, OSError):
            return 0, ""

    def wait_for(self, path: str, text: str = "", *, seconds: float = START_SECONDS) -> None:
        """Return when a path answers 200, with this text if one is given."""
        eventually(
            lambda: self._answers(path, text), seconds=seconds, what=f"{self.name} {path} {text}"
        )

    def metric(self, prefix: str) -> float:
        """Sum of the series whose line begins like this; 0 when there is none."""
        _, text = self.probe("/metrics")
        lines = [line for line in text.splitlines() if line.startswith(prefix)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _answers(self, path: str, text: str) -> bool:
        assert self.ended is None, self.said()
        status, found = self.probe(path)
        return status == 200 and text in found

    def _port(self) -> int:
        last = self.said().rpartition('"event": "metrics"')[0].rpartition('"port": ')[2]
        return int(last.partition(",")[0])


@contextmanager
def operator_in(
    cluster: Cluster,
    home: Path,
    database_url: str,
    *,
    folder: Path,
    replicas: int = 1,
    through: ApiProxy | None = None,
    served: Sequence[str] | None = None,
    **variables: str,
) -> Iterator[list[OperatorProcess]]:
    """Replicas with the rights that the table grants; not started.

    They run in the test's namespace, serve it or the namespaces in `served` (none: the whole
    cluster), and reach the API server `through` a proxy where one is given. All are killed at the
    end.
    """
    namespace = cluster.namespace
    served = [namespace] if served is None else served
    cluster.apply(*rbac.render(namespace, served))
    kubeconfig = cluster.kubectl.kubeconfig_for(rbac.NAME, namespace)
    if through is not None:
        kubeconfig = through.kubeconfig(access_of(kubeconfig).token, namespace=namespace)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "KUBECONFIG": str(kubeconfig),
        "DATA_MINER_HOME": str(home / "data"),
        "DATA_MINER_DATABASE_URL": database_url,
        "DATA_MINER_OPERATOR_FOLDER": str(folder),
        **variables,
    }
    arguments = ["--own-namespace", namespace]
    for one in served:
        arguments += ["--namespace", one]
    made = [
        OperatorProcess(home, environment, tuple(arguments), f"operator-{number}")
        for number in range(replicas)
    ]
    try:
        yield made
    finally:
        for each in made:
            each.kill()
