"""The command ``data-miner operator``: from arguments and settings to an operator that runs."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from dataclasses import replace
from typing import Annotated

import typer

from data_miner import telemetry, tracing
from data_miner.db.engine import place as database_place
from data_miner.errors import SpecError
from data_miner.settings import Settings
from data_miner_operator.app import place_of, run
from data_miner_operator.cluster_api import load_configuration
from data_miner_operator.config import OperatorSettings
from data_miner_operator.logs import route_libraries


def operator(
    *,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Serve this namespace only; may be given several times. Default: the cluster.",
        ),
    ] = None,
    own_namespace: Annotated[
        str,
        typer.Option(
            help="Where the operator runs; default: its service account's or the kubeconfig's."
        ),
    ] = "",
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /metrics and the probes there; 0: a free port."),
    ] = None,
) -> None:
    """Keep MiningProjects of a Kubernetes cluster in line with the database and scale its workers.

    The first SIGTERM lets what is in hand finish, hands the Lease to another replica and ends.
    """
    telemetry.configure_logging(stream=sys.stdout)
    route_libraries()
    settings = Settings.from_environment()
    if not settings.database_url:
        raise SpecError("DATA_MINER_DATABASE_URL: name the PostgreSQL that the workers use")
    database_place(settings.database_url)
    own = OperatorSettings.from_environment()
    if namespace:
        own = replace(own, namespaces=",".join(namespace))
    if own_namespace:
        own = replace(own, own_namespace=own_namespace)
    own.check()
    configuration = load_configuration()
    place_of(own)
    tracing.configure("data-miner-operator", socket.gethostname())
    code = asyncio.run(run(settings, own, configuration, metrics_port))
    tracing.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is put away; a thread that hangs in a request must not hold up the end.
    os._exit(code)
