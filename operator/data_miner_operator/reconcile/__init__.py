"""Decides, from facts alone, what is to be done about a MiningProject and what to say of it.

Nothing here reads a clock, a socket or a file of a cluster: what is there goes in, what to do and
the whole wanted status come out. The controller asks in this order: `decide`, perform, observe
again, `render`, `write_due`, `transitions`.
"""

from data_miner_operator.reconcile.actions import (
    Action,
    Apply,
    Decision,
    DeleteObject,
    Forget,
    MakeModel,
    Performed,
    Release,
    Retry,
    Suspend,
)
from data_miner_operator.reconcile.decision import decide
from data_miner_operator.reconcile.due import write_due
from data_miner_operator.reconcile.events import Event, defect, transitions
from data_miner_operator.reconcile.status import render
from data_miner_operator.reconcile.wanted import credentials_of, models_named, models_of

__all__ = [
    "Action",
    "Apply",
    "Decision",
    "DeleteObject",
    "Event",
    "Forget",
    "MakeModel",
    "Performed",
    "Release",
    "Retry",
    "Suspend",
    "credentials_of",
    "decide",
    "defect",
    "models_named",
    "models_of",
    "render",
    "transitions",
    "write_due",
]
