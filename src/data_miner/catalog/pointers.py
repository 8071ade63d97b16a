"""Lets the name of each dataset lead to the version that was recorded last: the row chooses.

An export points to its version just before that is recorded. One that was frozen there wakes too
late, and one whose task was taken away there is never recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from data_miner import telemetry
from data_miner.stage import StageError
from data_miner.storage import pointer

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The version that shall be found in one place."""

    uri: str
    digest: str


_CHOSEN = text("""
    WITH newest AS (
        SELECT DISTINCT ON (d.project_id)
               d.dataset_id, d.uri, d.digest,
               regexp_replace(d.uri, '/versions/[^/]*$', '') AS base,
               EXISTS (SELECT FROM tasks t WHERE t.project_id = d.project_id
                         AND t.stage = 'export' AND t.state = 'running') AS writing
        FROM datasets d JOIN projects p USING (project_id)
        WHERE p.deleted_at IS NULL
        ORDER BY d.project_id, d.version DESC)
    SELECT DISTINCT ON (n.base) n.uri, n.digest FROM newest n
    WHERE NOT EXISTS (SELECT FROM newest w WHERE w.base = n.base AND w.writing)
    ORDER BY n.base, n.dataset_id DESC
""")


def chosen(conn: Connection) -> list[Chosen]:
    """What shall be found in each place, but for those where an export is being written.

    Of projects that export to one place, the one whose version is newest.
    """
    return [Chosen(row.uri, row.digest) for row in conn.execute(_CHOSEN)]


def follow(conn: Connection) -> list[Chosen]:
    """Mend every name that leads elsewhere; returns what was mended.

    Commits before it looks at files. A place that cannot be reached is told of and left alone.
    """
    mended = []
    for one in _now(conn):
        try:
            # Asked again once it differs: an export may have come between the two looks.
            if not pointer.is_pointed_to(one.uri, one.digest) and one in _now(conn):
                pointer.point(one.uri, one.digest)
                mended.append(one)
                log.warning("dataset_pointed_back", uri=one.uri)
        except StageError as error:
            log.warning("dataset_not_pointed", uri=one.uri, error=str(error))
    return mended


def _now(conn: Connection) -> list[Chosen]:
    found = chosen(conn)
    conn.commit()
    return found
