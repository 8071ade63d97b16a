"""When the parts of a run began and ended: told to the worker, who makes spans of them.

A task process knows no library for traces and no receiver: what it runs is made by strangers, and
a receiver that is slow must not hold it up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from data_miner.stage import StageError
from data_miner_worker.messages import Step

MOST_STEPS: Final = 128
"""Parts of one run that are told one by one; a gather of a wave fetches thousands of files."""


class Steps:
    """The parts of one run, in the order in which they began; none unless they are `wanted`."""

    def __init__(self, *, wanted: bool = False) -> None:
        self.left_out = 0
        """Parts beyond MOST_STEPS."""
        self._wanted = wanted
        self._begun: list[Step | None] = []

    @property
    def told(self) -> tuple[Step, ...]:
        """Those that have ended."""
        return tuple(step for step in self._begun if step is not None)

    @contextmanager
    def step(self, name: str, **attributes: Any) -> Iterator[dict[str, Any]]:
        """Time a part; what the block puts into the mapping is told with it."""
        if not self._wanted or len(self._begun) >= MOST_STEPS:
            self.left_out += self._wanted
            yield attributes
            return
        place, began = len(self._begun), time.time_ns()
        self._begun.append(None)
        error_class = ""
        try:
            yield attributes
        except BaseException as error:
            error_class = error.error_class if isinstance(error, StageError) else _name(error)
            raise
        finally:
            self._begun[place] = _step(name, began, attributes, error_class)


def _step(name: str, began: int, attributes: Mapping[str, Any], error_class: str) -> Step:
    return Step(name, began, time.time_ns(), dict(attributes), error_class)


def _name(error: BaseException) -> str:
    return type(error).__name__
