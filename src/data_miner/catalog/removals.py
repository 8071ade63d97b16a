"""Published versions whose files shall go, because their project is gone and was to take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Removal:
    """One version to be removed."""

    uri: str
    digest: str
    error: str
    """Why it could not be removed when that was tried last; empty otherwise."""


def ask(conn: Connection, project_id: int) -> int:
    """Have the files of all versions of a project removed; returns how many versions.

    In the transaction that deletes its rows: nothing else remembers where the files are.
    """
    return conn.execute(_ASK, {"project_id": project_id}).rowcount


def ask_one(conn: Connection, project_id: int, *, uri: str, digest: str) -> bool:
    """Have a version removed that came too late to be recorded; whether it shall be.

    It shall if the project has been deleted meanwhile and was to take its datasets along.
    """
    given = {"project_id": project_id, "uri": uri, "digest": digest}
    return conn.execute(_ASK_ONE, given).rowcount > 0


def waiting(conn: Connection) -> Sequence[Removal]:
    """What is to be removed, those first that have not failed yet, oldest first."""
    rows = conn.execute(
        text(
            "SELECT uri, digest, coalesce(error, '') FROM dataset_removals"
            " ORDER BY error IS NOT NULL, asked_at, uri"
        )
    )
    return [Removal(*row) for row in rows]


def start(conn: Connection, uri: str) -> None:
    """Announce that files at this URI are about to go: no export begins there from now on.

    Commit, then ask `is_wanted`; end with `finish` or `put_off`.
    """
    conn.execute(
        text("UPDATE dataset_removals SET started_at = dataminer_now() WHERE uri = :uri"),
        {"uri": uri},
    )


def is_wanted(conn: Connection, uri: str) -> bool:
    """Whether a project that is there has published the very same version in this place."""
    return bool(
        conn.scalar(text("SELECT EXISTS (SELECT FROM datasets WHERE uri = :uri)"), {"uri": uri})
    )


def is_busy(conn: Connection, uri: str) -> bool:
    """Whether an export runs that may be about to publish in the place of this version."""
    return bool(conn.scalar(_BUSY, {"uri": uri}))


def finish(conn: Connection, uri: str) -> None:
    """The version is gone, or is not to go any more."""
    conn.execute(text("DELETE FROM dataset_removals WHERE uri = :uri"), {"uri": uri})


def put_off(conn: Connection, uri: str, error: str) -> None:
    """It could not be removed: exports may go on, and it is tried again later."""
    conn.execute(
        text("UPDATE dataset_removals SET started_at = NULL, error = :error WHERE uri = :uri"),
        {"uri": uri, "error": error or None},
    )


def under_way(conn: Connection, base: str) -> bool:
    """Whether versions are being removed right now from the folder that an export writes to."""
    return bool(conn.scalar(_UNDER_WAY, {"base": base.removeprefix("file://").rstrip("/")}))


_ASK = text("""
    INSERT INTO dataset_removals AS r (uri, digest)
    SELECT DISTINCT ON (uri) uri, digest FROM datasets WHERE project_id = :project_id
    ORDER BY uri, version DESC
    ON CONFLICT (uri) DO UPDATE SET digest = excluded.digest
""")

_ASK_ONE = text("""
    INSERT INTO dataset_removals (uri, digest)
    SELECT :uri, :digest FROM projects
    WHERE project_id = :project_id AND deleted_at IS NOT NULL
      AND spec ->> 'deletionPolicy' = 'Delete'
    ON CONFLICT (uri) DO NOTHING
""")

# Where it publishes: what its recipe says, or the home folder, which only its worker knows; then it
# is known by the project's name at the end.
_BUSY = text("""
    SELECT EXISTS (
        SELECT FROM tasks t JOIN projects p USING (project_id) JOIN recipes c USING (recipe_id)
        CROSS JOIN LATERAL (
            SELECT rtrim(regexp_replace(c.params ->> 'uri', '^file://', ''), '/') AS uri,
                   '/datasets/' || p.namespace || '/' || p.name || '/versions/' AS home) place
        WHERE t.stage = 'export' AND t.state = 'running'
          AND CASE WHEN place.uri IS NULL THEN position(place.home IN :uri) > 0
                   ELSE starts_with(regexp_replace(:uri, '^file://', ''),
                                    place.uri || '/versions/') END)
""")

_UNDER_WAY = text("""
    SELECT EXISTS (
        SELECT FROM dataset_removals
        WHERE started_at IS NOT NULL
          AND starts_with(regexp_replace(uri, '^file://', ''), :base || '/versions/'))
""")
