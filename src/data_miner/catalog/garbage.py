"""Which objects of the store the catalogue still names."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, text

_REFERENCED = text("""
    SELECT a.sha256 FROM artifacts a
    WHERE a.sha256 = ANY(:digests) AND a.deleted_at IS NULL
    GROUP BY a.sha256
""")


def referenced(conn: Connection, digests: Collection[str]) -> frozenset[str]:
    """Those of the given content digests that some row names: they must stay in the store."""
    if not digests:
        return frozenset()
    return frozenset(conn.scalars(_REFERENCED, {"digests": sorted(digests)}))


def unreferenced(conn: Connection, digests: Collection[str]) -> frozenset[str]:
    """Those that no row names. Only old ones may go: a row may be about to name a new one."""
    return frozenset(digests) - referenced(conn, digests)
