"""Fixtures of the catalogue's tests."""

from __future__ import annotations

from support.catalog import world
from support.database import databases, fresh_database

__all__ = ["databases", "fresh_database", "world"]
