"""How fast a model runs here, and how near that is to what this machine can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import ModelCard
from data_miner_models.golden import drawn
from data_miner_models.providers import Device, Named, Precision, Provider
from data_miner_models.runtime import Session, open_file, open_session

_MATMUL: Final = Path(__file__).parent / "matmul.onnx"
"""One product of two matrices of single precision, of any size."""
_SIDE: Final = 1024
_ROUNDS: Final = 5


@dataclass(frozen=True)
class Speed:
    """One graph.

    Attributes:
        role: which.
        provider: what ran it, after "auto" has chosen.
        precision: how it rounds at the worst.
        batch: inputs at once.
        per_second: inputs a second, the median of several rounds.
        flops: operations that one input takes, a multiplication with its addition being two;
            absent where the card does not say.
        share: of the peak; absent without flops. With 8 bits or half precision it may exceed 1,
            as the peak is that of single precision.
    """

    role: str
    provider: Named
    device: Device
    precision: Precision
    batch: int
    per_second: float
    flops: float | None
    share: float | None


def measure(
    card: ModelCard,
    *,
    provider: Provider = "auto",
    threads: int = 1,
    batch: int = 8,
    seconds: float = 1.0,
    engines: Path | None = None,
) -> tuple[float, tuple[Speed, ...]]:
    """The peak of single precision in operations a second, and the speed of each image graph.

    The peak is that of a product of matrices by the same library with as many threads, measured
    between the rounds, since what else runs on a machine slows both. On a GPU it is still the
    CPU's: shares are left out there; as many run at once there as workers run. Raises ModelError as
    loading does.
    """
    peak_once = _product(threads)
    peaks: list[float] = []
    speeds: list[Speed] = []
    for role in card.graphs:
        measured = role.startswith("image")
        if not measured and provider != "tensorrt":
            continue
        session = open_session(card, role, provider=provider, threads=threads, engines=engines)
        if not measured:
            continue  # its engine is there now, and no task waits for it
        choice = session.choice
        size = min(batch, card.max_batch or batch) if choice.device == "cpu" else choice.buckets[-1]
        once, count = _runs(card, session, role, size)
        once()
        rounds = []
        for _ in range(_ROUNDS):
            peaks.append(2.0 * _SIDE**3 * _rate(peak_once, seconds / 4))
            rounds.append(count * _rate(once, seconds))
        speed = statistics.median(rounds)
        flops = card.flops.get(role)
        share = None
        if flops is not None and choice.device == "cpu":
            share = speed * flops / statistics.median(peaks)
        speeds.append(
            Speed(role, choice.name, choice.device, choice.precision, count, speed, flops, share)
        )
    return statistics.median(peaks), tuple(speeds)


def _runs(
    card: ModelCard, session: Session, role: str, size: int
) -> tuple[Callable[[], object], int]:
    shape = card.graphs[role].inputs["frames"].shape
    if card.family == "grounded":
        ids = np.array([[101, 7, 1012, 102]], np.int64)
        height, width = int(shape[1]), int(shape[2])
        inputs: dict[str, NDArray[Any]] = {
            "frames": drawn(0, height, width)[None],
            "sizes": np.array([[height, width]], np.int64),
            "ids": ids,
            "phrases": np.array([[4, 1, 1, 7]], np.int64),
            "positions": np.array([[0, 0, 1, 0]], np.int64),
        }
        return lambda: session.run(**inputs), 1
    count = 1 if card.family == "open-vocabulary" else size
    frames = np.stack([drawn(number, int(shape[1]), int(shape[2])) for number in range(count)])
    return lambda: session.run(frames=frames), count


def _product(threads: int) -> Callable[[], object]:
    session = open_file(_MATMUL, threads=threads)
    noise = np.random.default_rng(0)
    feeds = {name: noise.standard_normal((_SIDE, _SIDE), dtype=np.float32) for name in ("a", "b")}
    session.run(["c"], feeds)
    return lambda: session.run(["c"], feeds)


def _rate(once: Callable[[], object], seconds: float) -> float:
    """Runs a second, over at least this time and one run."""
    began = time.perf_counter()
    runs = 0
    while not runs or time.perf_counter() - began < seconds:
        once()
        runs += 1
    return runs / (time.perf_counter() - began)
