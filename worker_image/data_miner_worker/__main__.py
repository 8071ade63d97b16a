"""``python -m data_miner_worker``: a worker without the rest of the command line, for images."""

from __future__ import annotations

import sys

import typer

from data_miner.errors import DataMinerError
from data_miner_worker.command import worker

if __name__ == "__main__":
    try:
        typer.run(worker)
    except DataMinerError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
