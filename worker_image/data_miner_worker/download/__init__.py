"""Brings the bytes of a video here, from wherever it is."""

from data_miner_worker.download.failures import Instead
from data_miner_worker.download.limits import Limits, socket_timeout_seconds

__all__ = ["Instead", "Limits", "socket_timeout_seconds"]
