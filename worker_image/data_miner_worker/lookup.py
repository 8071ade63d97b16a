"""Finds the class that runs a stage, importing nothing that the stage does not need."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from data_miner.pipeline import BY_NAME
from data_miner.stage import StageRunner

PACKAGE = "data_miner_worker.stages"
EXTRA = "DATA_MINER_STAGE_MODULES"
"""Modules, separated by commas, whose stages come first. Unset outside of tests."""


def find_stage(name: str) -> StageRunner:
    """A new runner of the stage. Raises LookupError for a name that nothing here runs."""
    for extra in filter(None, os.environ.get(EXTRA, "").split(",")):
        found = _runner_in(importlib.import_module(extra), name)
        if found is not None:
            return found
    if name not in BY_NAME:
        raise LookupError(f"{name!r} is no stage; there are {', '.join(BY_NAME)}")
    found = _runner_in(importlib.import_module(f"{PACKAGE}.{name}"), name)
    if found is None:
        raise LookupError(f"{PACKAGE}.{name} has no class with name = {name!r}")
    return found


def _runner_in(module: ModuleType, name: str) -> StageRunner | None:
    for value in vars(module).values():
        if isinstance(value, type) and getattr(value, "name", None) == name:
            runner: StageRunner = value()
            return runner
    return None
