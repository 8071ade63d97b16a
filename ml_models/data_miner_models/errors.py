"""The one error of this package."""

from __future__ import annotations


class ModelError(Exception):
    """A model cannot be used. The message is one line: what, where, and what was expected."""
