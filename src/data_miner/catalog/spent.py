"""What was spent since a moment: how a run says what it did and what it found done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, text

from data_miner.catalog.wanted import query

_SPENT = query("""
    WITH {MINE}
    SELECT m.stage, c.key, CASE WHEN c.key LIKE 'max\\_%' THEN max(c.value::text::float8)
                                ELSE sum(c.value::text::float8) END AS amount
    FROM mine m JOIN results r USING (recipe_id, subject)
    CROSS JOIN LATERAL jsonb_each(r.cost) AS c(key, value)
    WHERE jsonb_typeof(c.value) = 'number' AND r.finished_at >= :since
    GROUP BY m.stage, c.key ORDER BY m.stage, c.key
""")
_DONE = query("""
    WITH {MINE}
    SELECT m.stage, count(*) FROM mine m JOIN results r USING (recipe_id, subject)
    WHERE r.finished_at >= :since GROUP BY m.stage
""")


def now(conn: Connection) -> datetime:
    """The database's time, which stamps results."""
    return conn.execute(text("SELECT dataminer_now()")).scalar_one()  # type: ignore[no-any-return]


def spent_since(
    conn: Connection, project_id: int, since: datetime
) -> Mapping[str, Mapping[str, float]]:
    """Sums by stage and counter over the project's results that were made after `since`.

    Of a counter whose name begins with ``max_`` it is the greatest value instead.
    """
    spent: dict[str, dict[str, float]] = {}
    for row in conn.execute(_SPENT, {"project_id": project_id, "since": since}):
        spent.setdefault(row.stage, {})[row.key] = float(row.amount)
    return spent


def results_since(conn: Connection, project_id: int, since: datetime) -> Mapping[str, int]:
    """How many of its results were made after `since`, by stage; stages without any are absent."""
    rows = conn.execute(_DONE, {"project_id": project_id, "since": since})
    return {stage: int(count) for stage, count in rows}
