"""What the models of this process have done: loads, runs, and time on a GPU.

Counted here and asked for by whoever accounts for it; nothing is kept that was asked for.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class ModelUse:
    """The use between two questions."""

    gpu_seconds: float = 0.0
    """Time that graphs ran on a GPU, with the copies there and back."""
    loads: tuple[tuple[str, float], ...] = ()
    """Device, ``cpu`` or ``cuda``, and seconds of each graph that was loaded."""
    runs: Mapping[int, int] = field(default_factory=dict)
    """How often a graph ran, by the number of inputs that it was given at once."""


class Recorder:
    """Adds up from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gpu_seconds = 0.0
        self._loads: list[tuple[str, float]] = []
        self._runs: Counter[int] = Counter()

    def loaded(self, device: str, seconds: float) -> None:
        """A graph is ready to run."""
        with self._lock:
            self._loads.append((device, seconds))

    def ran(self, device: str, inputs: int, seconds: float) -> None:
        """A graph has run once."""
        with self._lock:
            self._runs[inputs] += 1
            if device == "cuda":
                self._gpu_seconds += seconds

    def take(self) -> ModelUse:
        """What has come together since the last call."""
        with self._lock:
            use = ModelUse(self._gpu_seconds, tuple(self._loads), dict(self._runs))
            self._gpu_seconds, self._loads, self._runs = 0.0, [], Counter()
        return use


MODEL_USE: Final = Recorder()
"""The one of this process."""
