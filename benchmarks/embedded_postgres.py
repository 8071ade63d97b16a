"""How long the embedded PostgreSQL keeps a user waiting."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from data_miner.postgres import Server

ROUNDS = 7


def seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="dm-bench-"))
    home.chmod(0o711)  # as root, the server's account has to pass through
    server = Server(home)
    starts, joins, stops = [], [], []
    try:
        first = seconds(server.__enter__)
        server.__exit__(None, None, None)
        for _ in range(ROUNDS):
            starts.append(seconds(server.__enter__))
            other = Server(home)
            joins.append(seconds(other.__enter__))
            other.__exit__(None, None, None)
            stops.append(seconds(lambda: server.__exit__(None, None, None)))
    finally:
        shutil.rmtree(home)
    print("embedded PostgreSQL, milliseconds (median of", ROUNDS, "after the first start)")
    print(f"  first start {first * 1e3:8.0f}   (makes and syncs the data folder)")
    for name, values in (("start", starts), ("join", joins), ("stop", stops)):
        print(f"  {name:<11} {median(values) * 1e3:8.0f}")


if __name__ == "__main__":
    main()
