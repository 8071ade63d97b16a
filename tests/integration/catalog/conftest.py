"""Fixtures of the catalogue's tests."""

from __future__ import annotations

from support.catalog import world

__all__ = ["world"]
