"""What a project has cost."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from data_miner.catalog.wanted import query

_COSTS = query("""
    WITH {MINE}
    SELECT c.key, CASE WHEN c.key LIKE 'max\\_%' THEN max(c.value::text::float8)
                       ELSE sum(c.value::text::float8) END
    FROM mine m JOIN results r USING (recipe_id, subject)
    CROSS JOIN LATERAL jsonb_each(r.cost) AS c(key, value)
    WHERE jsonb_typeof(c.value) = 'number'
    GROUP BY c.key ORDER BY c.key
""")


def costs(conn: Connection, project_id: int) -> Mapping[str, float]:
    """Sums over the results that the project uses, by counter: bytes_downloaded, cpu_seconds …

    Of a counter whose name begins with ``max_`` it is the greatest value instead.
    Work that is shared with other projects counts in full for each of them.
    """
    rows = conn.execute(_COSTS, {"project_id": project_id})
    return {key: float(total) for key, total in rows}


def per_image(totals: Mapping[str, float], images: int) -> Mapping[str, float]:
    """Each cost divided by the images that were kept; empty when there are none."""
    if not images:
        return {}
    return {k: value / images for k, value in totals.items() if not k.startswith("max_")}
