"""CPU time of choosing representatives, against one float32 product of all pairs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from data_miner_worker.dedup import choose

FRAMES, DIMENSION, THRESHOLD = 10_000, 384, 0.9


def cpu_seconds(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


def vectors(clusters: int) -> np.ndarray[tuple[int, int], np.dtype[np.float16]]:
    """Unit vectors around so many centres; within one they are near-duplicates."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((clusters, DIMENSION))
    drawn = centres[np.arange(FRAMES) % clusters] + 0.1 * rng.standard_normal((FRAMES, DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def main() -> None:
    print(f"near-duplicates among {FRAMES:,} frames, {DIMENSION} dimensions (1.0: one plain GEMM)")
    none = np.empty((0, DIMENSION), np.float16)
    for name, clusters in (("all alike", 1), ("100 groups", 100), ("all distinct", FRAMES)):
        given = vectors(clusters)
        wide = given.astype(np.float32)
        plain = cpu_seconds(lambda wide=wide: wide @ wide.T)
        kept = 0

        def run(given: np.ndarray[tuple[int, int], np.dtype[np.float16]] = given) -> None:
            nonlocal kept
            kept = sum(status == "kept" for status in choose(none, given, THRESHOLD).statuses)

        took = cpu_seconds(run)
        print(f"  {name:<13} kept {kept:>6,}  {took:6.2f} CPU-s  {took / plain:6.2f} x GEMM")


if __name__ == "__main__":
    main()
