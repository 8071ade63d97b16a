"""Named places in the worker that tests can watch and hold. Inert outside of tests.

With ``DATA_MINER_TEST_SIGNALS`` naming a folder, reaching a place adds a line with the process id
to the folder's file ``<name>.reached``; when the folder holds a FIFO ``<name>``, the process then
waits until somebody has opened it for writing and closed it.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "DATA_MINER_TEST_SIGNALS"

CLAIMED = "claimed"
"""Tasks are claimed and committed, nothing has been started."""
PUBLISHED_BEFORE_FINISH = "published_before_finish"
"""All that a stage made is in the store, and no transaction has recorded it."""


def at(name: str) -> None:
    """Say that the place `name` was reached, and wait there if a test wants that."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    with Path(folder, f"{name}.reached").open("a") as file:
        file.write(f"{os.getpid()}\n")
    hold = Path(folder, name)
    if hold.is_fifo():
        with hold.open("rb") as gate:
            gate.read()
