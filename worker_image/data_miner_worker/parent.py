"""Ends a process with the one that started it, where that one asks for it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

PARENT_VARIABLE = "DATA_MINER_PARENT_PID"
_PR_SET_PDEATHSIG = 1


def end_with_parent(environ: Mapping[str, str]) -> None:
    """Get SIGTERM when the process named in DATA_MINER_PARENT_PID is gone; without it do nothing.

    Raises SystemExit when it is gone already. Only Linux tells; elsewhere the lease runs out.
    """
    parent = environ.get(PARENT_VARIABLE)
    if not parent:
        return
    signal_when_parent_ends(signal.SIGTERM)
    if os.getppid() != int(parent):
        raise SystemExit(0)


def signal_when_parent_ends(number: signal.Signals) -> None:
    """Have the kernel send this signal to this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
